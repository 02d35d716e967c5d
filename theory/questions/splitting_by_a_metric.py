"""Does splitting the group by entropy decide whether entropy falls?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

GRADIENT, ENTROPY, VARIANCE = "canon.expected-gradient", "canon.entropy-in-mu", "canon.variance"


@question(
    "splitting_by_a_metric",
    title="Split the group by entropy or length: what does that do to the gradient?",
    asked="CANON, whose inter and intra weights are said to lower and to raise entropy",
    claims=(GRADIENT, ENTROPY, VARIANCE),
    figure="canon_gradient",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Judging each half by the other half's mean adds a term to the policy gradient: E[g] = dJ + (2 mu - 1)(m+ - m-)
    dP(upper), with m+ and m- the halves' mean rewards and mu the weight of inter. It pushes probability to the half
    that is rewarded more, faster than the rewards alone would; intra holds it back.

    It is a bias, of a chosen kind: no direction is written down for the metric, the reward gives it. With entropy as
    the metric, inter lowers entropy where focused answers win and raises it where open ones do.

    At mu = 1/2 and equal halves nothing is left of it: that is Dr.GRPO. Small groups split at their own median blur it,
    and intra's credit is 1 - 2/n of the plain size, which is most of why it varies least.
    """
    along = evidence[GRADIENT]["parts"][1]["detail"]["slope"]
    focused, open_ = (part["detail"]["last"] for part in evidence[ENTROPY]["parts"])
    trace = evidence[VARIANCE]["detail"]["trace"]["4"]
    return (
        f"Inter's expected gradient is {along['inter'][0]:.3f}, {along['inter'][1]:.3f} and "
        f"{along['inter'][2]:.3f} of the exact one plus its push at groups of 4, 16 and 64, intra's "
        f"{along['intra'][0]:.3f}, {along['intra'][1]:.3f} and {along['intra'][2]:.3f}; after 40 updates entropy "
        f"is {focused[-1]:.2f} under inter and {focused[0]:.2f} under intra where focused answers win, "
        f"{open_[-1]:.2f} and {open_[0]:.2f} where open ones do, and in groups of four the gradient's variance is "
        f"{trace[0]:.3f}, {trace[1]:.3f} and {trace[2]:.3f} for inter, Dr.GRPO and intra."
    )
