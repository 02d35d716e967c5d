"""The gradient of the expected best of n, and the deviation's effect on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNBIASED, DIRECTION = "passk.unbiased", "passk.std-keeps-direction"


@figure("passk", title="pass@k: best minus second best, with and without the deviation", claims=(UNBIASED, DIRECTION))
def passk(results: Mapping[str, Data]) -> Figure:
    """One answer out of four with distinct rewards (arm 0 the worst). Left: derivative of E[max of n] by each arm's
    logit, exact (lines) and expected from crediting the best of n with its lead over the second best (markers). Right:
    cosine of the expected gradient with the exact one; the lead alone stays at 1; divided by the group's deviation, as
    verl does by default, it is turned, most in small groups; the mean baseline points to the mean, not to the maximum.
    """
    sketch, (left, right) = new(1, 2, height=2.6)
    data = results[UNBIASED]
    for i, arm in enumerate(data.unique("arm")):
        part = data.where(arm=arm)
        left.plot(part["n"], part["exact"], color=COLOURS[i], linestyle=("-", "--", "-.", ":")[i % 4])
        left.plot(
            part["n"], part["lead"], linestyle="", marker="os^D"[i % 4], color=COLOURS[i], fillstyle="none",
            label=f"arm {arm}",
        )  # fmt: skip
    left.axhline(0.0, color="black", linewidth=0.6)
    left.margins(y=0.25)
    left.set(xlabel="group size n", ylabel="derivative of E[max] by logit")
    left.legend(ncols=4, loc="lower center", handletextpad=0.2, columnspacing=0.8)
    angles = results[DIRECTION]
    for series, style in series_styles(angles.unique("series")).items():
        part = angles.where(series=series)
        right.plot(part["n"], part["cosine"], **style, label=series)
    right.axhline(1.0, color="black", linewidth=0.6)
    right.set(xlabel="group size n", ylabel="cosine with the exact gradient", ylim=(None, 1.03))
    right.legend(loc="lower left")
    return sketch
