"""What dividing by the group's deviation does to the weight of a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import DOUBLE, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE, BOUND = "grpo.std-reweighting", "grpo.std-factor-bound"


@figure("std_reweighting", title="Standard deviation as a weight of tasks", claims=(CURVE, BOUND))
def std_reweighting(results: Mapping[str, Data]) -> Figure:
    """By what factor GRPO's division by the group's deviation scales the expected gradient of a task with success
    chance p, groups of N. Left: lines are finite sums, markers the estimator on every group composition; the long-
    dashed grey curve is the often quoted 1/sqrt(p(1-p)), which only groups with N min(p, 1-p) >> 1 approach. Right: the
    same for very hard tasks; grey bars are the bound (N-1)/sqrt(N), which no task exceeds.
    """
    sketch, (left, right) = new(1, 2, width=DOUBLE, height=2.7)
    data = results[CURVE]
    lines, points = data.where(line=True), data.where(line=False)
    sizes = lines.unique("n")
    styles = series_styles([str(n) for n in sizes])
    for n in sizes:
        look = styles[str(n)]
        line, dots = lines.where(n=n), points.where(n=n)
        left.plot(line["p"], line["factor"], color=look["color"], linestyle=look["linestyle"], label=f"N = {n}")
        left.plot(dots["p"], dots["factor"], color=look["color"], marker=look["marker"], linestyle="")
    first = lines.where(n=sizes[0])
    left.plot(first["p"], first["curve"], color=NEUTRAL, linestyle=(0, (8, 2)), label="1/√(p(1−p))")
    left.set(xscale="log", yscale="log", xlabel="success chance p", ylabel="E[gradient] / exact gradient")
    left.set_xticks([0.01, 0.05, 0.1, 0.5], ["0.01", "0.05", "0.1", "0.5"])
    left.set_yticks([0.7, 1, 2, 4, 8], ["0.7", "1", "2", "4", "8"])
    left.minorticks_off()
    left.legend(loc="upper right", ncols=2)
    bound = results[BOUND]
    for at, n in enumerate(groups := bound.unique("n")):
        rows = bound.where(n=n)
        right.plot(rows["factor"], [at] * len(rows["p"]), color=NEUTRAL, linewidth=0.6)
        right.scatter(rows["factor"], [at] * len(rows["p"]), c=range(len(rows["p"])), cmap="viridis", s=16, zorder=3)
        right.plot([rows["bound"].max()] * 2, [at - 0.32, at + 0.32], color=NEUTRAL, linewidth=2.5)
    right.set_yticks(range(len(groups)), [str(n) for n in groups])
    right.set(xscale="log", xlabel="E[gradient] / exact gradient", ylabel="group size N")
    right.set_xticks([0.7, 1, 2, 4, 8], ["0.7", "1", "2", "4", "8"])
    right.minorticks_off()
    chances = bound.unique("p")
    right.set_title(f"dots: p = {chances[0]:g} (dark) … {chances[-1]:g} (bright); bar: bound", fontsize=7)
    return sketch
