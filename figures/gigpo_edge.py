"""Where GiGPO's step level helps the gradient, and where it stops to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGE, FATAL = "gigpo.step-level-edge", "gigpo.step-level-edge-fatal"
ALONE = "w = 0"


@figure("gigpo_edge", title="GiGPO against its episode level alone, over the number of states", claims=(EDGE, FATAL))
def gigpo_edge(results: Mapping[str, Data]) -> Figure:
    """Alignment E[g·u] / sqrt(E|g|²) of the gradient g of one group of eight with the direction u of the exact
    gradient, for A^E + w A^S less that for A^E alone, which is given above each panel; above the black line the step
    level helps. Every state appears under 1 to 64 irrelevant observations, which the policy ignores and the anchors do
    not: to the right anchor groups become singletons (grey: share of rows alone in theirs). Left: a wrong digit is
    repaired; anchors help while rollouts share them, and cost signal afterwards. Middle: random transitions; the border
    comes earlier. Right: a wrong digit ends the episode; the step level costs signal everywhere (lines: exact sums).
    Markers are samples with paired intervals at the ledger's level.
    """
    sketch, axes = new(1, 3, height=2.9, sharex=True)
    data, fatal = results[EDGE], results[FATAL]
    mixes = [mix for mix in data.unique("mix") if mix != ALONE]
    panels = {name: data.where(environment=name) for name in data.unique("environment")}
    panels["lock, fatal"] = fatal.where(method="sampled")
    for axis, (name, part) in zip(axes, panels.items(), strict=True):
        exact = fatal.where(method="sums") if name == "lock, fatal" else part
        axis.axhline(0.0, color="black", linewidth=0.8)
        for mix, look in series_styles(mixes).items():
            curve, points = exact.where(mix=mix), part.where(mix=mix)
            axis.plot(curve["marks"], curve["edge"], color=look["color"], linestyle=look["linestyle"])
            bars = [points["edge"] - points["edge_low"], points["edge_high"] - points["edge"]]
            axis.errorbar(
                points["marks"], points["edge"], yerr=bars, color=look["color"], marker=look["marker"],
                linestyle="", elinewidth=0.8, fillstyle="none", label=mix.replace("w", "$w$"),
            )  # fmt: skip
        alone = part.where(mix=ALONE)
        for marks, share in zip(alone["marks"], alone["singletons"], strict=True):
            axis.text(
                marks, 0.98, f"{100 * share:.0f} %", transform=axis.get_xaxis_transform(), ha="center", va="top",
                fontsize=6, color=NEUTRAL,
            )  # fmt: skip
        low, high = min(fatal["edge"].min(), data["edge"].min()), max(fatal["edge"].max(), data["edge"].max())
        axis.set_xscale("log", base=2)
        axis.margins(x=0.1)
        axis.set(xlabel="observations per state", ylim=(1.05 * low, high + 0.2 * (high - low)))
        axis.set_title(f"{name} (A$^E$ alone: {alone['alignment'][0]:.2f})")
    axes[0].set_ylabel("alignment gained over A$^E$ alone")
    axes[0].legend(loc="lower left")
    return sketch
