"""Mean over rows or trajectories?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

OFFSET, EXACT = "gigpo.row-weighting-offset", "gigpo.code-weighting-leave-one-out"
LIMIT = "gigpo.row-weighting-vanishes"


@question(
    "rows_or_trajectories",
    title="Mean over rows or over trajectories?",
    asked="verl-agent #138",
    claims=(OFFSET, EXACT, LIMIT),
    figure="row_weighting",
)
def rows_or_trajectories(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """In agent training every step of an episode is a training row, and every row carries the return of its episode.
    The mean of a group can then be taken over its N trajectories, (1/N) sum_i R_i, or over its rows, sum_i T_i R_i /
    sum_i T_i, where an episode of 50 steps counts ten times as much as one of 5. The papers of GRPO and GiGPO write the
    first; verl-agent computes the second unless told otherwise.

    The two differ when length goes with success, as it does wherever a failure runs into the step limit. The row mean
    tends to V + Cov(T,R)/E[T] instead of V. That constant does not turn the gradient by itself, since a baseline that
    ignores the action has no effect on average. What is left is each trajectory's own share in its baseline: 1/N for
    every trajectory in the first case, which only scales the gradient by (N-1)/N, but T_i / sum_j T_j in the second,
    which weighs long trajectories down and depends on the success probability. This second effect vanishes like 1/N.

    In practice: take trajectories if advantages of different tasks are to be comparable, if logged means of the
    advantage are to be read (over rows, the mean of trajectory-weighted advantages drifts with Cov(T,R)/E[T] although
    nothing is wrong), or if groups are small. Whichever is taken, name it: `grpo@paper` and `grpo@verl-agent` differ
    here.
    """
    offset, exact = evidence[OFFSET]["detail"], evidence[EXACT]["detail"]
    won, lost = offset["advantages_5_vs_50"]
    rows, trajectories = exact["gradients_of_8"], exact["leave_one_out_of_8"]
    return (
        f"Over trajectories: with four successes of 5 steps and four failures of 50 the row mean gives {won:+.3f} and "
        f"{lost:+.3f} instead of +0.5 and -0.5, and at N = 8 an expected gradient of {rows['0.1']:.4f}, "
        f"{rows['0.5']:.4f} and {rows['0.9']:.4f} at success probabilities 0.1, 0.5 and 0.9, where (N-1)/N of the "
        f"exact one is {trajectories['0.1']:.5f}, {trajectories['0.5']:.5f} and {trajectories['0.9']:.5f}; the "
        f"difference vanishes like 1/N ({evidence[LIMIT]['detail']['at_half_256']:.4f} against 0.25 at N = 256)."
    )
