"""CANON: the group is split by a metric, and each half is judged by the other half or by itself."""

from __future__ import annotations

import math
from typing import Literal

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError, choose
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import Entries, check_number, entries, episode_score
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_count, segment_mean, segment_rank, segment_sum
from creditsim.segments.api import Singleton

__all__ = ["canon"]

Discount = Literal["length", "entropy"]


@estimator(
    "canon",
    paper="arXiv:2509.23962",
    evidence="code",
    needs=("metric",),
    makes=("advantage", "upper"),
    # Equal metrics are told apart by their place in the group.
    symmetric=False,
    presets={
        "paper": {},
        "code": {"divisor": 8192.0, "singleton": "raw"},
        "efficient": {"alpha": 0.96},
    },
)
def canon(
    rollouts: Rollouts,
    *,
    mu: float = 1.0,
    alpha: float = 1.0,
    discount: Discount = "length",
    threshold: float | None = None,
    divisor: float = 1.0,
    singleton: Singleton = "zero",
) -> dict[str, Array]:
    """Conditional advantages: the group is halved by a metric and the reward says which half is better.

    A_i = (mu inter_i + (1 - mu) intra_i) / divisor (eq. 7 at mu = 1/2), S_i the return, m+ and m- the mean returns of
    the upper and lower half: inter_i = S_i - mean of the other half, intra_i = S_i - mean of the own half.
    The lower half are the first floor(n/2) members by metric, equal ones in their order. There is no deviation.

    mu         weight of inter; 1 is CANON-Inter, 0 CANON-Intra, 1/2 Dr.GRPO wherever the halves are equal. A schedule
               is resolved outside; here it is a number
    alpha      inter under eqs. 8 and 9: with `discount="length"` alpha S_i - m- in the upper half and S_i - alpha m+
               in the lower (alpha < 1 holds long answers back); with "entropy" S_i - alpha m- and alpha S_i - m+
    threshold  split there instead, upper half above it; a group with an empty half then gets 0 (inferred)
    divisor    a constant; the code divides by the longest response, 8192
    singleton  a group of one: "zero", or "raw": S_i / divisor (code: means of nothing are 0)

    In: rewards (M,), `metric` per trajectory (N,) or per row, then averaged over the trajectory's rows. Out, (M,):
    `advantage` in units of reward over the divisor, the same for all rows of a trajectory; `upper` 1 or 0, the half.
    Degenerate input: equal returns give 0 at alpha = 1. Rows of weight 0 enter nothing and get 0.
    Errors: InputError for mu outside [0, 1], alpha that is not finite, divisor <= 0, a metric or threshold that is no
    number. Source: official code; `singleton="zero"` in preset `paper` is inferred.
    """
    check_number("mu", mu, 0.0, 1.0)
    choose("discount", discount, ("length", "entropy"))
    choose("singleton", singleton, ("zero", "raw"))
    if not math.isfinite(alpha):
        raise InputError("alpha", alpha, "a finite number")
    if not (divisor > 0 and math.isfinite(divisor)):
        raise InputError("divisor", divisor, "a finite number > 0")
    if threshold is not None and not math.isfinite(threshold):
        raise InputError("threshold", threshold, "a finite number, or None for the group's median")
    xp = namespace(rollouts.reward)
    entry = entries(rollouts, episode_score(rollouts), "trajectory", "exclude")
    group, n = entry.group, rollouts.n_groups
    inside, at = group >= 0, xp.where(group >= 0, group, 0)
    metric, score = _metric(rollouts, entry), entry.score
    size = segment_count(score, group, n)
    upper = metric > threshold if threshold is not None else segment_rank(metric, group, n) >= size[at] // 2
    half = xp.where(inside, 2 * at + upper, -1)
    mean, count = segment_mean(score, half, 2 * n), segment_count(score, half, 2 * n)
    own, other = mean[2 * at + upper], mean[2 * at + 1 - upper]
    discounted = upper if discount == "length" else ~upper
    inter = xp.where(discounted, alpha * score - other, score - alpha * other)
    value = (mu * inter + (1.0 - mu) * (score - own)) / divisor
    filled = (count[2 * at] > 0) & (count[2 * at + 1] > 0)
    alone = size[at] == 1
    value = xp.where(filled, value, 0.0)
    if singleton == "raw":
        value = xp.where(alone, score / divisor, value)
    return {
        "advantage": entry.to_rows(xp.where(inside, value, 0.0)),
        "upper": entry.to_rows(xp.where(inside & upper, 1.0, 0.0)),
    }


def _metric(rollouts: Rollouts, entry: Entries) -> Array:
    """(N,) metric of each trajectory; a row column is averaged over the rows that count."""
    xp = namespace(rollouts.reward)
    if "metric" in rollouts.trajectory_columns:
        metric = rollouts.trajectory_columns["metric"] * 1.0
    else:
        rows = segment_sum(xp.ones(rollouts.n_rows), rollouts.trajectory, rollouts.n_trajectories, where=entry.live)
        metric = entry.total(rollouts.columns["metric"] * 1.0) / xp.maximum(rows, 1.0)
    if not bool(xp.isfinite(metric[entry.group >= 0]).all()):
        raise InputError("metric", "NaN or infinity", "finite numbers")
    return metric
