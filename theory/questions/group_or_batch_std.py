"""Group or batch standard deviation?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

DIRECTION, REVERSE, DOUBLE = "grpo.batch-std-direction", "grpo.std-can-reverse", "grpo.double-normalisation"


@question(
    "group_or_batch_std",
    title="Group or batch standard deviation?",
    asked="AReaL #303, prime-rl #1047 and #1133, TRL #3991",
    claims=(DIRECTION, REVERSE, DOUBLE),
    figure="group_or_batch_std",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """The group's mean is a baseline in either case; what differs is the number by which the result is divided.

    The batch's deviation is the same number for every task of the batch. In one batch it still depends a little on
    each task's own outcome, so the expected gradient is off by an angle of order 1/(answers in the batch), and that is
    all: A = (r - mean_group) / std_batch is a step length. The group's deviation is another number for each task. At
    success chance p it scales the task's gradient by up to 1/sqrt(p(1-p)), never more than (N-1)/sqrt(N), and no batch
    is large enough to average that out. In groups of two all mixed groups have the same deviation, so the question is
    void there.

    Where tasks have parameters of their own the turn is mild. Where they share one, it can decide the sign: five hard
    tasks that want a shared parameter up outvote one even task whose exact gradient is larger than theirs together.

    Normalising twice, inside the group and then over the batch, does not bring the weights back. The second pass
    multiplies all rows by sqrt((B n - 1) / (B_mixed (n - 1))), which only makes up for groups without signal.
    """
    direction, reverse = evidence[DIRECTION]["detail"]["rate"], evidence[REVERSE]["detail"]
    return (
        f"Over five tasks of mixed difficulty the group's deviation turns the expected gradient by "
        f"{direction['group n=8']:.1f}° at n = 8 and {direction['group n=32']:.1f}° at n = 32 however large the batch, "
        f"the batch's by {direction['batch n=8']:.2f}° and {direction['batch n=32']:.3f}° with {direction['groups']} "
        f"groups; where tasks share a parameter the group's can even reverse it ({reverse['expected']:+.4f} expected, "
        f"{reverse['exact']:+.4f} exact), and normalising twice weighs the tasks of a batch as once."
    )
