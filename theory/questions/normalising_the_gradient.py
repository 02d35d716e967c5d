"""What does normalising do to the gradient?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

CURVE, BOUND, WITHIN, WEIGHTS = (
    "grpo.std-reweighting", "grpo.std-factor-bound", "grpo.direction-within-a-task", "dr-grpo.keeps-task-weights",
)  # fmt: skip


@question(
    "normalising_the_gradient",
    title="What does normalising do to the gradient, not to the advantage?",
    asked="tinker-cookbook #579, GEM #113, TRL #3991",
    claims=(CURVE, BOUND, WITHIN, WEIGHTS),
    figure="std_reweighting",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Advantages of one deviation look alike for every task; what matters is the expected gradient that they make.

    For a task with binary rewards and success chance p, centring inside groups of N gives (N-1)/N of the exact
    gradient. Dividing by the group's deviation multiplies it by sum_k P(k) k(N-k)/N^2 / std_k over p(1-p), k successes
    in N. The quoted 1/sqrt(p(1-p)) is the limit of that sum for N min(p, 1-p) much larger than 1. At usual group sizes
    a hard task rarely has a mixed group, silent groups give nothing, and the factor cannot exceed (N-1)/sqrt(N). So
    the over-weighting of hard tasks is mild at N = 8 and grows with the group.

    Inside one task the direction stays exactly what it was, as long as rewards take two values. With three or more,
    the expected advantage is no longer linear in the reward, and one task's gradient turns too. Across tasks the
    direction changes in either case.
    """
    factor, bound = evidence[CURVE]["detail"]["p=0.02"], evidence[BOUND]["detail"]
    even = evidence[CURVE]["detail"]["p=0.5"]
    return (
        f"At N = 8 it scales a task with p = 0.02 by {factor['8']:.2f} and one with p = 0.5 by {even['8']:.2f}, not by "
        f"the quoted {factor['curve']:.2f} and {even['curve']:.2f}, and never by more than {bound['bound at N=8']:.2f}"
        f"; the direction inside a task is kept for binary rewards, but with rewards 0, 1 and 5 it turns by up to "
        f"{evidence[WITHIN]['parts'][1]['statistic']:.0f}°."
    )
