"""Information gain as a reward: which forms keep the optimum, and how well a gain tells the advantage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPING, NORMALISED, ADVANTAGE = "igpo.shaping-invariance", "igpo.normalised-gains", "igpo.gain-is-advantage"


@figure("information_gain", title="Paying information gain", claims=(SHAPING, NORMALISED, ADVANTAGE))
def information_gain(results: Mapping[str, Data]) -> Figure:
    """Left: outcome lost by the policy that is best for outcome plus gains, over random trees and potentials, as the
    share of tasks that lose more than x. Two forms lose nothing: gains whose potential the answer gives back, and the
    same on one scale. As published the last potential stays as a bonus; with a scale for each depth gains stop to
    telescope. Right: correlation of gain and true advantage, and share of equal signs, when the potential is the value
    plus errors; lines are exact, markers sampled with intervals (correlation) and two standard errors (signs).
    """
    sketch, axes = new(1, 2, height=2.6, width_ratios=(1.25, 1.0))
    data = results[SHAPING]
    for place, name in enumerate(data.unique("treatment")):
        regret = np.sort(data.where(treatment=name)["regret"])
        share = 1.0 - np.arange(regret.size + 1) / regret.size
        axes[0].step(
            np.concatenate([[0.0], regret]), share, where="post", color=COLOURS[place],
            linestyle=("-", "--", ":", "-.")[place], linewidth=2.2 if place == 0 else 1.3, label=name,
        )  # fmt: skip
    axes[0].set(xlabel="outcome lost at the optimum", ylabel="share of tasks that lose more", ylim=(-0.02, 1.02))
    axes[0].legend(loc="upper right")
    found = results[ADVANTAGE]
    low, high = found["correlation"] - found["low"], found["high"] - found["correlation"]
    series = (
        ("correlation", found["predicted"], found["correlation"], np.stack([low, high]), "o", "-"),
        ("equal signs", found["agreement_predicted"], found["agreement"], 2.0 * found["agreement_se"], "s", "--"),
    )
    for place, (name, exact, measured, error, marker, line) in enumerate(series):
        colour = COLOURS[place]
        axes[1].plot(found["noise"], exact, color=colour, linestyle=line)
        axes[1].errorbar(
            found["noise"], measured, yerr=np.maximum(error, 0.0), color=colour, marker=marker, linestyle="",
            fillstyle="none", elinewidth=0.8, label=name,
        )  # fmt: skip
    axes[1].set(
        xlabel="error of the potential over size of advantages", ylim=(0.0, 1.05), xticks=found["noise"].tolist()
    )
    axes[1].legend(loc="lower left")
    return sketch
