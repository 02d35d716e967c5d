"""Error of the advantage over the number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.series import environment_title, in_order, lines, short
from figures.style import new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDY = "study:horizon"
PANELS = {"layered": "layered: reward at every step", "chain": "chain: one reward at the end"}


@figure("mse_over_horizon", title="Error of the advantage over the horizon", claims=(STUDY,))
def mse_over_horizon(results: Mapping[str, Data]) -> Figure:
    """Mean squared error of the advantage over E[A^2], A the exact advantage, after each estimate is brought to the
    signal of A (so that none gains or loses by its scale): 1/cos² - 1 with cos the cosine between estimate and A over
    all rows. Credit for a whole trajectory carries the luck of all its steps, so its error grows with their number; an
    estimate that looks only a few steps ahead, here by exact values that no method has, does not. Uniform policy, four
    groups of eight, discount 1; 95 % intervals.
    """
    data = results[STUDY].where(quantity="scaled_mse")
    names = {estimator: short(estimator) for estimator in data.unique("estimator")}
    styles = lines(list(names.values()))
    sketch, axes = new(1, 2, height=2.9)
    handles = {}
    for axis, (panel, title) in zip(axes, PANELS.items(), strict=True):
        here = np.array([environment_title(environment) == panel for environment in data["environment"]])
        part = Data({column: values[here] for column, values in data.table.items()})
        for estimator, name in names.items():
            curve = part.where(estimator=estimator)
            bars = [curve["value"] - curve["low"], curve["high"] - curve["value"]]
            handles[name] = axis.errorbar(
                curve["horizon"], curve["value"], yerr=bars, fillstyle="none", elinewidth=0.7, **styles[name]
            )
        axis.set_xscale("log", base=2)
        steps = sorted(set(part["horizon"].tolist()))
        axis.set_xticks(steps, [f"{step:g}" for step in steps])
        axis.set(yscale="log", xlabel="steps in an episode", title=title)
    axes[0].set_ylabel("error at the signal of A, over E[A²]")
    ordered = in_order(handles)
    sketch.legend([handles[name] for name in ordered], ordered, loc="outside right center")
    return sketch
