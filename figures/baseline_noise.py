"""Which baseline leaves the noisier gradient, and what a group's size adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.series import in_order, looks, short
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDER, ROLLOUT = "baselines.variance-order", "baselines.noise-per-rollout"
BEST = "best constant"
FLOOR = 0.1
"""Less noise than this is drawn here."""


@figure("baseline_noise", title="Noise of the gradient by baseline and by group size", claims=(ORDER, ROLLOUT))
def baseline_noise(results: Mapping[str, Data]) -> Figure:
    """Noise per rollout, tr Cov g / (E[g] · u)² times rollouts, u the direction of dJ/dtheta; all exact. Left: groups
    of eight. The expected order, from right to left: REINFORCE (blue circle), REINFORCE++ (blue square), Dr.GRPO and
    RLOO (red, one on the other), the best constant baseline of each task (bar), which no sample tells. A blue square
    left of the red marks refutes it. Marks on the left edge have less noise than it says. Right: leave-one-out in
    groups of n; lines are c + d / (n - 1) from pairs of trajectories, marks enumerated groups: the exact mean as
    baseline would leave c.
    """
    sketch, (left, right) = new(1, 2, height=3.5, width_ratios=(1.2, 1.0))
    data = results[ORDER].where(n=8)
    settings = data.unique("setting")
    names = {name: short(name) for name in data.unique("estimator") if name != BEST}
    styles = looks(list(names.values()))
    handles = {}
    for place, setting in enumerate(settings):
        part = data.where(setting=setting)
        for name, label in names.items():
            noise = max(float(part.where(estimator=name)["relative"][0]), FLOOR)
            (handles[label],) = left.plot(noise, place, linestyle="", fillstyle="none", **styles[label])
        least = max(float(part.where(estimator=BEST)["relative"][0]), FLOOR)
        (handles[BEST],) = left.plot(least, place, marker="|", markersize=11, color=NEUTRAL, linestyle="")
    left.set(xscale="log", xlabel="noise per rollout, n = 8", xlim=(FLOOR * 0.8, None))
    left.set_yticks(np.arange(len(settings)), settings)
    left.invert_yaxis()
    curves = results[ROLLOUT]
    for setting, style in series_styles(curves.unique("setting")).items():
        part = curves.where(setting=setting)
        n = np.linspace(float(part["n"].min()), float(part["n"].max()), 100)
        right.plot(n, part["c"][0] + part["d"][0] / (n - 1), color=style["color"], linestyle=style["linestyle"])
        right.plot(
            part["n"], part["relative"], color=style["color"], marker=style["marker"], linestyle="", fillstyle="none"
        )
        right.plot([], [], **style, fillstyle="none", label=setting)
    right.set(xlabel="group size n", ylabel="noise per rollout, RLOO", ylim=(0.0, None))
    right.set_xticks(curves.unique("n"), [f"{n}" for n in curves.unique("n")])
    right.legend(fontsize=6)
    ordered = in_order(handles)
    sketch.legend([handles[name] for name in ordered], ordered, loc="outside lower center", ncols=7)
    return sketch
