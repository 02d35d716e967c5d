"""What aliasing does to the advantage and to the gradient, for GiGPO's anchor groups and HGPO's levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS, KEEPS, TRADE = "hgpo.level-bias", "hgpo.aliasing-keeps-gradient", "hgpo.favourable-trade-off"
MIX, STD = "hgpo.interpolation", "hgpo.std-rescales"
SPREAD = "spread of hidden values"


@figure(
    "context_bias",
    title="Aliasing: bias of the advantage, direction and noise of the gradient",
    claims=(LEVELS, KEEPS, TRADE, MIX, STD),
)
def context_bias(results: Mapping[str, Data]) -> Figure:
    """Four histories end in one observation; the horizontal axis is the standard deviation of their values (inside one
    history returns have 0.40 to 0.46). Top left: root-mean-square bias that centring on a level adds to the exact
    advantage; markers are the estimator with all groups enumerated, lines the root of E[Var(V|c_k)], and for HGPO
    (K = 2, alpha = 1) the limit of large groups. Level 0 is GiGPO's anchor group. Top middle: that bias does not turn
    the gradient. Off direction is the sine of the angle between expected and exact gradient; GiGPO and HGPO with zeros
    kept stay at 0 (crosses: two contexts, any group size, relative error). Dropping zeros and dividing by deviations do
    turn it. Top right: what aliasing costs is noise, seen in the root-mean-square cosine between sampled and exact
    gradient; the order turns where the spread is about that of the returns. Bottom left: share of (v1-v2)/2 that HGPO
    leaves at K = 1, against GiGPO's (N-1)/N; lines are the closed form. Bottom middle: with division by deviations the
    step (expected over exact gradient, two contexts, N = 8 open and N = 32 filled) shrinks with the gap between the
    contexts; lines are the limits for large groups.
    """
    sketch, axes = new(2, 3, height=4.5)
    (bias, direction, noise), (mix, step, key) = axes
    _bias(bias, results[LEVELS])
    trade = results[TRADE]
    looks = series_styles(trade.unique("series"))
    for label, look in looks.items():
        one = trade.where(series=label)
        direction.plot(one["spread"], 100.0 * np.sin(np.radians(one["angle"])), **look, fillstyle="none")
        noise.plot(one["spread"], one["alignment"], **look, fillstyle="none", label=label)
    keeps = results[KEEPS].where(cue=0.5)
    near = keeps["bias"] <= trade["spread"].max()
    direction.plot(keeps["bias"][near], 100.0 * keeps["off"][near], "x", color="black", markersize=5)
    direction.set(xlabel=SPREAD, ylabel="off direction (%)")
    direction.set_title("Direction of E[gradient]")
    noise.set(xlabel=SPREAD, ylabel="rms cosine, sampled with exact", ylim=(0, None))
    noise.set_title("Noise of the gradient")
    _mix(mix, results[MIX])
    _step(step, results[STD])
    key.axis("off")
    handles, labels = noise.get_legend_handles_labels()
    key.legend(
        handles, labels, loc="upper left", title=f"top middle and right, N = {int(trade['n'][0])}", alignment="left"
    )
    return sketch


def _bias(axis: Any, data: Data) -> None:
    names = {"level 0": "level 0 (GiGPO)", "level 1": "level 1", "level 2": "level 2", "HGPO": "HGPO"}
    for (series, label), look in zip(names.items(), series_styles(list(names)).values(), strict=True):
        one = data.where(series=series)
        axis.plot(one["spread"], np.sqrt(one["predicted"]), color=look["color"], linestyle=look["linestyle"])
        axis.plot(
            one["spread"], np.sqrt(np.abs(one["measured"])), color=look["color"], marker=look["marker"], linestyle="",
            fillstyle="none", label=label,
        )  # fmt: skip
    axis.set(xlabel=SPREAD, ylabel="rms bias (reward)")
    axis.legend(loc="upper left")
    axis.set_title("Bias of the advantage")


def _mix(axis: Any, data: Data) -> None:
    first = data.where(weights="code")
    axis.plot(first["n"], first["anchors"], color=NEUTRAL, linestyle=":", label="GiGPO")
    for weights, colour, line, marker in zip(data.unique("weights"), COLOURS, ("-", "--"), "os", strict=False):
        one = data.where(weights=weights)
        axis.plot(one["n"], one["predicted"], color=colour, linestyle=line)
        axis.plot(
            one["n"], one["measured"], color=colour, marker=marker, linestyle="", fillstyle="none",
            label=f"HGPO, {weights}",
        )  # fmt: skip
    axis.set_xscale("log", base=2)
    sizes = [n for n in (2, 4, 8, 16, 32) if n <= int(first["n"].max())]
    axis.set_xticks(sizes, [str(n) for n in sizes])
    axis.set(xlabel="group size N", ylabel="bias left / half the gap", ylim=(0, 1.05))
    axis.legend(loc="center right", bbox_to_anchor=(1.0, 0.6))
    axis.set_title("What K = 1 leaves")


def _step(axis: Any, data: Data) -> None:
    for depth, colour, line, marker in zip(data.unique("depth"), COLOURS, ("-", "--"), "os", strict=False):
        for context in data.unique("context"):
            limit = data.where(depth=depth, context=context, n=32)
            axis.plot(
                limit["gap"], limit["limit"], color=colour, linestyle=line, linewidth=1.3 if context == 0 else 0.8
            )
        for n, fill in ((8, "none"), (32, "full")):
            one = data.where(depth=depth, n=n)
            axis.plot(
                one["gap"], one["factor"], color=colour, marker=marker, linestyle="", fillstyle=fill,
                label=f"K = {depth}" if fill == "full" else None,
            )  # fmt: skip
    axis.set(xlabel="gap between the contexts", ylabel="step / exact gradient", ylim=(0, None))
    axis.legend(loc="upper right")
    axis.set_title("Divided by deviations")
