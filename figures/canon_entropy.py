"""Which way CANON moves entropy: the reward says, not the name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENTROPY = "canon.entropy-in-mu"


@figure("canon_entropy", title="Entropy under CANON split by entropy", claims=(ENTROPY,))
def canon_entropy(results: Mapping[str, Data]) -> Figure:
    """Expected entropy of an answer over updates along the expected gradient of groups of four, for weights μ of inter
    from 0 (intra) to 1. Left: focused answers are rewarded more; inter lowers entropy fastest, intra most slowly.
    Right: open answers are; the order is turned round. Exact.
    """
    sketch, axes = new(1, 2, height=2.4, sharey=True)
    data = results[ENTROPY]
    for axis, plan in zip(axes, data.unique("plan"), strict=True):
        for mu, look in series_styles([f"{mu:g}" for mu in data.unique("mu")]).items():
            part = data.where(plan=plan, mu=float(mu))
            axis.plot(
                part["update"], part["entropy"], color=look["color"], linestyle=look["linestyle"], label=f"μ = {mu}"
            )
        axis.set(title=plan, xlabel="updates")
    axes[0].set_ylabel("entropy of an answer (nats)")
    axes[1].legend(loc="lower right")
    return sketch
