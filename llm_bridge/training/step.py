"""One update of a language model: the loss's derivative by log-probability, pushed through autograd."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from creditsim.errors import InputError, NumericalError
from creditsim.registry import Bound
from creditsim.rng import derive_seed
from creditsim.rollouts import Rollouts
from creditsim.updates.base import row_weight
from creditsim.updates.kl import kl_estimate
from creditsim.updates.losses.base import evaluate
from creditsim.updates.surrogate import minibatch_of
from llm_bridge.collect.records import Record, Records
from llm_bridge.policies.base import Prompt, Response, TextPolicy, TokenLogProbs

__all__ = ["Batch", "ModelClock", "StepSettings", "improve", "make_batch", "micro_batches_of"]


@dataclass(frozen=True)
class StepSettings:
    """How one update is made of gradient steps."""

    loss: Bound
    epochs: int = 1
    minibatches: int = 1
    minibatch_steps: int | None = None
    """Sequences of a minibatch, where that and not their number is given."""
    kl_weight: float = 0.0
    kl: str = "k3"
    entropy_weight: float = 0.0
    grad_clip: float = 1.0
    micro_tokens: int = 16384


@dataclass
class ModelClock:
    """Seconds in which the model ran forward or back, or was moved."""

    seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class Batch:
    """Steps to learn from, S of them with T tokens in all, in sequences of the loss.

    `unit` (S,) numbers the sequence of each step, in order; `token_step` (T,) the step of each token. `old` (T,) are
    the log-probabilities of sampling, `advantage`, `weight` and `columns` (T,) repeat those of the step.
    """

    records: Sequence[Record]
    unit: np.ndarray
    token_step: np.ndarray
    old: np.ndarray
    advantage: np.ndarray
    weight: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def steps(self) -> int:
        """S."""
        return len(self.records)

    def take(self, steps: np.ndarray) -> Batch:
        """The steps named, in their order."""
        chosen = np.zeros(self.steps, bool)
        chosen[steps] = True
        tokens = chosen[self.token_step]
        place = np.cumsum(chosen) - 1
        return Batch(
            [record for record, keep in zip(self.records, chosen, strict=True) if keep],
            np.unique(self.unit[chosen], return_inverse=True)[1].reshape(-1),
            place[self.token_step[tokens]],
            self.old[tokens],
            self.advantage[tokens],
            self.weight[tokens],
            {name: values[tokens] for name, values in self.columns.items()},
        )

    @property
    def offsets(self) -> np.ndarray:
        """(sequences + 1,) tokens of sequence i are offsets[i]:offsets[i+1]."""
        count = np.bincount(self.unit[self.token_step], minlength=int(self.unit.max(initial=-1)) + 1)
        return np.concatenate([[0], np.cumsum(count)])


def make_batch(
    rollouts: Rollouts, credit: Mapping[str, np.ndarray], records: Records, loss: Bound, *, sequences: str = "step"
) -> Batch:
    """Rows with weight, their answers as tokens, and the columns that the loss needs (the estimator's, else theirs).

    A step's tokens share its advantage and its weight. `sequences`: "step" makes every answer a sequence of the loss,
    "trajectory" all answers of a trajectory one. Without rows of weight the batch is empty. Errors: MissingColumnError.
    """
    if sequences not in ("step", "trajectory"):
        raise InputError("sequences", repr(sequences), "step | trajectory")
    weight = row_weight(rollouts)
    rows = np.flatnonzero(weight > 0)
    kept = [records[int(number)] for number in rollouts.column("record", "training")[rows]]
    count = np.array([record.response.tokens.size for record in kept], np.int64)
    token_step = np.repeat(np.arange(rows.size), count)
    unit = np.arange(rows.size) if sequences == "step" else np.unique(rollouts.trajectory[rows], return_inverse=True)[1]
    needed = {
        name: credit[name] if name in credit else rollouts.column(name, f"loss {loss.part.name}")
        for name in loss.part.needs
    }

    def by_token(values: np.ndarray) -> np.ndarray:
        return np.asarray(values)[rows][token_step]

    return Batch(
        kept,
        unit.reshape(-1),
        token_step,
        np.concatenate([record.response.log_probs for record in kept]) if kept else np.zeros(0),
        by_token(np.asarray(credit["advantage"], np.float64)),
        by_token(weight),
        {name: by_token(values) for name, values in needed.items()},
    )


def improve(
    policy: TextPolicy,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    settings: StepSettings,
    *,
    seed: int,
    clock: ModelClock | None = None,
) -> dict[str, float]:
    """Gradient steps down L + kl_weight KL(pi | reference) - entropy_weight H, aggregated as the loss; what was seen.

    Each step: log-probabilities of the minibatch, the loss's value and derivative by each of them in float64 (the pure
    function that tables use), then sum_i derivative_i log pi_i is differentiated by autograd, micro-batch by
    micro-batch. Its gradient is that of the loss: dL/dtheta = sum_i dL/dlog pi_i dlog pi_i/dtheta. A minibatch that
    fits one micro-batch is run forward once, a larger one twice, so that losses which tie tokens together (sequence
    ratios, batch means) are exact under accumulation. Gradients longer than `grad_clip` are scaled to it. The model
    stays in evaluation mode: with dropout the first ratio would not be 1, nor a run repeat itself.

    Returns means over the steps made: loss, grad_norm (before clipping), kl to the reference, entropy, and the loss's
    metrics; `steps_made`. An empty batch makes no step. Error: NumericalError for a gradient that is not finite; the
    parameters are then as before that step.
    """
    seen: dict[str, list[float]] = {}
    if batch.steps == 0:
        return {"steps_made": 0.0}
    clock = clock or ModelClock()
    units = int(batch.unit.max()) + 1
    number = settings.minibatches if settings.minibatch_steps is None else -(-units // settings.minibatch_steps)
    for epoch in range(settings.epochs):
        for part in _minibatches(batch, number, derive_seed(seed, "epoch", epoch)):
            for name, value in _one_step(policy, optimiser, part, settings, clock).items():
                seen.setdefault(name, []).append(value)
    made = len(seen["loss"])
    return {"steps_made": float(made), **{name: float(np.mean(values)) for name, values in seen.items()}}


def micro_batches_of(
    policy: TextPolicy, prompts: Sequence[Prompt], responses: Sequence[Response], tokens: int
) -> list[np.ndarray]:
    """Indices of pairs in batches of at most `tokens` tokens with padding (one pair at least), longest first."""
    count = policy.count_tokens(prompts, responses)
    order = np.argsort(-count, kind="stable")
    out: list[list[int]] = []
    for i in order:
        # Padding makes every row of a micro-batch as long as its first.
        if not out or count[out[-1][0]] * (len(out[-1]) + 1) > tokens:
            out.append([])
        out[-1].append(int(i))
    return [np.sort(np.array(part)) for part in out]


def _minibatches(batch: Batch, number: int, seed: int) -> list[Batch]:
    if number == 1:
        return [batch]
    units = int(batch.unit.max()) + 1
    share = minibatch_of(np.zeros(units, np.int64), number, seed, np.zeros(1, np.int64))
    parts = (np.flatnonzero(share[batch.unit] == index) for index in range(number))
    return [batch.take(steps) for steps in parts if steps.size]


def _one_step(
    policy: TextPolicy, optimiser: torch.optim.Optimizer, batch: Batch, settings: StepSettings, clock: ModelClock
) -> dict[str, float]:
    prompts, responses = [r.prompt for r in batch.records], [r.response for r in batch.records]
    micro = micro_batches_of(policy, prompts, responses, settings.micro_tokens)
    single = len(micro) == 1
    with torch.enable_grad() if single else torch.no_grad(), clock.running():
        pieces = [_scored(policy, batch, steps) for steps in micro]
        # Copying to the host waits for the device, so the clock tells its work too.
        log_prob = _gathered(batch, micro, [piece.log_prob for piece in pieces])
        entropy = _gathered(batch, micro, [piece.entropy for piece in pieces])
    found = evaluate(
        settings.loss, log_prob, batch.old, batch.advantage, batch.offsets, batch.weight, None, batch.columns
    )
    slope, penalty = np.asarray(found.derivative), 0.0
    if settings.kl_weight:
        with torch.no_grad(), clock.running():
            other = [_scored(policy, batch, steps, reference=True).log_prob for steps in micro]
            reference = _gathered(batch, micro, other)
        value, by_log_prob = kl_estimate(log_prob, reference, settings.kl)
        slope = slope + settings.kl_weight * found.share * by_log_prob
        penalty = float((found.share * value).sum())
    with clock.running():
        optimiser.zero_grad(set_to_none=True)
        for steps, piece in zip(micro, pieces, strict=True):
            live = piece if single else _scored(policy, batch, steps)
            tokens = _tokens_of(batch, steps)
            push = _like(slope[tokens], live.log_prob) * live.log_prob
            if settings.entropy_weight:
                push = push - settings.entropy_weight * _like(found.share[tokens], live.entropy) * live.entropy
            push.sum().backward()
        norm = float(torch.nn.utils.clip_grad_norm_(policy.parameters(), settings.grad_clip))
        if not np.isfinite(norm):
            optimiser.zero_grad(set_to_none=True)
            raise NumericalError("training: a gradient that is not finite; the parameters are as before this step")
        optimiser.step()
    told: dict[str, Any] = {"loss": found.value, "grad_norm": norm, "kl": penalty, "entropy": float(entropy.mean())}
    return {**told, **{name: float(value) for name, value in found.metrics.items()}}


def _scored(policy: TextPolicy, batch: Batch, steps: np.ndarray, *, reference: bool = False) -> TokenLogProbs:
    records = [batch.records[i] for i in steps]
    run = policy.reference if reference else policy.score
    return run([record.prompt for record in records], [record.response for record in records])


def _tokens_of(batch: Batch, steps: np.ndarray) -> np.ndarray:
    """Tokens of the steps named (ascending), in the order in which scoring gives them."""
    return np.flatnonzero(np.isin(batch.token_step, steps))


def _gathered(batch: Batch, micro: Sequence[np.ndarray], pieces: Sequence[torch.Tensor]) -> np.ndarray:
    out = np.empty(batch.token_step.size)
    for steps, piece in zip(micro, pieces, strict=True):
        out[_tokens_of(batch, steps)] = piece.detach().double().cpu().numpy()
    return out


def _like(values: np.ndarray, other: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=other.dtype, device=other.device)
