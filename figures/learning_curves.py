"""Exact learning curves of methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.series import environment_title, lines, short
from figures.style import NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDY = "study:learning"


@figure("learning_curves", title="Learning curves with the exact return", claims=(STUDY,))
def learning_curves(results: Mapping[str, Data]) -> Figure:
    """Exact return J of the policy after every update (no evaluation noise), mean over replicates with 95 % intervals
    (Student's t); the grey line is the optimum. Every update draws four groups of eight. Each method has its own
    estimator and loss, and all share one optimiser and step size, so this is a comparison at that step size, not of
    methods tuned one by one: normalising by a deviation, for one, acts like a larger step. RLOO and Dr.GRPO differ by a
    factor (n-1)/n, which the optimiser takes out again.
    """
    data = results[STUDY]
    environments = data.unique("environment")
    sketch, axes = new(1, len(environments), height=2.7)
    styles = lines([short(method) for method in data.unique("method")])
    handles = {}
    for axis, environment in zip(axes, environments, strict=True):
        part = data.where(environment=environment)
        for method in part.unique("method"):
            curve, style = part.where(method=method), styles[short(method)]
            axis.fill_between(
                curve["update"], curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0
            )
            (handles[short(method)],) = axis.plot(curve["update"], curve["j"], fillstyle="none", markevery=8, **style)
        axis.axhline(float(part["optimum"][0]), color=NEUTRAL, linewidth=0.8)
        axis.annotate(
            "optimum", (0.02, float(part["optimum"][0])), xycoords=axis.get_yaxis_transform(), va="bottom", fontsize=6,
            color=NEUTRAL,
        )  # fmt: skip
        axis.set(xlabel="updates", title=environment_title(environment))
    axes[0].set_ylabel("exact return J")
    sketch.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=7)
    return sketch
