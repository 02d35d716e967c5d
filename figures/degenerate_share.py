"""Groups without a gradient, over difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import DOUBLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARE = "grpo.degenerate-groups"


@figure("degenerate_share", title="Groups that carry no gradient", claims=(SHARE,))
def degenerate_share(results: Mapping[str, Data]) -> Figure:
    """Left: share of groups of n binary rewards in which every member gets advantage 0; lines are p^n + (1-p)^n,
    markers the estimator on every outcome. Right: groups that must be generated for one with a gradient, 1 / (1 -
    share), which is what dynamic sampling pays.
    """
    sketch, (left, right) = new(1, 2, width=DOUBLE, height=2.5)
    data = results[SHARE]
    styles = series_styles([str(n) for n in data.unique("n")])
    for n in data.unique("n"):
        look = styles[str(n)]
        line, dots = data.where(n=n, line=True), data.where(n=n, line=False)
        left.plot(line["p"], line["share"], color=look["color"], linestyle=look["linestyle"])
        left.plot(dots["p"], dots["share"], color=look["color"], marker=look["marker"], linestyle="")
        right.plot(line["p"], 1 / (1 - line["share"]), color=look["color"], linestyle=look["linestyle"])
        keep = dots["share"] < 1
        generated = 1 / (1 - dots["share"][keep])
        right.plot(dots["p"][keep], generated, color=look["color"], marker=look["marker"], linestyle="")
        left.plot([], [], label=f"n = {n}", **look)
    left.set(xlabel="success chance p", ylabel="share of groups without gradient", ylim=(-0.03, 1.03))
    right.set(xlabel="success chance p", ylabel="groups generated per useful one", yscale="log")
    right.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    right.minorticks_off()
    sketch.legend(loc="outside upper center", ncols=len(styles))
    return sketch
