"""GRPO and Dr.GRPO: the score of a trajectory relative to its group, with or without division by a deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import (
    Entries,
    Masked,
    Weighting,
    check_number,
    entries,
    episode_score,
    reward_table,
    weighted_score,
)
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_normalise, segment_std
from creditsim.segments.api import Singleton

__all__ = ["dr_grpo", "grpo"]

Scale = Literal["std", "none", "batch"]
Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]


@estimator(
    "grpo",
    paper="arXiv:2402.03300",
    evidence="code",
    presets={
        "paper": {"eps": 0.0},
        "verl": {"singleton": "raw", "masked": "include"},
        "verl-vectorized": {"singleton": "raw", "masked": "include", "variance_floor": 1e-6},
        "verl-agent": {"weighting": "step", "singleton": "raw", "masked": "include"},
        "trl": {"eps": 1e-4},
    },
)
def grpo(
    rollouts: Rollouts,
    *,
    scale: Scale = "std",
    weighting: Weighting = "trajectory",
    ddof: int = 1,
    eps: float = 1e-6,
    variance_floor: float = 0.0,
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
    reward_weights: Sequence[float] | None = None,
    aggregation: Aggregation = "sum_then_normalize",
) -> Array:
    """Group Relative Policy Optimization: the score of a trajectory, standardised inside its group.

    A_i = (S_i - mean_g) / (std_g + eps), S_i = sum_t r_{i,t}, the same for every row of trajectory i.
    std_g = sqrt(max(v_g, variance_floor)), v_g with divisor n - ddof over the entries of group g: one per trajectory,
    or with `weighting="step"` one per row, so that a trajectory counts once per step. `scale="none"` leaves the
    division out; "batch" divides by the deviation of the scores of the whole batch, not of the centred ones.

    Several rewards: with `reward_weights` (K numbers) S_i is the weighted sum of trajectory column `rewards_K` (N, K);
    `aggregation="normalize_then_sum"` standardises each reward inside its group, sums with the weights, and
    standardises the sum over the batch (`scale` and `singleton` play no part then).

    In: rewards (M,). Out: advantage (M,), in deviations of the group (in units of reward with `scale="none"`).

    Degenerate input: a group whose scores are all equal gets exactly 0. A group of one gets 0 (`singleton="zero"`), or
    with "raw" what it would get beside a mean of 0: S / (1 + eps), S with `scale="none"`, S / (std + eps) of its batch
    with "batch". Rows of weight 0, and trajectories of such rows only, enter nothing and get 0; `masked="include"`
    treats them as any other. A group of masked trajectories only gets 0.
    Errors: unknown choices, negative eps, a number of weights other than K.

    Conventions:
      preset          scale  weighting   ddof  eps   floor of variance  group of one  weight 0
      paper           std    trajectory  1     0     0                  zero          excluded
      verl            std    trajectory  1     1e-6  0                  raw           included
      verl-vectorized std    trajectory  1     1e-6  1e-6               raw           included
      verl-agent      std    step        1     1e-6  0                  raw           included
      trl             std    trajectory  1     1e-4  0                  zero          excluded

    Source: verl, verl-agent and TRL (code). The paper writes a plain std; its ddof, and what it does with a group of
    one, are not stated there as far as our notes say (inferred).
    """
    choose("scale", scale, ("std", "none", "batch"))
    choose("aggregation", aggregation, ("sum_then_normalize", "normalize_then_sum"))
    check_number("eps", eps, 0.0)
    if reward_weights is None:
        score = episode_score(rollouts)
    else:
        score = weighted_score(rollouts, reward_weights, needed_by="grpo")
    entry = entries(rollouts, score, weighting, masked)
    if aggregation == "normalize_then_sum":
        return entry.to_rows(_normalise_then_sum(entry, reward_weights or (1.0,), ddof, eps))
    centred = segment_normalise(
        entry.score,
        entry.group,
        rollouts.n_groups,
        scale=scale == "std",
        ddof=ddof,
        eps=eps,
        variance_floor=variance_floor,
        singleton=singleton,
    )
    if scale == "batch":
        deviation = segment_std(entry.score, entry.batch, rollouts.n_batches, ddof=ddof) + eps
        xp = namespace(centred)
        centred = centred / xp.where(deviation > 0, deviation, 1.0)[entry.batch]
    return entry.to_rows(centred)


def _normalise_then_sum(entry: Entries, weights: Sequence[float], ddof: int, eps: float) -> Array:
    rollouts = entry.rollouts
    xp = namespace(rollouts.reward)
    table = reward_table(rollouts, weights, needed_by="grpo aggregation normalize_then_sum")
    if entry.per_row:
        table = table[rollouts.trajectory]
    k = len(weights)
    # One segment for each (group, reward): the K columns are standardised in one call.
    ids = xp.where(entry.group[:, None] >= 0, entry.group[:, None] * k + xp.arange(k), -1)
    each = segment_normalise(table.reshape(-1), ids.reshape(-1), rollouts.n_groups * k, ddof=ddof, eps=eps)
    total = (each.reshape(-1, k) * xp.asarray(weights)).sum(axis=1)
    return segment_normalise(total, entry.batch, rollouts.n_batches, ddof=ddof, eps=eps)


@estimator(
    "dr_grpo",
    paper="arXiv:2503.20783",
    evidence="code",
    presets={
        "paper": {},
        "verl": {"singleton": "raw", "masked": "include"},
        "verl-agent": {"weighting": "step", "singleton": "raw", "masked": "include"},
        "trl": {},
    },
)
def dr_grpo(
    rollouts: Rollouts,
    *,
    weighting: Weighting = "trajectory",
    singleton: Singleton = "zero",
    masked: Masked = "exclude",
) -> Array:
    """Dr.GRPO: GRPO without division by the deviation, A_i = S_i - mean_g, the same for every row of trajectory i.

    It equals (n-1)/n times RLOO, row by row. The method also drops the division of the loss by the response length,
    which is the loss's affair. In: rewards (M,). Out: advantage (M,) in units of reward.

    Degenerate input as in `grpo`: equal scores give 0; a group of one gets 0, or its score with `singleton="raw"`;
    rows of weight 0 enter nothing and get 0 unless included.

    Conventions:
      preset      weighting   group of one  weight 0
      paper       trajectory  zero          excluded
      verl        trajectory  raw           included   (norm_adv_by_std_in_grpo = False)
      verl-agent  step        raw           included
      trl         trajectory  zero          excluded   (scale_rewards = "none")

    Source: verl and TRL (code).
    """
    return grpo(rollouts, scale="none", weighting=weighting, singleton=singleton, masked=masked)
