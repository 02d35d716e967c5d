"""May dense turn rewards be normalised by depth?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

POSITION, ROOT = "a2tgpo.positional-bias", "a2tgpo.root-rule"
SHAPING, NORMALISED = "igpo.shaping-invariance", "igpo.normalised-gains"


@question(
    "normalising_turn_rewards",
    title="May information gains be normalised turn by turn?",
    asked="IGPO pools the turns of a group, A2TGPO compares turns of one depth",
    claims=(POSITION, ROOT, SHAPING, NORMALISED),
    figure="information_gain",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Gains of a potential add up: what is paid from turn t on is Phi(end) - Phi(s_t). If the end is worth the same
    everywhere, that is potential shaping and no choice changes. As published the answer is paid its outcome and its
    potential is kept, so a promising state is worth something by itself, whatever comes of it.

    Pooling all turns under one scale keeps the sum, but praises early turns where gains shrink with depth. A scale for
    each depth takes that favour away and breaks the sum: a small late gain may then outweigh a large early one.

    The root of the number of summed turns keeps their size level at gamma = 1 only; below, divide by the root of the
    sum of gamma^(2j).
    """
    below = evidence[ROOT]["detail"]
    kept = evidence[SHAPING]["parts"][1]["detail"]
    by_depth = evidence[NORMALISED]["parts"][1]["detail"]
    return (
        "One scale for all turns leaves the best policy as it is once the answer gives the potential back, a "
        f"scale for each depth moves it in {100 * by_depth['share_moved']:.0f} % of random tasks, and keeping the "
        f"last potential, as published, in {100 * kept['share_moved']:.0f} %; with ten turns left the root rule "
        f"gives a variance of {below['gamma 1, 10 left']:.3f} at gamma 1, {below['gamma 0.9, 10 left']:.3f} at 0.9 "
        f"and {below['gamma 0.5, 10 left']:.3f} at 0.5."
    )
