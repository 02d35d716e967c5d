from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from policy_cases import TEXTS, generating, language, plain_logits, prompts, streams

from creditsim.errors import InputError, NumericalError
from llm_bridge.policies import generate as module
from llm_bridge.policies.base import Prompt, Response
from llm_bridge.policies.draws import decision_uniforms, inverse_cdf, margin
from llm_bridge.policies.generate import GeneratePolicy, response_places


def _plain_laws(policy: GeneratePolicy, prompt: Prompt, tokens: np.ndarray) -> np.ndarray:
    """(T, V) log-laws of each token of an answer from one plain pass."""
    start = policy.language.encode_prompt(prompt.text)
    with torch.no_grad():
        logits = plain_logits(policy, [*start, *tokens])[len(start) - 1 : -1].double()
    return (logits / policy.temperature).log_softmax(-1).numpy()


def _score_error(policy: GeneratePolicy) -> float:
    asked = prompts(8)
    responses = policy.act(asked, streams(8))
    scored = policy.score(asked, responses)
    worst = 0.0
    for i, (prompt, response) in enumerate(zip(asked, responses, strict=True)):
        law = _plain_laws(policy, prompt, response.tokens)
        own = scored.log_prob[scored.offsets[i] : scored.offsets[i + 1]].detach().numpy()
        worst = max(worst, float(np.abs(own - law[np.arange(len(law)), response.tokens]).max()))
    return worst


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_are_those_of_plain_passes(dtype: str) -> None:
    assert _score_error(generating(dtype, temperature=0.8)) < (3e-5 if dtype == "float32" else 1e-11)


def test_prediction_read_one_place_late_is_caught() -> None:
    def late(prompts, answers):
        row, column = response_places(prompts, answers)
        return row, column + 1

    with mock.patch.object(module, "response_places", late):
        assert _score_error(generating()) > 1e-2


def test_places_by_hand() -> None:
    row, column = response_places([3, 5], [2, 3])
    assert row.tolist() == [0, 0, 1, 1, 1]
    assert column.tolist() == [2, 3, 4, 5, 6]


def _turned(policy: GeneratePolicy) -> int:
    """How many tokens are not those that the uniforms fall on in plain laws, borders left out."""
    asked, named = prompts(10), streams(10)
    draws = decision_uniforms(named, policy.max_new_tokens)
    wrong = 0
    for i, (prompt, response) in enumerate(zip(asked, policy.act(asked, named), strict=True)):
        for j, log_law in enumerate(_plain_laws(policy, prompt, response.tokens)):
            law = np.exp(log_law)
            if margin(law, draws[i, j]) > 1e-5:
                wrong += inverse_cdf(law, draws[i, j]) != response.tokens[j]
    return wrong


def test_each_token_is_where_its_uniform_falls() -> None:
    assert _turned(generating(temperature=1.3)) == 0


def test_padding_that_is_seen_is_caught() -> None:
    policy = generating()
    generate: Any = policy.language.model.generate

    def unmasked(ids, attention_mask, **options):
        return generate(ids, attention_mask=torch.ones_like(attention_mask), **options)

    with mock.patch.object(policy.language.model, "generate", unmasked):
        assert _turned(policy) > 10


def test_answers_do_not_depend_on_batch_order_or_buckets() -> None:
    policy = generating("float64")
    asked, named = prompts(12), streams(12)
    whole = [response.text for response in policy.act(asked, named)]
    order = np.random.default_rng(1).permutation(12)
    turned = policy.act([asked[i] for i in order], [named[i] for i in order])
    assert [turned[k].text for k in np.argsort(order)] == whole
    policy.bucket, policy.rows = 64, 5
    assert [response.text for response in policy.act(asked, named)] == whole
    assert policy.act([asked[4]], [named[4]])[0].text == whole[4]
    assert len(set(whole)) == 12


def test_act_agrees_with_score() -> None:
    policy = generating()
    asked = prompts(8)
    responses = policy.act(asked, streams(8))
    scored = policy.score(asked, responses)
    assert np.abs(scored.log_prob.detach().numpy() - np.concatenate([r.log_probs for r in responses])).max() < 1e-5
    assert np.diff(scored.offsets).tolist() == [len(r.tokens) for r in responses]
    policy.batch_tokens = 64
    split = policy.score(asked, responses)
    assert torch.allclose(split.log_prob, scored.log_prob, atol=2e-5)
    assert torch.allclose(split.entropy, scored.entropy, atol=2e-5)
    for response, count in zip(responses, policy.count_tokens(asked, responses), strict=True):
        assert len(response.tokens) < count <= 256


def _taught(action: str) -> GeneratePolicy:
    """A policy that has learnt to give one answer to every prompt."""
    policy = GeneratePolicy(language(sharp=1.0), max_new_tokens=24, bucket=16, thought="so")
    asked = prompts(4)
    answers = [policy.answer(prompt, action) for prompt in asked]
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        (-policy.score(asked, answers).log_prob.mean()).backward()
        optimiser.step()
    return policy


def test_learnt_answer_is_read_and_ends_at_its_closing_tag() -> None:
    policy = _taught("look")
    for response in policy.act(prompts(6), streams(6), greedy=True):
        assert response.text == "<think>so</think><action>look</action>"
        assert (response.action, response.well_formed) == ("look", True)
        assert len(response.tokens) < policy.max_new_tokens


def test_answers_of_a_model_that_knows_nothing_are_ill_formed_commands() -> None:
    for response in generating(tail=5).act(prompts(4), streams(4)):
        assert not response.well_formed
        assert len(response.action) <= 5
        assert len(response.tokens) == len(response.log_probs) <= 12


def test_an_answer_ends_with_the_end_token_or_the_closing_tag() -> None:
    policy = generating(max_new_tokens=40, temperature=3.0)
    responses = policy.act(prompts(40), streams(40))
    ended = [response for response in responses if len(response.tokens) < 40]
    assert ended
    for response in ended:
        ends = (policy.language.end, *policy.language.encode("</action>"))
        assert response.tokens[-1] in ends
        assert not set(ends) & set(response.tokens[:-1].tolist())
        assert "<|end|>" not in response.text


def test_answer_said_for_imitation_round_trips() -> None:
    policy = generating(thought="because")
    response = policy.answer(Prompt("x", ()), "go to drawer 1")
    assert response.text == "<think>because</think><action>go to drawer 1</action>"
    assert policy.language.tokenizer.decode(response.tokens) == response.text
    assert response.log_probs.tolist() == [0.0] * len(response.tokens)


def test_bad_input_is_named() -> None:
    policy = generating()
    with pytest.raises(InputError, match="at most 256, the model's context"):
        policy.act([Prompt("x y " * 300, ())], streams(1))
    with pytest.raises(InputError, match="at most 256"):
        policy.score([Prompt(TEXTS[0] * 40, ())], [policy.answer(Prompt("", ()), "look")])
    with pytest.raises(InputError, match="max_new_tokens"):
        generating(max_new_tokens=0)
    with pytest.raises(InputError, match="streams"):
        policy.act(prompts(2), [])
    assert policy.act([], []) == []
    empty = Response("", "", np.zeros(0, np.int64), np.zeros(0), 0.0)
    assert policy.score([Prompt("x", ())], [empty]).offsets.tolist() == [0, 0]


@pytest.mark.parametrize("greedy", [False, True])
def test_numbers_that_are_not_finite_stop_the_policy(greedy: bool) -> None:
    policy = generating()
    with torch.no_grad():
        policy.parameters()[3][:] = torch.nan
    with pytest.raises(NumericalError, match="not finite"):
        policy.act(prompts(2), streams(2), greedy=greedy)
