"""Optimal token baseline: a baseline for each group and position, weighted by the size of the score function."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.estimators.base import estimator
from creditsim.estimators.scores import check_number, live_rows, members
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, reverse_scan, scan, segment_count, segment_sum

__all__ = ["optimal_token_baseline"]


@estimator(
    "optimal_token_baseline",
    paper="verl: optimal_token_baseline",
    evidence="code",
    needs=("log_prob", "sum_pi_squared"),
    makes=("advantage", "baseline", "return_to_go"),
    presets={"verl": {}},
    level="decision",
)
def optimal_token_baseline(
    rollouts: Rollouts, *, handle_zero_tail: bool = True, is_weighted: bool = False, eps: float = 1e-8
) -> dict[str, Array]:
    """Return-to-go less a baseline per group and position, weighted by the squared norm of the score so far.

    A_{i,t} = G_{i,t} - B_t,  B_t = sum_i W_{i,t} G_{i,t} / (sum_i W_{i,t} + eps)  over the group's rows at position t
    W_{i,t} = sum_{k <= t} w_{i,k},  w = 1 - 2 pi + sum_a pi_a^2, the squared norm of d log pi / d logits; G the
    undiscounted return-to-go. `is_weighted` multiplies w by the square of column `is_weight`, an importance weight.
    With `handle_zero_tail` B_t = 0 where one row of the group is left, so that it keeps G instead of about 0.

    In: column `log_prob` (M,) of the sampling policy and `sum_pi_squared` (M,). Out (M,), in units of reward:
    `advantage`, `baseline`, `return_to_go`. Rows of `weight` 0 are no positions (the code's multi-turn form): they add
    nothing to W and get 0, but their reward is part of G. A group of one trajectory has B = 0.
    Errors: InputError for a negative eps; MissingColumnError for a missing column.
    Source: verl (code); both its forms agree where no position is masked in between.
    """
    check_number("eps", eps, 0.0)
    xp = namespace(rollouts.reward)
    live = live_rows(rollouts)
    w = 1.0 - 2.0 * xp.exp(rollouts.columns["log_prob"]) + rollouts.columns["sum_pi_squared"]
    if is_weighted:
        w = w * rollouts.column("is_weight", needed_by="is_weighted=True") ** 2
    so_far = scan(xp.where(live, w, 0.0), 1.0, rollouts.offsets)
    to_go = reverse_scan(rollouts.reward, 1.0, rollouts.offsets)
    position = scan(xp.where(live, 1.0, 0.0), 1.0, rollouts.offsets).astype(xp.int64)
    ids, n = factorize(rollouts.group_rows, position)
    ids = xp.where(live, ids, -1)
    baseline = segment_sum(so_far * to_go, ids, n) / (segment_sum(so_far, ids, n) + eps)
    if handle_zero_tail:
        baseline = xp.where(segment_count(so_far, ids, n) == 1, 0.0, baseline)
    several = segment_count(rollouts.group, xp.where(members(rollouts), rollouts.group, -1), rollouts.n_groups) > 1
    baseline = xp.where(live & several[rollouts.group_rows], baseline[ids], 0.0)
    return {
        "advantage": xp.where(live, to_go - baseline, 0.0),
        "baseline": baseline,
        "return_to_go": to_go,
    }
