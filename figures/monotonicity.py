"""Which mechanism makes an update lower the return, and where the group's deviation turns actions round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import NEUTRAL, VERDICT_COLOURS, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DROPS, ORDER = "seeupo.grae-loses-monotonicity", "seeupo.group-std-order"


@figure("monotonicity", title="Updates that lower the return, by mechanism", claims=(DROPS, ORDER))
def monotonicity(results: Mapping[str, Data]) -> Figure:
    """Left: share of updates after which the exact return is lower, over random two-turn games and policies; expected
    clipped updates with groups of eight, but for the last bar, one sampled group each. Green: none in any game. A
    missing critic or shared rows alone cost nothing in expectation; the group's deviation does where rewards are 0, 1
    or rarely 15, and so does SeeUPO's sequential order where turns share their parameters. Sampling costs most. Right:
    mean credit of an action that pays 1 less that of one that pays 15 one time in ten (1.5 on average): above the black
    line the credit points to the worse action; filled: divided by the group's deviation, hollow: by nothing.
    """
    sketch, (left, right) = new(1, 2, height=3.1, width=6.75, gridspec_kw={"width_ratios": (1.5, 1.0)})
    data, credit = results[DROPS], results[ORDER]
    place = np.arange(len(data["share"]))[::-1]
    colours = [VERDICT_COLOURS["refuted" if share > 0 else "supported"] for share in data["share"]]
    left.barh(place, 100 * data["share"], color=colours, height=0.62)
    for y, share in zip(place, data["share"], strict=True):
        left.text(100 * share + 0.6, y, f"{100 * share:.1f} %", va="center", fontsize=6.5, color="black")
    left.set_yticks(place, [str(name) for name in data["mechanism"]])
    left.set(xlabel="updates that lower J (%)", xlim=(0, 1.22 * max(100 * data["share"].max(), 1.0)))
    left.grid(visible=False, axis="y")
    names = {"std": "deviation, n - 1", "population std": "deviation, n", "mean": "mean only"}
    rare = credit.where(rewards="rare")
    right.axhline(0.0, color="black", linewidth=0.8)
    for how, look in series_styles(rare.unique("how")).items():
        part = rare.where(how=how)
        fill = "none" if how == "mean" else "full"
        right.plot(part["group"], part["first"] - part["second"], fillstyle=fill, label=names[how], **look)
    right.set_xscale("log", base=2)
    right.set(xlabel="answers in a group", ylabel="credit of the worse action, less the better's")
    right.legend(loc="upper right")
    right.annotate("worse action preferred", (4, 0.03), fontsize=6.5, color=NEUTRAL)
    return sketch
