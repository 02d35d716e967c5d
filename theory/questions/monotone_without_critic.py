"""Does learning without a critic cost monotone improvement?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

DROPS, ORDER, CLAMP = "seeupo.grae-loses-monotonicity", "seeupo.group-std-order", "seeupo.batch-normalisation"


@question(
    "monotone_without_critic",
    title="Is it the missing critic that makes updates go wrong?",
    asked="readers of SeeUPO and of the convergence table in its repository",
    claims=(DROPS, ORDER, CLAMP),
    figure="monotonicity",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Group credit differs from an exact advantage in three ways: its baseline is the value of the start and not of the
    state, it is divided by the group's deviation, and it is sampled. Only the last two can lower the return.

    A wrong baseline b(s) shifts all actions of a state alike. In expectation over one state the clipped surrogate then
    still moves probability from worse to better actions: at its maximum an action whose ratio is above 1 has at least
    the advantage of one whose ratio is below 1, whatever b is.

    The group's deviation is no constant. A group that holds a rare large reward has a large one, so the reward shrinks
    itself, and an action that seldom pays much looks worse than one that always pays a little. With rewards of 0 and 1
    this cannot happen, which is why success rates hide it. A batch's deviation is nearly a constant once the batch has
    tens of groups, but a clamp on the result squashes rare rewards again.
    """
    drops, order, clamp = (evidence[name]["detail"] for name in (DROPS, ORDER, CLAMP))
    mean, deviation = drops["group mean"], drops["group std, rare rewards"]
    sampled = drops["group mean, one group of 8"]
    sure, clamped = order["rare, std"][1], clamp["clamp 3"]["0.05"]
    return (
        f"No: expected clipped updates lowered the return in {mean:.1%} of random games with the group's mean as "
        f"baseline, in {deviation:.1%} with its deviation and rewards of 0, 1 or rarely 15, and in {sampled:.0%} of "
        f"updates on one sampled group; in groups of eight the deviation gives an action that always pays 1 the credit "
        f"{sure:+.3f} against one that pays 1.5 on average, and a clamp at three batch deviations prefers it too "
        f"({clamped:+.3f}) once the reward comes one time in twenty."
    )
