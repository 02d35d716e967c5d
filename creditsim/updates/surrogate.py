"""The surrogate update: a loss on log-probability ratios, minimised over epochs and minibatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from creditsim.errors import InputError
from creditsim.registry import Bound
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.updates.base import RowPolicy, State, update
from creditsim.updates.kl import KL_ESTIMATORS, kl_estimate
from creditsim.updates.losses import LOSSES
from creditsim.updates.losses.base import LossResult, evaluate
from creditsim.updates.optimiser import ascend

__all__ = ["minibatch_of", "surrogate"]


@update(
    "surrogate", paper="PPO, arXiv:1707.06347", evidence="code", needs=("log_prob", "advantage"),
    parts={"loss": LOSSES, "kl": KL_ESTIMATORS},
)  # fmt: skip
def surrogate(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    loss: str = "ppo",
    clip_low: float | None = None,
    clip_high: float | None = None,
    aggregation: str | None = None,
    norm: float | None = None,
    epochs: int = 1,
    minibatches: int = 1,
    learning_rate: float = 0.1,
    optimiser: str = "adam",
    kl_weight: float = 0.0,
    kl: str = "k3",
    entropy_weight: float = 0.0,
) -> tuple[RowPolicy, State]:
    """Gradient steps on a surrogate loss, for each replicate on its own batch.

    Each step goes down L + kl_weight KL(pi | pi_ref) - entropy_weight H over one minibatch: the loss gives
    dL/d log pi(a_i|s_i) per row, and the policy's score function brings it back to theta. L is `loss`, a registered
    surrogate (`name` or `name@preset`), on the ratio to the column `log_prob` of the policy that sampled; sums are
    normalised inside each replicate as its `aggregation` says, trajectories being the sequences. Columns that the loss
    needs beside these are the estimator's, else the rollouts'.

    clip_low, clip_high, aggregation, norm   override the loss's own where given; a `norm` that an aggregation asks for
                   and nobody gives is `state["horizon"]`, the most rows an episode can have
    epochs, minibatches   passes over the batch, and parts of it by trajectory, drawn anew in each pass
    kl, kl_weight  estimator k1 | abs | k2 | k3 of the KL to the policy at the first update (`reference_theta` (R, P) in
                   the state), aggregated as the loss
    entropy_weight   bonus for the policy's exact entropy in each row's state, aggregated as the loss
    optimiser      sgd | adam

    With one epoch, one minibatch and sgd every ratio is 1 and the step is that of the score function.
    State used: `seed` and `replicate` (R,) for drawing minibatches. Errors: unknown names and parameters, a loss that
    has no such parameter, epochs or minibatches below 1.
    """
    for name, value in (("epochs", epochs), ("minibatches", minibatches)):
        if value < 1:
            raise InputError(f"update surrogate {name}", value, "a whole number >= 1")
    if not kl_weight >= 0.0:
        raise InputError("update surrogate kl_weight", kl_weight, "a number >= 0")
    given = {"clip_low": clip_low, "clip_high": clip_high, "aggregation": aggregation, "norm": norm}
    bound = _with_norm(LOSSES.bind(loss, **{name: value for name, value in given.items() if value is not None}), state)
    state = {**state, "reference_theta": state.get("reference_theta", policy.theta)}
    extra = {name: credit[name] for name in bound.part.needs if name in credit}
    flat = replace(rollouts, parent=np.full(rollouts.n_trajectories, -1)) if rollouts.is_tree else rollouts
    whole = flat.with_columns(advantage=credit["advantage"], **extra)
    for epoch in range(epochs):
        for part in _minibatches(whole, minibatches, epoch, state):
            found = _loss(policy, part, bound)
            slope = found.derivative
            if kl_weight:
                slope = slope + kl_weight * found.share * _kl_slope(policy, part, state["reference_theta"], kl)
            gradient = -policy.pullback(part, slope)
            if entropy_weight:
                gradient += entropy_weight * policy.entropy_pullback(part, found.share)
            theta, state = ascend(policy.theta, gradient, state, learning_rate=learning_rate, optimiser=optimiser)
            policy = policy.with_theta(theta)
    return policy, state


def _with_norm(bound: Bound, state: State) -> Bound:
    asked = str(bound.params.get("aggregation", "")).endswith("norm") and bound.params["norm"] is None
    if not asked:
        return bound
    if "horizon" not in state:
        raise InputError("update surrogate norm", "None", "a number > 0, or a loop that puts `horizon` into the state")
    return bound.part.bind(None, **{**bound.params, "norm": float(state["horizon"])})


def _loss(policy: RowPolicy, part: Rollouts, bound: Bound) -> LossResult:
    columns = {name: part.column(name, f"loss {bound.part.name}") for name in bound.part.needs}
    old = part.column("log_prob", "update surrogate")
    weight = part.columns.get("weight")
    given = (policy.log_prob(part), old, part.column("advantage"), part.offsets, weight, part.batch)
    return evaluate(bound, *given, columns)


def _kl_slope(policy: RowPolicy, part: Rollouts, reference: np.ndarray, kl: str) -> np.ndarray:
    """(M,) derivative of the KL penalty of each row by its log-probability."""
    return kl_estimate(policy.log_prob(part), policy.with_theta(reference).log_prob(part), kl)[1]


def _minibatches(rollouts: Rollouts, number: int, epoch: int, state: State) -> Iterator[Rollouts]:
    if number == 1:
        yield rollouts
        return
    share = minibatch_of(rollouts.batch, number, derive_seed(int(state["seed"]), "epoch", epoch), state["replicate"])
    for index in range(number):
        chosen = np.flatnonzero(share == index)
        # `take` makes batch ids dense; here they must go on naming replicates, some of which may have no part.
        yield replace(rollouts.take(chosen), batch=rollouts.batch[chosen])


def minibatch_of(batch: np.ndarray, number: int, seed: int, replicate: np.ndarray) -> np.ndarray:
    """(N,) the minibatch 0..number-1 of each trajectory: a random split of each batch into parts as equal as can be.

    `batch` (N,) says which of `replicate` (R,) a trajectory belongs to. The split of a replicate depends on the seed,
    its number and the order of its own trajectories alone.
    """
    count = np.bincount(batch, minlength=replicate.shape[0])
    order = np.argsort(batch, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(batch.shape[0]) - np.repeat(np.cumsum(count) - count, count)
    keys = uniforms(seed, replicate, Purpose.RESAMPLE, int(count.max(initial=0)))[batch, place]
    shuffled = np.lexsort((keys, batch))
    rank = np.empty_like(order)
    rank[shuffled] = place[order]
    return rank * number // np.maximum(count, 1)[batch]
