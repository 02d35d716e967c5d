"""What truncation does to a trap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "3spo.truncation-keeps-penalty"


@figure("trap_defect", title="3SPO: a truncated trap is no longer penalised", claims=(CLAIM,))
def trap_defect(results: Mapping[str, Data]) -> Figure:
    """Exact expected update of the chance of entering a pit, by the failures counted in the pit, at a state branched
    at whose other branch leads to a state solved half of the time. Below zero the update leads away from the pit. Up to
    nine failures the pit scores 1 and is avoided; from the tenth it is truncated and scores 0, less than the solved
    state, so at alpha = 1 the update leads into it (filled), and at alpha = 50, where the solved state scores 0 too, it
    no longer leads away. Open markers: the same with a truncated state scoring 1 in the reward.
    """
    data = results[CLAIM]
    sketch, axes = new(1, 2, height=2.5, sharey=True)
    for axis, alpha in zip(axes, (1.0, 50.0), strict=True):
        part = data.where(alpha=alpha)
        for truncated, colour, fill, label in (
            (0.0, COLOURS[1], "full", "as published"),
            (1.0, COLOURS[0], "none", "truncated scores 1"),
        ):
            curve = part.where(truncated=truncated)
            axis.plot(
                curve["failures"], curve["drift"], color=colour, marker="o", fillstyle=fill, linewidth=0.8, label=label
            )
        axis.axhline(0.0, color="black", linewidth=0.8)
        axis.axvline(9.5, color=NEUTRAL, linewidth=0.8, linestyle=":")
        axis.annotate("truncated", (9.8, 0.97), xycoords=("data", "axes fraction"), va="top", fontsize=6, color=NEUTRAL)
        axis.set_xticks(range(0, 21, 5))
        axis.set(xlabel="failures counted in the pit", title=f"α = {alpha:g}")
    axes[0].set_ylabel("expected update of the\npit's logit (> 0: into the pit)")
    axes[0].margins(y=0.2)
    axes[1].legend(loc="center right")
    return sketch
