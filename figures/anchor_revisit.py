"""What revisits inside one trajectory do to the step advantage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIAS, DECAY = "gigpo.anchor-revisit-bias", "gigpo.anchor-revisit-decay"
LINES, MARKERS = ("-", "--", "-."), "os^"


@figure(
    "anchor_revisit", title="Revisited anchors: bias over discount, loop length and group size", claims=(BIAS, DECAY)
)
def anchor_revisit(results: Mapping[str, Data]) -> Figure:
    """A ring of one, two or three states that the uniform policy leaves with probability 2/3 at every step. Left: worst
    distance, over the three actions of the start state, of the pooled step advantage from (N-1)/N A(s,a), relative to
    the largest |A|; lines are sums over the law of visits, markers the estimator with all groups of two enumerated (a
    marker off its line would mean that one of the two is wrong; values below 1e-7 are cut). At gamma = 1 the bias is
    exactly 0 for any ring. Right: the same distance at gamma = 0.8 falls like 1/N (dotted guide), and the longer the
    way back to an anchor, the smaller it is.
    """
    sketch, (left, right) = new(1, 2, height=2.6)
    data = results[BIAS]
    sums, checked = data.where(method="sums"), data.where(method="enumeration")
    for i, states in enumerate(data.unique("states")):
        for n, width in ((2, 1.5), (8, 0.8)):
            curve = sums.where(states=states, n=n)
            keep = curve["gamma"] < 1.0
            left.plot(
                curve["gamma"][keep], curve["bias"][keep], color=COLOURS[i], linestyle=LINES[i], linewidth=width,
                label=f"{states} state{'s' * (states > 1)}" if n == 2 else None,
            )  # fmt: skip
            left.annotate(
                f"N = {n}", (curve["gamma"][0], curve["bias"][0]), xytext=(-3, 0), textcoords="offset points",
                ha="right", va="center", fontsize=6, color=COLOURS[i],
            )  # fmt: skip
        points = checked.where(states=states)
        keep = points["bias"] > 1e-7
        left.plot(
            points["gamma"][keep], points["bias"][keep], color=COLOURS[i], marker=MARKERS[i], linestyle="",
            fillstyle="none",
        )  # fmt: skip
    left.set_yscale("log")
    low, high = float(np.min(sums["gamma"])), float(np.max(sums["gamma"]))
    left.set(xlabel="discount γ", ylabel="worst bias / largest |A|", xlim=(low - 0.2 * (high - low), high + 0.02))
    left.axvline(1.0, color=NEUTRAL, linestyle=":", linewidth=0.8)
    left.text(0.99, 0.96, "0 at γ = 1", transform=left.get_xaxis_transform(), ha="right", va="top", fontsize=7)
    left.legend(title="loop length", loc="lower left")
    left.set_title("Over the discount")
    decay = results[DECAY]
    for i, states in enumerate(decay.unique("states")):
        curve = decay.where(states=states)
        right.plot(
            curve["n"], curve["bias"], color=COLOURS[i], marker=MARKERS[i], linestyle=LINES[i],
            label=f"{states} state{'s' * (states > 1)}",
        )  # fmt: skip
    first = decay.where(states=decay.unique("states")[0])
    guide = first["bias"][-1] * first["n"][-1] / first["n"]
    right.plot(first["n"], 1.6 * guide, color=NEUTRAL, linestyle=":", label="∝ 1/N")
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    right.set(xlabel="group size N", ylabel="worst bias of A$^S$ (reward)")
    right.legend(loc="lower left")
    right.set_title("Over the group size, γ = 0.8")
    return sketch
