"""Where GiGPO's step level helps the gradient, and where it stops to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGE, FATAL = "gigpo.step-level-edge", "gigpo.step-level-edge-fatal"


@figure("gigpo_edge", title="GiGPO against its episode level alone, over the number of states", claims=(EDGE, FATAL))
def gigpo_edge(results: Mapping[str, Data]) -> Figure:
    """Root-mean-square cosine of the gradient of one group of eight with the exact gradient, at equal rollouts, for
    A^E + w A^S. Every state appears under 1 to 64 irrelevant observations, which the policy ignores and the anchors do
    not: to the right anchor groups become singletons (share of rows alone in theirs, top). Left: a wrong digit is
    repaired; the step level helps while rollouts share anchors (it would do so alone) and costs signal afterwards.
    Middle: random transitions; the border comes earlier. Right: a wrong digit ends the episode; the step level costs
    signal everywhere (lines: exact sums). Markers are samples with intervals at the ledger's level.
    """
    sketch, axes = new(1, 3, height=2.9, sharex=True)
    data, fatal = results[EDGE], results[FATAL]
    looks = series_styles(data.unique("mix"))
    panels = {name: data.where(environment=name) for name in data.unique("environment")}
    panels["lock, fatal"] = fatal.where(method="sampled")
    for axis, (name, part) in zip(axes, panels.items(), strict=True):
        exact = fatal.where(method="sums") if name == "lock, fatal" else part
        for mix, look in looks.items():
            curve, points = exact.where(mix=mix), part.where(mix=mix)
            axis.plot(curve["marks"], curve["alignment"], color=look["color"], linestyle=look["linestyle"])
            bars = [points["alignment"] - points["low"], points["high"] - points["alignment"]]
            axis.errorbar(
                points["marks"], points["alignment"], yerr=bars, color=look["color"], marker=look["marker"],
                linestyle="", elinewidth=0.8, fillstyle="none", label=mix.replace("w", "$w$"),
            )  # fmt: skip
        alone = part.where(mix=next(iter(looks)))
        for marks, share in zip(alone["marks"], alone["singletons"], strict=True):
            axis.text(
                marks, 1.02, f"{100 * share:.0f} %", transform=axis.get_xaxis_transform(), ha="center", fontsize=6,
                color=NEUTRAL,
            )  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set(xlabel="observations per state", ylim=(0.0, None))
        axis.set_title(name, pad=14)
    axes[0].set_ylabel("E[g·u] / √E|g|²")
    axes[0].legend(loc="lower left")
    return sketch
