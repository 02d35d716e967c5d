"""Does 3SPO have logarithmic regret?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

STATED, BORDER, LOCKED = "3spo.log-regret", "3spo.regret-border", "3spo.lock-in"
FORCED, CEIL, FILTER = "3spo.forced-exploration", "3spo.ceil-is-linear", "3spo.filter-stability"


@question(
    "logarithmic_regret",
    title="Does 3SPO have logarithmic regret?",
    asked="readers of 3SPO, whose abstract states O(ln I) allocation regret",
    claims=(STATED, BORDER, LOCKED, FORCED, CEIL, FILTER),
    figure="allocation_regret",
)
def logarithmic_regret(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """3SPO looks at a state's next steps as arms of a bandit. Arm a has the score S_i(a) = i^(-alpha p_a), p_a its
    success rate so far, and the arm that succeeds least should get the rollouts. Regret counts rollouts that go
    elsewhere. The argument is: success rates concentrate, so scores separate, so the other arms' shares fall like
    i^(-alpha gap/2), and the sum is O(ln I).

    Every step of it is right once every arm has been observed (16/gap^2) ln i times by iteration i. If each iteration
    shows every arm, that is so, and the truth is better than the bound: waste is bounded for alpha gap > 1, of order
    ln I at 1, and of order I^(1 - alpha gap) below. With alpha = 50 gaps under 0.02 are on the wrong side.

    Rollouts show only the arm they are spent on. A target whose first pull happens to succeed is then given a share
    whose sum over all iterations is finite, so with positive probability it is never tried again, and the expected
    waste is linear. The median run hides this: it wastes about one draw, less than any rule can that works on every
    bandit (Lai and Robbins). Mixing in uniform draws at a rate of c K / (gap^2 i) repairs it, for
    c >= gap^2 / d(p_a, p_target).

    The code does something else: n = ceil(8 S) rollouts for every state. That observes every arm, and wastes at least
    K - 1 rollouts per iteration, as uniform allocation does. Truncation, meant to save these, also hits states that
    can be learnt.
    """
    stated, forced, ceil = (evidence[name]["detail"] for name in (STATED, FORCED, CEIL))
    locked = evidence[LOCKED]["detail"]["linear"]
    killed = evidence[FILTER]["detail"]["ever"]["ever_at_twice_zeta"]
    return (
        f"Only if every arm is observed in every iteration (expected waste {stated['full_waste']:.1f} rollouts for "
        f"ever, success 0.3 and 0.5, alpha = 50): with bandit feedback {100 * locked['locked']:.0f} % of runs lock in "
        f"to the wrong arm and waste is at least {locked['never_again']:.3f} I, forced exploration brings it back to "
        f"{evidence[FORCED]['statistic']:.1f} ln I without a lock-in ({100 * forced['locked']:.1f} % of runs), and the "
        f"implemented ceil(8 S) wastes {ceil['waste']:.0f} of {ceil['spent']:.0f} rollouts, while its truncation cuts "
        f"a state with success rate 0.2 for good in {100 * killed:.0f} % of runs."
    )
