"""What brings a plateau down, which step suits which number of samples, and how to spend many samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESUMES, BEST, RECIPE = "stagnation.resumes", "stagnation.best-step-grows", "stagnation.scaled-minibatch"


@figure("plateau_resumes", title="Remedies for a plateau", claims=(RESUMES, BEST, RECIPE))
def plateau_resumes(results: Mapping[str, Data]) -> Figure:
    """Left: gap of an entropy-regularised bandit whose step is cut by eight, or whose samples are raised eightfold,
    half-way; lines: closed form of the plateau before and after, markers: simulation. A policy that collapsed on a
    wrong arm stays where it is under both. Middle: gap after forty iterations from the uniform policy over the step:
    few samples want a small step, many a large one. Right: exact return of the clipped surrogate at equal data, in
    eight minibatches or in one with its learning rate scaled by the square root. Bars: intervals at the ledger's level.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.9)
    resumes, best, recipe = results[RESUMES], results[BEST], results[RECIPE]
    cases = [(case, remedy) for case in resumes.unique("case") for remedy in resumes.unique("remedy")]
    looks = series_styles([f"{remedy} ({case})" for case, remedy in cases])
    for (case, remedy), (name, look) in zip(cases, looks.items(), strict=True):
        part = resumes.where(case=case, remedy=remedy)
        left.plot(part["iteration"], part["predicted"], color=look["color"], linestyle=look["linestyle"], linewidth=0.9)
        bars = [part["gap"] - part["low"], part["high"] - part["gap"]]
        left.errorbar(
            part["iteration"], part["gap"], yerr=bars, linestyle="", color=look["color"], marker=look["marker"],
            elinewidth=0.7, markersize=3, label=name, fillstyle="none",
        )  # fmt: skip
    left.set_yscale("log")
    left.set(xlabel="iteration", ylabel="gap to the best return")
    left.legend(loc="center left", fontsize=5.8, bbox_to_anchor=(0.0, 0.66))
    for name, look in series_styles([str(n) for n in best.unique("samples")]).items():
        part = best.where(samples=int(name))
        bars = [part["gap"] - part["low"], part["high"] - part["gap"]]
        middle.errorbar(part["step"], part["gap"], yerr=bars, elinewidth=0.8, label=f"N = {name}", **look)
    middle.set_xscale("log")
    middle.set_yscale("log")
    middle.set_xticks(best.unique("step"), [f"{step:g}" for step in best.unique("step")])
    middle.minorticks_off()
    middle.set(xlabel="step a")
    middle.legend(loc="lower left")
    for name, look in series_styles([str(k) for k in recipe.unique("minibatches")]).items():
        part = recipe.where(minibatches=int(name))
        label = "one minibatch" if name == "1" else f"{name} minibatches"
        right.plot(part["iteration"], part["j"], label=label, **look)
    right.set(xlabel="iteration", ylabel="J")
    right.legend(loc="upper left")
    return sketch
