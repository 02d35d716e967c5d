"""3SPO's score and the branches it earns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES, BORDER, GRADED = "3spo.score-telescopes", "3spo.one-branch-threshold", "3spo.graded-rollouts"


@figure(
    "score_over_visits",
    title="3SPO: score and branches of a state over its visits",
    claims=(SCORES, BORDER, GRADED),
)
def score_over_visits(results: Mapping[str, Data]) -> Figure:
    """Left and middle: score S and branches n = ceil(8 S) of a state over its visits, clock t = visits, by success rate
    p (colour and marker) at alpha = 1 (solid) and 50 (dashed), without truncation. The star is the case printed in the
    README (tenth visit, S = 0.3, n = 3): no curve at alpha = 50 with p >= 0.1 comes near it, at alpha = 1 one does.
    Right: the success rate from which a state gets a single branch, and so no update; ln 8 / (alpha ln t) as lines,
    found by bisection as markers. With alpha = 50 it lies at 6.0 % at t = 2 and 0.9 % at t = 100.
    """
    data = results[SCORES]
    sketch, (left, middle, right) = new(1, 3, height=2.6)
    markers = [style["marker"] for style in series_styles([str(rate) for rate in data.unique("rate")]).values()]
    for rate, colour, marker in zip(data.unique("rate"), COLOURS, markers, strict=False):
        look = {"color": colour, "marker": marker, "markevery": 0.25, "fillstyle": "none"}
        for alpha, line in ((1.0, "-"), (50.0, "--")):
            part = data.where(alpha=alpha, rate=rate)
            label = f"p = {rate:g}" if alpha == 1.0 else None
            left.plot(part["visits"], part["score"], linestyle=line, label=label, **look)
            middle.step(part["visits"], part["n"], where="mid", linestyle=line, **look)
    left.plot(10, 0.3, "*", color="black", markersize=8, label="README")
    middle.plot(10, 3, "*", color="black", markersize=8)
    left.set(xscale="log", xlabel="visits of the state", ylabel="score S", ylim=(-0.02, 1.05))
    middle.set(xscale="log", xlabel="visits of the state", ylabel="branches n of 8", ylim=(0, 8.4))
    left.plot([], [], color="black", linestyle="-", label="α = 1")
    left.plot([], [], color="black", linestyle="--", label="α = 50")
    border = results[BORDER]
    names = [f"{alpha:g}" for alpha in border.unique("alpha")]
    for alpha, style in zip(border.unique("alpha"), series_styles(names).values(), strict=True):
        part = border.where(alpha=alpha)
        right.plot(part["t"], part["formula"], color=style["color"], linestyle=style["linestyle"])
        right.plot(
            part["t"], part["found"], color=style["color"], linestyle="", marker=style["marker"], fillstyle="none",
            label=f"α = {alpha:g}",
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="clock t", ylabel="rate from which n = 1")
    sketch.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    sketch.legend(*right.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    return sketch
