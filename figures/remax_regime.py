"""Where a greedy baseline pays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import TwoSlopeNorm

from figures.base import Data, figure
from figures.style import COLOURS, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIANCE, BORDER = "remax.less-variance", "remax.border"


@figure("remax_regime", title="ReMax: where the greedy baseline has less variance than none", claims=(VARIANCE, BORDER))
def remax_regime(results: Mapping[str, Data]) -> Figure:
    """Two arms, the greedy one with chance p and reward 1. Left: variance of the gradient under ReMax over that under
    no baseline, exact, on a log scale cut at 1/100 and 100; orange is worse than no baseline. The line is the border
    r = 1 - 1/(2p), the markers the rewards at which enumerated variances cross. Right: the same ratio over p for three
    rewards of the other arm, formula (lines) and enumeration (markers). With rewards 0 and 1 and a greedy arm that is
    right (r = 0) ReMax is worse at every p, the more so the better the policy.
    """
    sketch, (left, right) = new(1, 2, height=2.8)
    data, crossing = results[VARIANCE], results[BORDER]
    p, other = np.unique(data["p"]), np.unique(data["other"])
    ratio = (data["variance_remax"] / data["variance_none"]).reshape(p.size, other.size)
    shown = left.pcolormesh(
        p, other, np.log10(np.clip(ratio, 1e-2, 1e2)).T, cmap="PuOr_r", norm=TwoSlopeNorm(0.0, -2.0, 2.0),
        shading="nearest", rasterized=True,
    )  # fmt: skip
    bar = sketch.colorbar(shown, ax=left, ticks=[-2, -1, 0, 1, 2])
    bar.ax.set_yticklabels(["≤ 1/100", "1/10", "1", "10", "≥ 100"])
    bar.set_label("variance: ReMax / none")
    left.plot(crossing["p"], crossing["border"], color="black", label="1 − 1/(2p)")
    left.plot(crossing["p"], crossing["crossing"], "o", color="black", fillstyle="none", label="enumerated")
    left.set(xlabel="greedy arm's chance p", ylabel="other arm's reward r", ylim=(other[0], other[-1]))
    left.grid(False)
    left.legend(loc="lower right", frameon=True, framealpha=0.9)
    rows = other[[0, int(np.abs(other - 0.5).argmin()), int(np.abs(other - 0.8).argmin())]]
    for reward, colour, line, marker in zip(rows.tolist(), COLOURS, ("-", "--", "-."), ("o", "s", "^"), strict=False):
        part = data.where(other=reward)
        measured = part["variance_remax"] / part["variance_none"]
        right.plot(part["p"], part["ratio_formula"], color=colour, linestyle=line)
        right.plot(
            part["p"], measured, color=colour, linestyle="", marker=marker, fillstyle="none", label=f"r = {reward:.2g}"
        )
    right.axhline(1.0, color="black", linewidth=0.6)
    right.set_yscale("log")
    right.set(xlabel="greedy arm's chance p", ylabel="variance: ReMax / none")
    right.legend(loc="upper left")
    return sketch
