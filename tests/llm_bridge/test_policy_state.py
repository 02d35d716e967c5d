from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from policy_cases import COMMANDS, SMALL, TEXTS, TOKENIZER, generating, language, prompts, scoring, streams
from safetensors.torch import load_file, save_file

from creditsim.errors import ExtraMissingError, InputError, UnknownNameError
from llm_bridge.policies import make
from llm_bridge.policies.base import Prompt, TextPolicy
from llm_bridge.policies.config import PolicyConfig
from llm_bridge.policies.generate import GeneratePolicy
from llm_bridge.policies.load import save_model
from llm_bridge.policies.lora import add_lora
from llm_bridge.policies.make import make_policy
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.tiny import tiny_model

KINDS = {"scoring": ScoringPolicy, "generate": lambda model: GeneratePolicy(model, max_new_tokens=6, bucket=16)}


def _move(policy: TextPolicy, step: float = 0.05) -> None:
    """Change all parameters that are trained."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += step * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_adapter_off_is_the_base_model(kind: str) -> None:
    asked, named = prompts(5), streams(5)
    base = KINDS[kind](language(seed=4))
    responses = base.act(asked, named)
    expected = base.score(asked, responses).log_prob.detach()
    adapted = KINDS[kind](language(seed=4, lora=2))
    assert torch.equal(adapted.score(asked, responses).log_prob.detach(), expected), "B = 0 changes nothing"
    _move(adapted)
    reference = adapted.reference(asked, responses).log_prob
    assert torch.equal(reference, expected)
    assert not reference.requires_grad
    moved = adapted.score(asked, responses).log_prob
    assert float((moved - expected).detach().abs().max()) > 1e-2
    assert moved.requires_grad


def test_adapter_alone_is_trained_and_seeded() -> None:
    adapted, plain = scoring_with_lora(1), ScoringPolicy(language())
    count = sum(parameter.numel() for parameter in adapted.parameters())
    assert 0 < count < sum(parameter.numel() for parameter in plain.parameters()) / 3
    same, other = scoring_with_lora(1), scoring_with_lora(2)
    a, b, c = (policy.state_dict() for policy in (adapted, same, other))
    lora = [name for name in a if "lora_A" in name]
    assert len(lora) == 14
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not any(torch.equal(a[name], c[name]) for name in lora)
    with pytest.raises(InputError, match="lora rank"):
        add_lora(tiny_model(TOKENIZER, SMALL), rank=0)


def scoring_with_lora(seed: int) -> ScoringPolicy:
    return ScoringPolicy(language(seed=seed, lora=2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lora", [0, 2])
def test_frozen_copy_stays_where_it_was(kind: str, lora: int) -> None:
    policy = KINDS[kind](language(lora=lora))
    asked = prompts(4)
    responses = policy.act(asked, streams(4))
    if not lora:
        with pytest.raises(InputError, match=r"freeze_reference\(\)"):
            policy.reference(asked, responses)
    _move(policy, 0.02)
    there = policy.score(asked, responses).log_prob.detach()
    trained = len(policy.parameters())
    policy.freeze_reference()
    assert len(policy.parameters()) == trained, "the copy is not trained"
    _move(policy)
    assert torch.equal(policy.reference(asked, responses).log_prob, there)
    policy.train()
    assert policy.language.frozen is not None
    assert not policy.language.frozen.training


@pytest.mark.parametrize("options", [{}, {"lora": 2}, {"critic": True}], ids=["all", "adapter", "critic"])
def test_state_goes_through_safetensors_to_the_bit(options: dict, tmp_path: Path) -> None:
    policy = ScoringPolicy(language(**options))
    policy.freeze_reference()
    _move(policy)
    save_file(policy.state_dict(), tmp_path / "state.safetensors")
    again = ScoringPolicy(language(seed=9, **options))
    again.load_state_dict(load_file(tmp_path / "state.safetensors"))
    asked, named = prompts(6), streams(6)
    responses = policy.act(asked, named)
    assert [r.action for r in again.act(asked, named)] == [r.action for r in responses]
    for method in ("score", "reference"):
        ours, theirs = (getattr(one, method)(asked, responses).log_prob for one in (policy, again))
        assert torch.equal(ours, theirs), method
    first, second = policy.state_dict(), again.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_that_does_not_fit_is_named() -> None:
    policy = scoring()
    state = policy.state_dict()
    name = next(iter(state))
    with pytest.raises(InputError, match=f"no {name}"):
        policy.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(InputError, match="shape"):
        policy.load_state_dict(state | {name: state[name][:1]})
    with pytest.raises(UnknownNameError, match="stored parameter"):
        policy.load_state_dict(state | {"model.extra": state[name]})


def test_stored_state_is_a_copy() -> None:
    policy = scoring()
    state = policy.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    _move(policy)
    assert all(torch.equal(before[name], state[name]) for name in state)


def test_critic_values_the_last_token_of_each_prompt() -> None:
    policy = ScoringPolicy(language(critic=True), batch_tokens=64)
    asked = prompts(9)
    zeros = policy.value(asked)
    assert zeros is not None
    assert torch.equal(zeros, torch.zeros(9))
    critic = policy.language.critic
    assert critic is not None
    with torch.no_grad():
        critic.weight.copy_(torch.linspace(-1, 1, 32)[None])
    values = policy.value(asked)
    assert values is not None
    for prompt, value in zip(asked, values, strict=True):
        ids = torch.tensor(policy.language.encode(prompt.text))[None]
        hidden = policy.language.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[-1]
        assert torch.allclose(critic(hidden[0, -1]), value, atol=1e-5)
    values.sum().backward()
    assert critic.weight.grad is not None
    assert scoring().value(asked) is None


def test_critic_learns_values_of_texts() -> None:
    policy = ScoringPolicy(language(critic=True, sharp=1.0))
    asked = [Prompt(text, COMMANDS) for text in TEXTS[:10]]
    target = torch.from_numpy(np.random.default_rng(0).normal(size=10)).float()
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-2)
    loss = target.var()
    for _ in range(60):
        optimiser.zero_grad()
        values = policy.value(asked)
        assert values is not None
        loss = (values - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05 < float(target.var())


def test_configuration_makes_what_it_says(tmp_path: Path) -> None:
    policy: TextPolicy = make_policy(PolicyConfig(context=512, critic=True, length="mean"), TEXTS)
    assert isinstance(policy, ScoringPolicy)
    assert (policy.length, policy.language.context) == ("mean", 512)
    assert not policy.language.training
    writer = make_policy(PolicyConfig("generate", lora_rank=2, max_new_tokens=3, dtype="float64"), TEXTS)
    assert isinstance(writer, GeneratePolicy)
    assert all("lora" in name for name, p in writer.language.named_parameters() if p.requires_grad)
    assert len(writer.act(prompts(1), streams(1))[0].tokens) <= 3
    assert writer.score(prompts(1), [writer.answer(prompts(1)[0], "look")]).log_prob.dtype == torch.float64
    save_model(tiny_model(TOKENIZER, SMALL), TOKENIZER, tmp_path)
    assert make_policy(PolicyConfig(model=str(tmp_path))).act(prompts(1), streams(1))
    with pytest.raises(UnknownNameError, match="nearest: scoring"):
        make_policy(PolicyConfig("scorin"), TEXTS)
    with pytest.raises(InputError, match="tokenizer texts"):
        make_policy(PolicyConfig())


def test_reduced_precision_keeps_parameters_and_comes_near() -> None:
    exact, reduced = (make_policy(PolicyConfig(autocast=on), TEXTS) for on in (False, True))
    asked = prompts(4)
    responses = exact.act(asked, streams(4))
    a, b = exact.score(asked, responses).log_prob, reduced.score(asked, responses).log_prob
    assert b.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in reduced.parameters())
    assert 0 < float((a - b).detach().abs().max()) < 0.1
    b.sum().backward()
    assert GeneratePolicy(reduced.language, max_new_tokens=3).act(asked, streams(4))


def test_without_the_extra_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissingError, match=r"creditsim\[llm\]"):
        make_policy(PolicyConfig(), TEXTS)


def test_float64_is_float64_throughout() -> None:
    coarse, fine = scoring("float32"), scoring("float64")
    asked = prompts(5)
    laws = fine.laws(asked)
    assert laws.dtype == torch.float64
    real = torch.isfinite(laws)
    assert float((coarse.laws(asked)[real] - laws[real]).detach().abs().max()) < 1e-3
    assert generating("float64").act(asked, streams(5))
