"""The warm start: log-likelihood of the environment's own solutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch

from creditsim.errors import InputError, NumericalError
from creditsim.rng import Purpose, derive_seed, uniforms
from llm_bridge.collect.records import with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.collect.walk import Prompter
from llm_bridge.envs.fleet import Fleet
from llm_bridge.policies.base import Prompt, Response, TextPolicy
from llm_bridge.policies.plain import OraclePolicy
from llm_bridge.training.step import micro_batches_of

__all__ = ["imitate", "solutions"]


def solutions(
    policy: TextPolicy, fleet: Fleet, prompter: Prompter, *, split: str, episodes: int, seed: int, max_steps: int | None
) -> list[tuple[Prompt, Response]]:
    """Prompt and answer of each step of `episodes` solved tasks; tasks come round again where there are fewer."""
    sampler = TextSampler(fleet, prompter, split=split, seed=seed, groups=episodes, max_steps=max_steps)
    rollouts = sampler.extend(policy=OraclePolicy())
    lost = int((~with_outcomes(rollouts, sampler.records, sampler.interner).trajectory_columns["success"]).sum())
    if lost:
        raise InputError("warm start", f"{lost} of {episodes} solutions that do not win", "solutions that win; raise "
                         "max_steps, or check the games with `creditsim bridge play --oracle`")  # fmt: skip
    return [(r.prompt, policy.answer(r.prompt, r.response.action)) for r in sampler.records.of(rollouts)]


def imitate(
    policy: TextPolicy,
    pairs: list[tuple[Prompt, Response]],
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    grad_clip: float,
    micro_tokens: int,
    seed: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[float]:
    """Go down -mean over steps of log pi(answer | prompt) by AdamW, and return the mean loss of each epoch, in nats.

    Batches of `batch` steps, shuffled anew in each epoch by Philox. Error: NumericalError for a loss that is not
    finite.
    """
    optimiser = torch.optim.AdamW(policy.parameters(), lr=learning_rate)
    losses = []
    for epoch in progress(range(epochs)):
        keys = uniforms(derive_seed(seed, "imitation"), np.array([epoch]), Purpose.RESAMPLE, len(pairs))[0]
        order, total = np.argsort(keys, kind="stable"), 0.0
        for begin in range(0, len(pairs), batch):
            chosen = [pairs[i] for i in order[begin : begin + batch]]
            optimiser.zero_grad(set_to_none=True)
            prompts, answers = [pair[0] for pair in chosen], [pair[1] for pair in chosen]
            for steps in micro_batches_of(policy, prompts, answers, micro_tokens):
                scored = policy.score([prompts[i] for i in steps], [answers[i] for i in steps])
                loss = -scored.log_prob.sum() / len(chosen)
                loss.backward()
                total += float(loss.detach()) * len(chosen)
            norm = float(torch.nn.utils.clip_grad_norm_(policy.parameters(), grad_clip))
            if not (np.isfinite(total) and np.isfinite(norm)):
                raise NumericalError("imitation: a loss or gradient that is not finite")
            optimiser.step()
        losses.append(total / len(pairs))
    return losses
