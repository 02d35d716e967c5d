from __future__ import annotations

from collections.abc import Callable, Sequence
from unittest import mock

import numpy as np
import pytest
import torch
from policy_cases import COMMANDS, ROOMS, TEXTS, TOKENIZER, generating, prompts, scoring, streams

from llm_bridge.policies import generate as generate_module
from llm_bridge.policies.base import Prompt, Response
from llm_bridge.policies.gather import gather_log_probs
from llm_bridge.policies.generate import GeneratePolicy
from llm_bridge.policies.language_model import LanguageModel
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.tiny import TinyConfig, tiny_model


def _gradient_error(
    policy: ScoringPolicy | GeneratePolicy, asked: Sequence[Prompt], responses: Sequence[Response]
) -> float:
    """Largest error of autograd against central differences over 24 coordinates, relative to the gradient's size."""
    rng = np.random.default_rng(0)
    scored = policy.score(asked, responses)
    weights = torch.from_numpy(rng.normal(size=len(scored.log_prob)))
    parameters = policy.parameters()
    ((scored.log_prob + 0.3 * scored.entropy) * weights).sum().backward()
    size = max(float(p.grad.abs().max()) for p in parameters if p.grad is not None)
    worst, step = 0.0, 1e-5

    def value() -> float:
        with torch.no_grad():
            again = policy.score(asked, responses)
            return float(((again.log_prob + 0.3 * again.entropy) * weights).sum())

    for number in rng.integers(len(parameters), size=24):
        parameter = parameters[number]
        assert parameter.grad is not None
        place = int(parameter.grad.flatten().abs().argmax()) if number % 2 else int(rng.integers(parameter.numel()))
        flat = parameter.data.view(-1)
        before = float(flat[place])
        flat[place] = before + step
        up = value()
        flat[place] = before - step
        down = value()
        flat[place] = before
        worst = max(worst, abs((up - down) / (2 * step) - float(parameter.grad.view(-1)[place])) / size)
    return worst


def _scoring_case() -> tuple[ScoringPolicy, list[Prompt], list[Response]]:
    policy, asked = scoring("float64", temperature=1.7), prompts(5)
    return policy, asked, policy.act(asked, streams(5))


def _generate_case() -> tuple[GeneratePolicy, list[Prompt], list[Response]]:
    policy, asked = generating("float64", temperature=1.7, chunk=7, max_new_tokens=5), prompts(4)
    return policy, asked, policy.act(asked, streams(4))


@pytest.mark.parametrize("case", [_scoring_case, _generate_case])
def test_score_has_the_gradient_of_finite_differences(case: Callable) -> None:
    assert _gradient_error(*case()) < 1e-7


def test_a_detached_normaliser_is_caught() -> None:
    def detached(*arguments, **options):
        chosen, entropy = gather_log_probs(*arguments, **options)
        return chosen.detach() + 0.9 * (chosen - chosen.detach()), entropy

    policy, asked, responses = _generate_case()
    with mock.patch.object(generate_module, "gather_log_probs", detached):
        assert _gradient_error(policy, asked, responses) > 1e-3


@pytest.mark.parametrize("chunk", [1, 3, 8, 50])
def test_chunks_change_neither_values_nor_gradients(chunk: int) -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(6, 11, bias=False).double()
    hidden = torch.randn(8, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    place = torch.tensor([0, 0, 2, 3, 3, 3, 7])
    token = torch.tensor([1, 4, 0, 10, 2, 2, 5])
    chosen, entropy = gather_log_probs(head, hidden, place, token, temperature=0.5, chunk=chunk)
    law = (head(hidden) / 0.5).log_softmax(-1)
    expected = law[place, token]
    assert torch.allclose(chosen, expected, atol=1e-13)
    assert torch.allclose(entropy, -(law.exp() * law).sum(-1), atol=1e-13)
    ours = torch.autograd.grad(chosen.sin().sum() + entropy.sum(), [hidden, head.weight])
    theirs = torch.autograd.grad(expected.sin().sum() - (law.exp() * law).sum(), [hidden, head.weight])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


def _accuracy_after_imitation(shuffled: bool) -> float:
    """Accuracy on 30 texts, each with a command of its own to be given, after 30 steps of Adam.

    `shuffled` teaches each text another text's command, and asks for its own.
    """
    policy = ScoringPolicy(LanguageModel(tiny_model(TOKENIZER, TinyConfig(), seed=1), TOKENIZER))
    asked = [Prompt(text, COMMANDS) for text in TEXTS]
    rng = np.random.default_rng(2)
    target = rng.integers(len(COMMANDS), size=len(asked))
    taught = rng.permutation(target) if shuffled else target
    answers = [policy.answer(prompt, COMMANDS[t]) for prompt, t in zip(asked, taught, strict=True)]
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    policy.train()
    for _ in range(30):
        optimiser.zero_grad()
        (-policy.score(asked, answers).log_prob.mean()).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimiser.step()
    policy.train(False)
    given = policy.act(asked, streams(len(asked)))
    return float(np.mean([r.action == COMMANDS[t] for r, t in zip(given, target, strict=True)]))


def test_imitation_learns_a_table_of_texts() -> None:
    assert len(TEXTS) == 5 * len(ROOMS)
    assert _accuracy_after_imitation(shuffled=False) >= 0.95
    assert _accuracy_after_imitation(shuffled=True) < 0.5
