"""Where learning stagnates: the gap over step size and samples, and what it needs to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL, FLOOR = "stagnation.plateau-closed-form", "stagnation.noise-vanishes"


@figure("plateau_gap", title="Plateau of the outer loop over step size and samples", claims=(LEVEL, FLOOR))
def plateau_gap(results: Mapping[str, Data]) -> Figure:
    """Gap between the best return and the one at which stochastic policy gradient settles, for an entropy-regularised
    softmax bandit of five arms. Left: over the step, for several numbers of samples per iteration; lines are the
    closed form of the linearised problem, markers the simulation with intervals at the ledger's level; both axes are
    logarithmic, slope 1 in the step and -1 in the samples. Right: with entropy bonus the gap stays, without it the
    noise dies out as the policy becomes deterministic, and the gap goes on falling.
    """
    sketch, (left, right) = new(1, 2, height=2.8)
    data, floor = results[LEVEL], results[FLOOR]
    for name, look in series_styles([str(n) for n in data.unique("samples")]).items():
        part = data.where(samples=int(name))
        left.plot(part["step"], part["predicted"], color=look["color"], linestyle=look["linestyle"])
        bars = [part["gap"] - part["low"], part["high"] - part["gap"]]
        left.errorbar(
            part["step"], part["gap"], yerr=bars, linestyle="", color=look["color"], marker=look["marker"],
            elinewidth=0.8, label=f"N = {name}", fillstyle="none",
        )  # fmt: skip
    left.set_xscale("log")
    left.set_yscale("log")
    steps = data.unique("step")
    left.set_xticks(steps, [f"{step:g}" for step in steps])
    left.minorticks_off()
    left.set(xlabel="step a", ylabel="gap to the best return")
    left.legend(loc="upper left")
    names = {"bonus": "entropy bonus 0.3", "none": "none"}
    for name, look in series_styles(floor.unique("bonus")).items():
        part = floor.where(bonus=name)
        bars = [np.minimum(part["gap"] - part["low"], 0.99 * part["gap"]), part["high"] - part["gap"]]
        right.errorbar(part["iteration"], part["gap"], yerr=bars, elinewidth=0.8, label=names.get(name, name), **look)
    right.set_yscale("log")
    right.set(xlabel="iteration")
    right.legend(loc="upper right")
    return sketch
