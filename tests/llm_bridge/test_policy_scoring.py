from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest
import torch
from policy_cases import COMMANDS, TEXTS, language, plain_law, plain_likelihood, prompts, scoring, streams
from scipy.stats import norm

from creditsim.errors import InputError, NumericalError, UnknownNameError
from llm_bridge.policies import scoring as module
from llm_bridge.policies.base import Prompt, Stream
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.trie import build_trie


def _distance_from_plain(policy: ScoringPolicy) -> float:
    """Largest distance of the packed laws from those of one plain pass per command."""
    asked = prompts(7)
    with torch.no_grad():
        laws = policy.laws(asked).numpy()
    return max(
        float(np.abs(law[: len(prompt.admissible)] - plain_law(policy, prompt)).max())
        for prompt, law in zip(asked, laws, strict=True)
    )


@pytest.mark.parametrize("length", ["sum", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_tree_gives_what_plain_passes_give(length: str, dtype: str) -> None:
    policy = scoring(dtype, length=length, temperature=0.7)
    assert _distance_from_plain(policy) < (3e-5 if dtype == "float32" else 1e-11)


def _leaks_padding(rows, pad):
    ids, positions, sees = PACKED(rows, pad)
    longest = max(len(tokens) for tokens, _ in rows)
    sees[:, longest - 1 :, :longest] = True
    return ids, positions, sees


def _sees_siblings(rows, pad):
    ids, positions, sees = PACKED(rows, pad)
    longest = max(len(tokens) for tokens, _ in rows)
    sees[:, longest:, longest:] = np.tri(sees.shape[1] - longest, dtype=bool)
    return ids, positions, sees


def _counts_padding_as_positions(rows, pad):
    ids, _, sees = PACKED(rows, pad)
    return ids, np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy(), sees


def _sees_the_future(rows, pad):
    ids, positions, sees = PACKED(rows, pad)
    longest = max(len(tokens) for tokens, _ in rows)
    sees[:, :longest, :longest] |= sees[:, :longest, :longest].transpose(0, 2, 1)
    return ids, positions, sees


PACKED = module.packed_inputs


@pytest.mark.parametrize("twin", [_leaks_padding, _sees_siblings, _counts_padding_as_positions, _sees_the_future])
def test_broken_packing_is_caught(twin) -> None:
    policy = scoring()
    with mock.patch.object(module, "packed_inputs", twin):
        assert _distance_from_plain(policy) > 1e-3


def test_prediction_read_one_place_late_is_caught() -> None:
    policy = scoring()

    def late(commands, end):
        trie = build_trie(commands, end)
        return dataclasses.replace(trie, edge_place=np.minimum(trie.edge_place + 1, len(trie.token)))

    with mock.patch.object(module, "build_trie", late):
        assert _distance_from_plain(policy) > 1e-3
    with mock.patch.object(module, "build_trie", late), pytest.raises(InputError, match="share their prompt"):
        scoring()


def test_tree_shares_beginnings_and_ends_every_command() -> None:
    trie = build_trie([[5, 6], [5, 6, 7], [8]], end=0)
    assert trie.token.tolist() == [5, 6, 7, 8]
    assert trie.depth.tolist() == [0, 1, 2, 0]
    assert trie.length.tolist() == [3, 4, 2]
    assert trie.sees.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    edges = list(zip(trie.edge_place.tolist(), trie.edge_token.tolist(), strict=True))
    assert edges == [(0, 5), (0, 8), (1, 6), (2, 0), (2, 7), (3, 0), (4, 0)]
    assert [[edges[e] for e in path if e < len(edges)] for path in trie.path] == [
        [(0, 5), (1, 6), (2, 0)],
        [(0, 5), (1, 6), (2, 7), (3, 0)],
        [(0, 8), (4, 0)],
    ]


def test_one_command_a_beginning_of_another_has_its_own_likelihood() -> None:
    policy = scoring("float64")
    prompt = Prompt(TEXTS[0], ("go to drawer 1", "go to drawer 12"))
    (a, _), (b, _) = (plain_likelihood(policy, prompt, command) for command in prompt.admissible)
    law = policy.laws([prompt]).detach().numpy()[0]
    assert law[0] - law[1] == pytest.approx(a - b, abs=1e-10)


def test_laws_sum_to_one_and_act_agrees_with_score() -> None:
    policy = scoring()
    asked = prompts()
    responses = policy.act(asked, streams(len(asked)))
    laws = policy.laws(asked).detach().exp().sum(-1).numpy()
    assert np.abs(laws - 1).max() < 1e-5
    scored = policy.score(asked, responses)
    assert scored.offsets.tolist() == list(range(len(asked) + 1))
    assert np.abs(scored.log_prob.detach().numpy() - [r.log_probs[0] for r in responses]).max() < 1e-5
    assert np.abs(scored.entropy.detach().numpy() - [r.entropy for r in responses]).max() < 1e-4
    for prompt, response in zip(asked, responses, strict=True):
        assert prompt.admissible[response.tokens[0]] == response.action == response.text
        assert response.well_formed


def test_actions_do_not_depend_on_batch_order_or_threads() -> None:
    policy = scoring()
    asked, named = prompts(60), streams(60)
    whole = [response.action for response in policy.act(asked, named)]
    order = np.random.default_rng(0).permutation(60)
    turned = policy.act([asked[i] for i in order], [named[i] for i in order])
    assert [turned[k].action for k in np.argsort(order)] == whole
    policy.batch_tokens = 300
    assert [response.action for response in policy.act(asked, named)] == whole
    alone = [policy.act([prompt], [stream])[0].action for prompt, stream in zip(asked, named, strict=True)]
    assert alone == whole
    torch.set_num_threads(2)
    try:
        assert [response.action for response in policy.act(asked, named)] == whole
    finally:
        torch.set_num_threads(1)
    assert len(set(whole)) > 3
    assert whole != [response.action for response in policy.act(asked, streams(60, seed=8))]


class _Noisy(ScoringPolicy):
    """Rounds otherwise in a batch than alone, a hundred times worse than float32 does."""

    def _laws(self, model, prompts):
        laws = super()._laws(model, prompts)
        if len(prompts) == 1:
            return laws
        noise = torch.linspace(-1e-5, 1e-5, laws.shape[1])
        return (laws + noise).log_softmax(-1)


@pytest.mark.parametrize("guarded", [True, False])
def test_draws_on_a_border_are_decided_alone(guarded: bool) -> None:
    policy = _Noisy(language())
    policy.too_close = policy.too_close if guarded else 0.0
    prompt = Prompt(TEXTS[3], COMMANDS)
    law = np.exp(policy._laws(policy.language.model, [prompt]).detach().numpy()[0].astype(np.float64))
    borders = np.cumsum(law)[:-1]
    draws = np.concatenate([borders + 1e-7, borders - 1e-7])
    with mock.patch.object(module, "decision_uniforms", lambda named, count=1: draws[: len(named), None]):
        together = policy.act([prompt] * len(draws), streams(len(draws)))
    alone = []
    for draw in draws:
        with mock.patch.object(module, "decision_uniforms", lambda named, count=1, draw=draw: np.full((1, 1), draw)):
            alone += policy.act([prompt], streams(1))
    same = [a.action == b.action for a, b in zip(together, alone, strict=True)]
    assert all(same) is guarded


def test_frequencies_follow_the_law() -> None:
    policy = scoring(temperature=9.0)
    prompt, count, alpha = Prompt(TEXTS[5], COMMANDS), 20_000, 1e-6
    responses = policy.act([prompt] * count, [Stream(11, i, 0) for i in range(count)])
    law = np.exp(plain_law(policy, prompt))
    observed = np.bincount([int(response.tokens[0]) for response in responses], minlength=len(law))
    z = norm.isf(alpha / (2 * len(law)))
    assert (law * count).min() > 100, "frequent enough for the normal quantile"

    def fits(p: np.ndarray) -> bool:
        sd = np.sqrt(count * p * (1 - p))
        return bool((np.abs(observed - count * p) <= z * sd + 1).all())

    assert fits(law)
    tempered = np.exp(0.8 * np.log(law))
    assert not fits(tempered / tempered.sum()), "a law at another temperature is rejected"


def test_greedy_takes_the_likeliest() -> None:
    policy = scoring()
    asked = prompts()
    for prompt, response in zip(asked, policy.act(asked, streams(len(asked)), greedy=True), strict=True):
        law = plain_law(policy, prompt)
        assert law[response.tokens[0]] > law.max() - 1e-4


def test_equal_decisions_are_computed_once() -> None:
    policy = scoring()
    asked = prompts(6)
    with mock.patch.object(policy, "_token_sums", wraps=policy._token_sums) as passes:
        policy.laws(asked * 10)
    assert sum(len(call.args[1]) for call in passes.call_args_list) == 6


def test_bad_decisions_are_named() -> None:
    policy = scoring()
    with pytest.raises(InputError, match="admissible commands: got none"):
        policy.act([Prompt("x", ())], streams(1))
    with pytest.raises(InputError, match="at most 256, the model's context"):
        policy.act([Prompt("x y " * 300, ("look",))], streams(1))
    with pytest.raises(UnknownNameError, match="nearest: take lamp"):
        policy.answer(Prompt("x", COMMANDS), "take lam")
    with pytest.raises(InputError, match="streams: got 1"):
        policy.act(prompts(2), streams(1))
    response = policy.answer(Prompt("x", COMMANDS), "look")
    with pytest.raises(InputError, match="response"):
        policy.score([Prompt("x", COMMANDS[:3])], [response])
    with pytest.raises(InputError, match="one for each of 2"):
        policy.score(prompts(2), [response])
    with pytest.raises(UnknownNameError, match="length"):
        scoring(length="median")
    with pytest.raises(InputError, match="temperature"):
        scoring(temperature=0.0)
    assert policy.act([], []) == []
    assert len(policy.score([], []).log_prob) == 0


def test_numbers_that_are_not_finite_stop_the_policy() -> None:
    policy = scoring()
    with torch.no_grad():
        policy.parameters()[3][:] = torch.nan
    with pytest.raises(NumericalError, match="not finite"):
        policy.act(prompts(2), streams(2))


def test_tokens_are_counted_as_they_run() -> None:
    policy = scoring()
    asked = prompts(5)
    responses = policy.act(asked, streams(5))
    counts = policy.count_tokens(asked, responses)
    for prompt, count in zip(asked, counts, strict=True):
        trie = build_trie([policy.language.encode(" " + command) for command in prompt.admissible], 0)
        assert count == len(policy.language.encode(prompt.text)) + len(trie.token)
