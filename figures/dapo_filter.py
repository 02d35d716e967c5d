"""What dynamic sampling selects, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, DOUBLE, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEAN, UNDER, REDRAW, COST = (
    "dapo.filtered-mean", "dapo.hard-tasks-under-estimated", "dapo.redraw-keeps-direction", "dapo.cost",
)  # fmt: skip


@figure("dapo_filter", title="Dynamic sampling: selection and cost", claims=(MEAN, UNDER, REDRAW, COST))
def dapo_filter(results: Mapping[str, Data]) -> Figure:
    """Groups whose answers all score alike are drawn again. Top left: success rate of the groups that are kept (lines:
    formula; markers: all outcomes of the design), pulled from p (grey) towards 1/2. Top right: leave-one-out advantage
    in kept groups less the exact one; failures of hard tasks look worse than they are, successes a little better
    (lines and markers as before). Bottom left: groups of three generated for each one handed on, in at most T tries
    (lines: formula). Bottom right: angle between the gradient over three tasks with the filter and without; redrawing
    from another task keeps the direction, redrawing the same task does not.
    """
    sketch, ((left, middle), (cost, right)) = new(2, 2, width=DOUBLE, height=4.6)
    data = results[MEAN]
    styles = series_styles([str(n) for n in data.unique("n")])
    for n, look in ((n, styles[str(n)]) for n in data.unique("n")):
        line, dots = data.where(n=n, line=True), data.where(n=n, line=False)
        left.plot(line["p"], line["mean"], color=look["color"], linestyle=look["linestyle"])
        left.plot(dots["p"], dots["mean"], color=look["color"], marker=look["marker"], linestyle="")
        left.plot([], [], label=f"n = {n}", **look)
    left.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":")
    left.set(xlabel="success chance p", ylabel="success rate of kept groups")
    left.legend(loc="upper left")
    under = results[UNDER]
    for n, colour, fill in zip(under.unique("n"), COLOURS, ("full", "none", "left", "right"), strict=False):
        for answer, marker, line in (("failure", "v", "-"), ("success", "^", "--")):
            rows = under.where(n=n, answer=answer, line=True)
            dots = under.where(n=n, answer=answer, line=False)
            middle.plot(rows["p"], rows["estimate"] - rows["exact"], color=colour, linestyle=line)
            middle.plot(
                dots["p"], dots["estimate"] - dots["exact"], color=colour, marker=marker, fillstyle=fill, linestyle=""
            )
            look = {"color": colour, "linestyle": line, "marker": marker, "fillstyle": fill}
            middle.plot([], [], **look, label=f"{answer}, n = {n}")
    middle.axhline(0, color=NEUTRAL, linewidth=0.8)
    middle.set(xlabel="success chance p", ylabel="advantage in kept groups − exact")
    middle.set_ylim(-0.5, 0.13)
    middle.legend(loc="lower right", ncols=2)
    generated = results[COST]
    tries = generated.unique("tries")
    looks = series_styles([str(t) for t in tries])
    for t in tries:
        look = looks[str(t)]
        line, dots = generated.where(tries=t, line=True), generated.where(tries=t, line=False)
        cost.plot(line["p"], line["groups"], color=look["color"], linestyle=look["linestyle"])
        cost.plot(dots["p"], dots["groups"], color=look["color"], marker=look["marker"], linestyle="")
        marker = look["marker"] if dots["p"].size else ""
        label = f"T = {t}" if t else "no limit"
        cost.plot([], [], color=look["color"], linestyle=look["linestyle"], marker=marker, label=label)
    cost.set(xlabel="success chance p", ylabel="groups generated per group", ylim=(0.8, 6))
    cost.legend(loc="upper center", ncols=2)
    redraw = results[REDRAW]
    for tasks, marker, colour in (("new", "o", COLOURS[0]), ("same", "s", COLOURS[1])):
        rows = redraw.where(tasks=tasks)
        right.plot(rows["tries"], rows["degrees"], marker=marker, color=colour, label=f"redraw: {tasks} task")
    right.set(xlabel="tries T", ylabel="angle to unfiltered gradient (°)")
    right.set_xticks(sorted(redraw.unique("tries")))
    right.legend(loc="upper left")
    return sketch
