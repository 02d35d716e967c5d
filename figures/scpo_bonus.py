"""What a failure can earn by repeating a matched step, and what a careless matcher leaves of the gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOUND, NOISE = "scpo.bounded-credit", "scpo.matcher-noise"
NAMES = {"score": "each reference step once", "none": "any match, used or not"}


@figure("scpo_bonus", title="SCPO's bonus under repeats and under a careless matcher", claims=(BOUND, NOISE))
def scpo_bonus(results: Mapping[str, Data]) -> Figure:
    """Left: shared credit of a failure that repeats a matched step, against the length of the reference (dotted). With
    the once-only rule it stays where it was; without it a loop collects one credit per turn. Right: correlation of the
    advantage with the exact one on failed steps, in a chain of four choices, where the matcher takes a wrong step for
    a right one with the probability given: it falls to GiGPO's (dotted), where every failed step earns the same.
    """
    sketch, (left, right) = new(1, 2, height=2.5)
    bound, noise = results[BOUND], results[NOISE]
    for order, look in series_styles(list(NAMES)).items():
        part = bound.where(order=order)
        left.plot(part["repeats"], part["credit"], **look, label=NAMES[order])
    left.axhline(bound["bound"][0], color=NEUTRAL, linestyle=":", linewidth=1.0)
    left.text(bound["repeats"].max(), bound["bound"][0] * 1.05, "reference", color=NEUTRAL, ha="right", fontsize=7)
    left.set_xscale("log", base=2)
    left.set_yscale("log", base=2)
    left.set(xlabel="repeats of a matched step", ylabel="shared credit of the failure")
    left.legend(loc="upper left")
    right.plot(noise["chance"], noise["correlation"], marker="o", fillstyle="none", color="black", label="SCPO")
    right.axhline(noise["gigpo"][0], color=NEUTRAL, linestyle=":", linewidth=1.0)
    right.text(0.0, noise["gigpo"][0] + 0.008, "GiGPO", color=NEUTRAL, fontsize=7)
    right.set(xlabel="chance of a false match", ylabel="correlation with exact A", ylim=(0.0, None))
    right.legend(loc="upper right")
    return sketch
