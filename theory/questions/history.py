"""Which K and alpha?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

ALPHA, DEPTH = "hgpo.alpha-minimum", "hgpo.deeper-history-better"


@question(
    "history",
    title="Which K and alpha?",
    asked="HGPO's two hyperparameters, K = 2 or 4 and alpha = 1 in its scripts",
    claims=(ALPHA, DEPTH),
    figure="hgpo_alpha",
)
def history(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """K should reach back as far as what decides the value of a step, and no further. Each observation that matters
    removes bias from the baseline; each one that does not splits groups for nothing. A window longer than needed is
    mild where it splits nothing new: it acts like a larger alpha, since two levels then hold the same group.

    alpha moves weight from the shallow to the deep level. With two levels the best deep weight is (s00 - s01)/(s00 +
    s11 - 2 s01), s being the second moments of the two baselines' errors: it passes 1/2, the weight at alpha = 0,
    exactly when the deep level alone is better than the shallow one. So there are two regimes. Where aliasing is weak
    or groups are tiny the best alpha is 0, and K should have been smaller. Else it grows with N, soon past the default
    of 1: the error over alpha falls to a flat bottom, and little is lost by going straight to the deepest level that
    has company.
    """
    best = evidence[ALPHA]["detail"]["above 1/2"]
    with_aliasing = evidence[DEPTH]["detail"]["spread 1"]
    without = evidence[DEPTH]["parts"][1]["detail"]["alignment"]
    some = with_aliasing["alignment"]
    return (
        f"At N = 8 and K = 1 the best alpha is {best['best alpha, gap 0.25, N=8']:.1f}, "
        f"{best['best alpha, gap 0.5, N=8']:.1f}, {best['best alpha, gap 1, N=8']:.1f} and "
        f"{best['best alpha, gap 2, N=8']:.1f} for two contexts whose values are 0.25, 0.5, 1 and 2 apart (returns "
        f"inside one vary by 0.43), and for 1 apart it grows from {best['best alpha, gap 1, N=3']:.1f} at N = 3 to "
        f"{best['best alpha, gap 1, N=16']:.1f} at N = 16; K = 0, 1, 2, 3 give cosines with the exact gradient of "
        f"{_list(some)} where two cues matter, and {_list(without)} where none does."
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{v:.2f}" for v in values)
