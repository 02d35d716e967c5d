"""The size of accumulated gains by the turns left: what A2TGPO's root rule keeps level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = "a2tgpo.root-rule"
PANELS = {"none": "summed", "terms": "over the root of the turns", "weights": "over the root of the weights"}


@figure("a2tgpo_variance", title="Variance of accumulated gains over the turns left", claims=(ROOT,))
def a2tgpo_variance(results: Mapping[str, Data]) -> Figure:
    """Variance of the discounted sum of independent standardised gains, over the number of turns still to come. Left:
    summed alone it grows with every turn, so early turns would dominate. Middle: divided by the root of the number of
    turns, as published, it is 1 everywhere at γ = 1 and falls below γ = 1, where early turns are held down. Right: over
    the root of the sum of γ^2j it is 1 for any γ. Markers are the estimator on all patterns of signs, lines the closed
    form; a marker off its line would be a wrong formula.
    """
    sketch, axes = new(1, 3, height=2.3)
    data = results[ROOT]
    gammas = data.unique("gamma")
    looks = series_styles([f"{gamma:g}" for gamma in gammas])
    for axis, (rescale, title) in zip(axes, PANELS.items(), strict=True):
        for gamma in gammas:
            part, look = data.where(rescale=rescale, gamma=gamma), looks[f"{gamma:g}"]
            axis.plot(part["left"], part["predicted"], color=look["color"], linestyle=look["linestyle"])
            axis.plot(
                part["left"], part["variance"], color=look["color"], marker=look["marker"], linestyle="",
                fillstyle="none", label=f"γ = {gamma:g}",
            )  # fmt: skip
        axis.set(title=title, xlabel="turns left", xticks=[1, 4, 7, 10])
        axis.set_ylim(0.0, 10.5 if rescale == "none" else 1.25)
    axes[0].set_ylabel("variance")
    axes[0].legend(loc="upper left")
    return sketch
