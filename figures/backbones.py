"""The convergence table of backbone algorithms, measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE, GRADIENT = "seeupo.backbones", "seeupo.grae-gradient"
CONVERGED = 0.02


@figure("backbones", title="Backbones in single and multi turn: gap and falls of the return", claims=(TABLE, GRADIENT))
def backbones(results: Mapping[str, Data]) -> Figure:
    """Top: largest gap to the best return that is left over random games after the same number of iterations in
    expectation, in single turn (left) and multi turn (right), with rewards of 0 or 1 and with rewards of 0, 1 or rarely
    15; below the black line (2 %) a row counts as converged (gaps under 0.02 % are drawn there). The word under each
    row is what the authors' table says of it (-: not in the table). Bottom left: share of iterations that lowered the
    return. Bottom right: length of the expected group gradient (return less the group's mean) along the exact one:
    markers, against 1 - 1/G, line.
    """
    sketch, axes = new(2, 2, height=4.6)
    data, gradient = results[TABLE], results[GRADIENT]
    names = data.unique("backbone")
    looks = series_styles(data.unique("rewards"))
    place = np.arange(len(names))
    titles = {"binary": "rewards 0 / 1", "rare": "rewards 0 / 1 / rarely 15"}
    for axis, turns in zip(axes[0], data.unique("turns"), strict=True):
        axis.axhline(CONVERGED, color="black", linewidth=0.8)
        for shift, (rewards, look) in zip((-0.12, 0.12), looks.items(), strict=True):
            part = data.where(turns=turns, rewards=rewards)
            axis.plot(
                place + shift, np.maximum(part["worst"], 2e-4), linestyle="", color=look["color"],
                marker=look["marker"], label=titles.get(rewards, rewards),
            )  # fmt: skip
        says = data.where(turns=turns, rewards=data.unique("rewards")[0])["says"]
        labels = [f"{name.replace(', ', chr(10))}\n({word})" for name, word in zip(names, says, strict=True)]
        axis.set_xticks(place, labels, fontsize=6.5)
        axis.set_yscale("log")
        axis.set_ylim(1e-4, 8.0)
        axis.set_title(f"{turns} turn")
    axes[0, 0].set_ylabel("largest gap / best J")
    axes[0, 0].legend(loc="upper left")
    low = axes[1, 0]
    width = 0.2
    for k, (turns, rewards) in enumerate((t, r) for t in data.unique("turns") for r in data.unique("rewards")):
        part = data.where(turns=turns, rewards=rewards)
        low.bar(
            place + (k - 1.5) * width, 100 * part["drops"], width, color=looks[rewards]["color"],
            alpha=1.0 if turns == "multi" else 0.45, label=f"{turns}, {rewards}",
        )  # fmt: skip
    low.set_xticks(place, [name.replace(", ", "\n") for name in names], fontsize=6.5)
    low.set_ylabel("iterations that lower J (%)")
    low.set_ylim(top=1.5 * max(100 * data["drops"].max(), 1.0))
    low.legend(loc="upper right", ncols=2)
    right = axes[1, 1]
    for game, look in series_styles(gradient.unique("game")).items():
        part = gradient.where(game=game)
        right.plot(part["group"], part["ratio"], linestyle="", color=look["color"], marker=look["marker"], label=game,
                   fillstyle="none")  # fmt: skip
    size = np.linspace(gradient["group"].min() - 0.2, gradient["group"].max() + 0.2, 50)
    right.plot(size, 1.0 - 1.0 / size, color="black", linewidth=0.8)
    right.set(xlabel="group size G", ylabel=r"E[g] along $\nabla J$, over $|\nabla J|$")
    right.set_xticks(gradient.unique("group"))
    right.legend(loc="lower right")
    return sketch
