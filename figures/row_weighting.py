"""Row weighting against trajectory weighting of group statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFFSET = "gigpo.row-weighting-offset"
EXACT = "gigpo.code-weighting-leave-one-out"
LIMIT = "gigpo.row-weighting-vanishes"


@figure("row_weighting", title="Group statistics over rows or over trajectories", claims=(OFFSET, EXACT, LIMIT))
def row_weighting(results: Mapping[str, Data]) -> Figure:
    """A success takes 5 steps and pays 1, a failure takes 50 and pays 0; p is the chance of success. Left: distance of
    the baseline from V = p when every row is an entry of the group statistics. Markers are exact expectations for N = 8
    and the limit reached by them, the line is Cov(T,R)/E[T]; statistics over trajectories sit at 0. Right: expected
    gradient by the deciding logit relative to the exact one, p(1-p). Statistics over trajectories give (N-1)/N whatever
    p is (grey); statistics over rows do not, and meet the exact gradient only as N grows. Open markers: the estimator
    itself, all groups enumerated.
    """
    sketch, (left, right) = new(1, 2, height=2.6)
    offset = results[OFFSET]
    limit, small = offset.where(kind="limit"), offset.where(kind="baseline")
    left.axhline(0.0, color=NEUTRAL, linestyle=":", label="over trajectories")
    left.plot(limit["p"], limit["predicted"], color=COLOURS[0], label="Cov(T,R)/E[T]")
    left.plot(limit["p"], limit["value"], "o", color=COLOURS[0], fillstyle="none", label="over rows, N large")
    left.plot(small["p"], small["value"], "s", color=COLOURS[1], fillstyle="none", label="over rows, N = 8")
    left.set(xlabel="success probability p", ylabel="E[baseline] − V  (reward)", ylim=(-0.82, 0.06))
    left.legend(loc="lower center", ncols=2)
    left.set_title("Offset of the baseline")
    enumerated, vanishing = results[EXACT], results[LIMIT]
    chances = vanishing.unique("p")
    for p, colour, line, marker in zip(chances, COLOURS, ("-", "--", "-."), "os^", strict=False):
        curve, points = vanishing.where(p=p), enumerated.where(p=p)
        right.plot(curve["n"], curve["gradient"] / curve["exact"], color=colour, linestyle=line)
        right.plot(
            points["n"], points["enumerated"] / points["exact"], color=colour, linestyle="", marker=marker,
            fillstyle="none", label=f"rows, p = {p:g}",
        )  # fmt: skip
    grey = vanishing.where(p=chances[0])
    right.plot(grey["n"], grey["trajectory"] / grey["exact"], color=NEUTRAL, linestyle=":", label="trajectories, any p")
    right.axhline(1.0, color="black", linewidth=0.6)
    right.set_xscale("log", base=2)
    right.set(xlabel="group size N", ylabel="E[gradient] / exact gradient")
    right.legend(loc="lower right")
    right.set_title("Expected gradient")
    return sketch
