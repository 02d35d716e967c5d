"""The step advantage given the size of the anchor group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "gigpo.anchor-advantage"


@figure("anchor_size", title="The step advantage, given the size of its anchor group", claims=(CLAIM,))
def anchor_size(results: Mapping[str, Data]) -> Figure:
    """Each marker is one state, action and size n of anchor group: the exact mean of the step advantage (no division by
    the deviation) against the exact advantage Q - V. Lines have slope (n-1)/n. Left: layered tasks, in which no
    trajectory meets a state twice; every marker lies on its line, and singletons on zero. Right: one looping state at
    gamma = 0.8, groups of two trajectories; members of one trajectory are dependent, and the markers leave their lines.
    """
    data = results[CLAIM]
    names = data.unique("environment")
    panels = {"no revisits": names[:-1], "revisits (one looping state)": names[-1:]}
    sketch, axes = new(1, 2, height=2.7)
    for axis, (title, group) in zip(axes, panels.items(), strict=True):
        parts = [data.where(environment=name) for name in group]
        sizes = sorted({int(n) for part in parts for n in part["size"]})[:4]
        for n, look in series_styles([str(n) for n in sizes]).items():
            exact = np.concatenate([part.where(size=int(n))["exact"] for part in parts])
            mean = np.concatenate([part.where(size=int(n))["mean"] for part in parts])
            slope = (int(n) - 1) / int(n)
            ends = np.array([-1.05, 1.05]) * max(float(np.abs(part["exact"]).max()) for part in parts)
            axis.plot(ends, slope * ends, color=look["color"], linestyle=look["linestyle"], linewidth=0.9)
            axis.plot(
                exact,
                mean,
                color=look["color"],
                marker=look["marker"],
                linestyle="",
                fillstyle="none",
                label=f"n = {n}",
            )
        axis.set(xlabel="exact advantage Q − V (reward)", ylabel="E[A$^S$ | s, a, n] (reward)")
        axis.set_title(title)
        axis.legend(loc="upper left")
    return sketch
