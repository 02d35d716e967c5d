"""Which turns pooled gains favour by their place, and how many groups are left without a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POSITION, COLLAPSE = "a2tgpo.positional-bias", "a2tgpo.no-collapse"


@figure("a2tgpo_positions", title="Turn groups: depth and silence", claims=(POSITION, COLLAPSE))
def a2tgpo_positions(results: Mapping[str, Data]) -> Figure:
    """A search in which a right turn t raises the potential by 2^-t. Left: expected standardised gain of a turn,
    exactly, for three ways to standardise; where it is not 0 a turn is praised or blamed for its depth. Bars are a
    deviation up and down: pooled, early turns also weigh more. Middle: share of groups in which nobody gets credit,
    over the chance of a right turn; lines are counted, markers the estimators on all groups. Right: alignment of the
    gradient with the exact one, E[g·u] / sqrt(E|g|²): that groups speak helps where success is rare.
    """
    sketch, axes = new(1, 3, height=2.5)
    data, silent = results[POSITION], results[COLLAPSE]
    rules = data.unique("rule")
    for place, (rule, look) in enumerate(series_styles(rules).items()):
        part = data.where(rule=rule)
        axes[0].errorbar(
            part["turn"] + 0.12 * (place - 1), part["mean"], yerr=np.sqrt(part["variance"]), color=look["color"],
            marker=look["marker"], linestyle=look["linestyle"], elinewidth=0.8, label=rule,
        )  # fmt: skip
    axes[0].axhline(0.0, color="black", linewidth=0.8)
    axes[0].set(xlabel="turn", ylabel="standardised gain", xticks=data.where(rule=rules[0])["turn"].tolist())
    axes[0].set_ylim(top=axes[0].get_ylim()[1] + 1.3)
    axes[0].legend(loc="upper right")
    depth, group = silent["depth"][0], silent["group"][0]
    shown = silent.where(depth=depth, group=group)
    for rule, look in series_styles(shown.unique("rule")).items():
        part = shown.where(rule=rule)
        axes[1].plot(part["chance"], part["predicted"], color=look["color"], linestyle=look["linestyle"])
        axes[1].plot(
            part["chance"], part["silent"], color=look["color"], marker=look["marker"], linestyle="", label=rule
        )
        axes[2].plot(
            part["chance"], part["alignment"], color=look["color"], marker=look["marker"], linestyle=look["linestyle"]
        )
    axes[1].set(xlabel="chance of a right turn", ylabel="silent groups (share)", ylim=(0.0, 1.05))
    axes[1].legend(loc="upper right", bbox_to_anchor=(1.0, 0.95))
    axes[2].set(xlabel="chance of a right turn", ylabel="alignment with the gradient", ylim=(0.0, None))
    return sketch
