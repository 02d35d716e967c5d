"""Does the order of the turns matter?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

REVERSE, SOFT, SHARED = "seeupo.reverse-optimal", "seeupo.soft-updates-arrive", "seeupo.sequential-monotone"


@question(
    "turn_order",
    title="Should the turns of an episode be updated last to first?",
    asked="readers of SeeUPO",
    claims=(REVERSE, SOFT, SHARED),
    figure="turn_orders",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Treat the turns of an episode as agents of one team. Each answers the others as they are; whoever answers first
    answers teammates that are yet to improve. From the last turn to the first, every turn answers a future that is
    already as good as it gets: backward induction, one sweep and no critic.

    With hard best responses the order decides what is found, because a branch that is left is no longer visited and no
    longer improved. With exponentiated steps at every history the branches stay open, all orders arrive, and the
    reverse order saves about one sweep. With steps weighed by the chance of a visit, which is what a policy gradient
    does, a part of the trees starves in every order.

    What the order guards is monotone improvement where turns cannot see each other. Where every turn sees all before
    it and has parameters of its own, updating all turns at once is monotone as well; where all turns share one row of
    parameters, as the turns of one network do, neither is.
    """
    hard, soft = evidence[REVERSE]["detail"], evidence[SOFT]["detail"]
    shared = min(evidence[SHARED]["detail"]["shared"])
    first = {order: shares[0] for order, shares in hard.items()}
    at_once = hard["simultaneous"][4]
    reverse, forward = soft["whole, reverse"]["median"], soft["whole, forward"]["median"]
    few, many = soft["weighed, reverse"]["short"], soft["weighed, forward"]["short"]
    return (
        f"With hard best responses the reverse order solves {first['reverse']:.0%} of random trees in one sweep, "
        f"random order {first['random']:.0%}, forward {first['forward']:.0%}, all at once {at_once:.0%} in eight; "
        f"with soft steps every order arrives (median {reverse:.0f} sweeps reverse, {forward:.0f} forward), weighed by "
        f"reach {few:.0%} to {many:.0%} of the trees stay short, and where all turns share parameters the reverse "
        f"order too can lower the return (by {-shared:.2f} at worst)."
    )
