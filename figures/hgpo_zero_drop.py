"""What dropping levels that are exactly zero does to HGPO's expected gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP, JUMP, KEPT = "hgpo.zero-drop-direction", "hgpo.zero-drop-continuous", "hgpo.one-factor"
LINES, MARKERS = ("-", "--"), "os"


@figure("hgpo_zero_drop", title="Dropping exact zeros bends the expected gradient", claims=(GAP, JUMP, KEPT))
def hgpo_zero_drop(results: Mapping[str, Data]) -> Figure:
    """Two equally likely contexts behind one observation, K = 1, alpha = 1, mean_norm; vertical axis: expected over
    exact gradient in each context (1 would be unbiased; two different values turn the gradient). The dotted line is
    what the same weights give when zeros are kept: one factor for both contexts. Top left: the released code, which
    drops zeros, over the gap between the contexts' values; lines are sums over the others in the group, markers the
    estimator with all groups enumerated. Past a gap of about 10 the poorer context is pushed the wrong way. Top right:
    noise of plus or minus the abscissa added to the returns at a gap of 2.1: the expectation jumps at 0 and wherever
    two returns meet; crosses at the left edge: rewards disturbed by less than 1e-6. Bottom left: with more distinct
    noise values ties get rare and the factors meet (N = 4). Bottom right: zeros kept, contexts of chance 0.9 and 0.1
    (open) or 0.5 (filled): rare contexts have small groups and are shortened more; lines are the closed form.
    """
    sketch, ((gap, noise), (values, kept)) = new(2, 2, height=4.8)
    data = results[GAP]
    for context, colour, line, marker in zip((0, 1), COLOURS, LINES, MARKERS, strict=False):
        one = data.where(context=context)
        label = ("poorer context", "richer context")[context]
        gap.plot(one["gap"], one["predicted"], color=colour, linestyle=line)
        gap.plot(one["gap"], one["factor"], color=colour, marker=marker, linestyle="", fillstyle="none", label=label)
        for axis, sweep, joined in ((noise, "noise", ""), (values, "values", line)):
            part = results[JUMP].where(sweep=sweep, context=context)
            axis.plot(
                part["x"],
                part["factor"],
                color=colour,
                marker=marker,
                linestyle=joined,
                linewidth=0.8,
                fillstyle="none",
            )
        edge = results[JUMP].where(sweep="disturbed", context=context, n=8)
        noise.plot(edge["x"], edge["factor"], "x", color=colour, markersize=6)
        for cue, fill in ((0.5, "full"), (0.9, "none")):
            part = results[KEPT].where(cue=cue, context=context, gap=0.0)
            chance = cue if context == 0 else 1.0 - cue
            kept.plot(part["n"], part["formula"], color=colour, linestyle=line, linewidth=0.8)
            kept.plot(
                part["n"], part["factor"], color=colour, marker=marker, linestyle="", fillstyle=fill,
                label=f"chance {chance:.1f}" if cue == 0.9 or context == 0 else None,
            )  # fmt: skip
    jump = results[JUMP]
    for axis, part in ((gap, data), (noise, jump.where(sweep="noise")), (values, jump.where(sweep="values"))):
        level = float(part["kept"][0])
        axis.axhline(level, color=NEUTRAL, linestyle=":", label="zeros kept, both" if axis is gap else None)
    gap.axhline(0.0, color="black", linewidth=0.6)
    gap.set(xlabel="gap between the contexts' values", ylabel="E[gradient] / exact, N = 8")
    gap.legend(loc="upper left")
    gap.set_title("Over aliasing, returns that tie")
    noise.set(xlabel="noise of the returns (two values)", ylabel="E[gradient] / exact, N = 8")
    noise.set_title("Over noise, gap 2.1")
    values.set(xlabel="number of noise values", ylabel="E[gradient] / exact, N = 4")
    values.set_title("As ties get rare")
    values.set_xticks(jump.where(sweep="values").unique("x"))
    kept.set_xscale("log", base=2)
    kept.set_xticks(ns := results[KEPT].unique("n"), [str(n) for n in ns])
    kept.minorticks_off()
    kept.set(xlabel="group size N", ylabel="E[gradient] / exact")
    kept.legend(loc="lower right")
    kept.set_title("Zeros kept, rare and common contexts")
    return sketch
