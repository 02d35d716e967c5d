"""Batches, plain losses in torch and a table whose logits are a text policy's parameters, for tests of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from policy_cases import generating, prompts, scoring, streams
from torch import Tensor

from creditsim.updates.losses import LOSSES
from llm_bridge.collect.records import Record
from llm_bridge.envs.base import Observation, Outcome
from llm_bridge.policies.base import Prompt, Response, Stream, TokenLogProbs
from llm_bridge.policies.config import PolicyConfig
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.step import Batch, StepSettings, improve

NOWHERE = Observation("", "", (), "")


def policy_and_batch(kind: str, steps: int = 11, per_unit: int = 3, seed: int = 0) -> tuple[Any, Batch]:
    """A float64 policy, and answers of it with made-up columns: ratios from 0.7 to 1.4, both signs of credit."""
    policy = scoring("float64", temperature=1.3) if kind == "scoring" else generating("float64", max_new_tokens=5)
    asked, rng = prompts(steps), np.random.default_rng(seed)
    said = policy.act(asked, streams(steps))
    records = [
        Record("task", -1, Stream(0, i, 0), NOWHERE, prompt, response, Outcome(NOWHERE, 0.0, True, False))
        for i, (prompt, response) in enumerate(zip(asked, said, strict=True))
    ]
    token_step = np.repeat(np.arange(steps), [len(r.tokens) for r in said])

    def by_step(values: np.ndarray) -> np.ndarray:
        return values[token_step]

    now = np.concatenate([r.log_probs for r in said])
    columns = {
        "step": by_step(np.arange(steps)),
        "clip_scale": by_step(rng.uniform(0.5, 2.0, steps)),
        "global_advantage": by_step(rng.normal(size=steps)),
        "blend": by_step(rng.uniform(0, 1, steps)),
    }
    old = now + rng.uniform(-0.35, 0.35, now.size)
    weight = by_step(rng.choice([0.5, 1.0, 2.0], steps))
    unit = np.arange(steps) // per_unit
    return policy, Batch(records, unit, token_step, old, by_step(rng.normal(size=steps)), weight, columns)


def settings(loss: str, **how: Any) -> StepSettings:
    """Settings that do not clip the gradient; parameters of the loss as `loss=dict(...)` after its name."""
    given = how.pop("params", {})
    return StepSettings(LOSSES.bind(loss, **given), **{"grad_clip": 1e12, **how})


def gradient_of(policy: Any, batch: Batch, how: StepSettings) -> np.ndarray:
    """The gradient that one call of `improve` went down: plain descent of length one, undone afterwards."""
    before = flat(policy)
    improve(policy, torch.optim.SGD(policy.parameters(), lr=1.0), batch, how, seed=0)
    found = before - flat(policy)
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(torch.from_numpy(before), policy.parameters())
    return found


def flat(policy: Any) -> np.ndarray:
    return torch.nn.utils.parameters_to_vector(policy.parameters()).detach().double().numpy().copy()


def by_autograd(policy: Any, batch: Batch, loss: Callable[[Tensor, Tensor, Batch], Tensor]) -> np.ndarray:
    """The gradient of a loss written in torch, of (log-probabilities, entropies, batch), without any of our losses."""
    scored = policy.score([r.prompt for r in batch.records], [r.response for r in batch.records])
    value = loss(scored.log_prob, scored.entropy, batch)
    found = torch.autograd.grad(value, policy.parameters(), allow_unused=True)
    zeros = [torch.zeros_like(p) for p in policy.parameters()]
    pieces = [z if g is None else g for g, z in zip(found, zeros, strict=True)]
    return torch.cat([p.reshape(-1) for p in pieces]).double().numpy()


# --- losses in plain torch --------------------------------------------------------------------------------------------


def units(batch: Batch, ids: np.ndarray) -> list[np.ndarray]:
    """Tokens of each sequence (ids by step) or step."""
    return [np.flatnonzero(ids[batch.token_step] == i) for i in np.unique(ids)]


def surrogate(ratio: Tensor, advantage: Tensor, low: Any, high: Any, dual: float | None = None) -> Tensor:
    term = torch.maximum(-advantage * ratio, -advantage * torch.clamp(ratio, 1 - low, 1 + high))
    if dual is None:
        return term
    return torch.where(advantage < 0, torch.minimum(term, -advantage * dual), term)


def token_mean(term: Tensor, weight: Tensor) -> Tensor:
    return (term * weight).sum() / weight.sum()


def sequence_mean(term: Tensor, weight: Tensor, batch: Batch, *, ids: np.ndarray | None = None) -> Tensor:
    """Mean over sequences of the mean over their tokens."""
    groups = units(batch, batch.unit if ids is None else ids)
    return torch.stack([token_mean(term[g], weight[g]) for g in groups]).mean()


def geometric(log_prob: Tensor, old: Tensor, weight: Tensor, groups: Sequence[np.ndarray]) -> Tensor:
    """Ratio of each token: its unit's geometric mean in value, its own log-probability in derivative."""
    out = torch.empty_like(log_prob)
    for g in groups:
        mean = token_mean((log_prob - old)[g], weight[g])
        out[g] = torch.exp(mean.detach() + log_prob[g] - log_prob[g].detach())
    return out


def tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(batch.old), torch.from_numpy(batch.advantage), torch.from_numpy(batch.weight)


def ppo(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    return token_mean(surrogate((log_prob - old).exp(), advantage, 0.2, 0.2, 3.0), weight)


def ppo_grpo(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    return sequence_mean(surrogate((log_prob - old).exp(), advantage, 0.2, 0.2), weight, batch)


def gspo(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    ratio = geometric(log_prob, old, weight, units(batch, batch.unit))
    return sequence_mean(surrogate(ratio, advantage, 0.1, 0.1), weight, batch)


def sequence_ppo(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    means = []
    for g in units(batch, batch.unit):
        whole = ((log_prob - old)[g] * weight[g]).sum().exp()
        means.append(token_mean(surrogate(whole.expand(len(g)), advantage[g], 0.5, 0.5), weight[g]))
    return torch.stack(means).mean()


def step_ppo(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    steps = np.arange(batch.steps)
    term = surrogate(geometric(log_prob, old, weight, units(batch, steps)), advantage, 0.1, 0.1)
    return sequence_mean(term, weight, batch, ids=steps)


def turn_clip(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    scale = torch.from_numpy(batch.columns["clip_scale"])
    ratio = geometric(log_prob, old, weight, units(batch, np.arange(batch.steps)))
    return sequence_mean(surrogate(ratio, advantage, 0.1 * scale, 0.1 * scale), weight, batch)


def blended(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    old, advantage, weight = tensors(batch)
    whole, blend = (torch.from_numpy(batch.columns[name]) for name in ("global_advantage", "blend"))
    ratio = (log_prob - old).exp()
    one, two = (surrogate(ratio, each, 0.2, 0.2) for each in (advantage, whole))
    return token_mean(blend * one + (1 - blend) * two, weight)


def reinforce(log_prob: Tensor, entropy: Tensor, batch: Batch) -> Tensor:
    """Mean over sequences, those with weight, of the weighted sum over tokens."""
    _, advantage, weight = tensors(batch)
    return -(advantage * log_prob * weight).sum() / len(units(batch, batch.unit))


WIDE = {"clip_low": 0.1, "clip_high": 0.1}
PLAIN: dict[str, tuple[Callable[[Tensor, Tensor, Batch], Tensor], dict[str, Any]]] = {
    "ppo": (ppo, {}),
    "ppo@grpo": (ppo_grpo, {}),
    "gspo": (gspo, WIDE),
    "sequence_ppo": (sequence_ppo, {"clip_low": 0.5, "clip_high": 0.5}),
    "step_ppo": (step_ppo, WIDE),
    "turn_clip": (turn_clip, WIDE),
    "blended": (blended, {"dual_clip": None, "aggregation": "token-mean", "clip_low": 0.2, "clip_high": 0.2}),
    "reinforce": (reinforce, {}),
}
"""Each loss in torch, and the parameters that make ours the same."""


# --- a table as a text policy -----------------------------------------------------------------------------------------


class TablePolicyInWords:
    """Logits (places, commands) as a torch parameter; prompt i is "i", its commands are those of the table."""

    def __init__(self, theta: np.ndarray) -> None:
        self.theta = torch.nn.Parameter(torch.from_numpy(theta.copy()))

    def _scored(self, prompts: Sequence[Prompt], responses: Sequence[Response], theta: Tensor) -> TokenLogProbs:
        law = torch.log_softmax(theta[[int(prompt.text) for prompt in prompts]], dim=1)
        said = torch.tensor([int(response.tokens[0]) for response in responses])
        return TokenLogProbs(
            law[torch.arange(len(said)), said], -(law.exp() * law).sum(1), np.arange(len(said) + 1, dtype=np.int64)
        )

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        return self._scored(prompts, responses, self.theta)

    def parameters(self) -> list[torch.nn.Parameter]:
        return [self.theta]

    def count_tokens(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        return np.ones(len(prompts), np.int64)


# --- runs -------------------------------------------------------------------------------------------------------------


def small_run(method: str = "grpo", **how: Any) -> TextTrainConfig:
    """A run on the chain told in words, over in a second."""
    policy = PolicyConfig(**{"vocabulary": 300, "context": 256, **how.pop("policy", {})})
    base: dict[str, Any] = {
        "env": "table", "params": ("env.family=chain@small",), "iterations": 4, "groups": 2, "group_size": 4,
        "eval_every": 2, "eval_tasks": 4, "eval_splits": ("valid",), "history": 0, "checkpoint_every": 1,
        "learning_rate": 3e-3, "slots": 8, "keep": 10,
    }  # fmt: skip
    return TextTrainConfig(method=method, policy=policy, **{**base, **how})


def lasting(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a log without what the clock says."""
    return [{name: value for name, value in line.items() if name not in ("seconds", "overhead")} for line in log]
