"""What a group of one gets, by convention, and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES, GROUP = "gigpo.singleton-rules-agree", "gigpo.singleton-group-gradient"
STEP = "gigpo.singleton-step-zero"


@figure("singleton_rules", title="Groups of one: conventions and consequences", claims=(RULES, GROUP, STEP))
def singleton_rules(results: Mapping[str, Data]) -> Figure:
    """Left: advantage that a lone trajectory of return 1 gets, with one step (filled) and with two (open), by
    convention. Middle: one rollout per task, an agent that stops for 0.6 or goes on for 0.3 + 0.5; derivative of J by
    the probability of going on. The raw score over trajectories is exact, statistics over rows turn the sign. Right:
    alignment of the step-level gradient with the exact one when a singleton anchor gets 0 or keeps its return, over a
    constant added to every reward (which leaves the task as it is): keeping it helps where rewards are sparse and hurts
    as soon as returns have an offset.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.7, width_ratios=(1.05, 1.0, 1.0))
    rules = results[RULES]
    names = rules.unique("convention")
    place = np.arange(len(names))[::-1]
    for length, fill, size in ((1, "full", 4.5), (2, "none", 8.0)):
        part = rules.where(length=length)
        left.plot(
            part["advantage"], place, "o", color=COLOURS[0], fillstyle=fill, markersize=size,
            label=f"{length} step{'s' * (length > 1)}",
        )  # fmt: skip
    left.set_yticks(place, names)
    left.set(xlabel="advantage (return 1)", xlim=(-0.2, 1.2), ylim=(-0.6, len(names) + 0.9))
    left.legend(loc="upper center", ncols=2, handletextpad=0.2, columnspacing=0.8)
    group = results[GROUP]
    exact = group.where(weighting="trajectory")
    middle.plot(exact["q"], exact["exact"], color=NEUTRAL, label="exact")
    for weighting, marker, colour, label in (
        ("trajectory", "o", COLOURS[0], "over trajectories"),
        ("step", "s", COLOURS[1], "over rows (code)"),
    ):
        part = group.where(weighting=weighting)
        middle.plot(part["q"], part["gradient"], marker, color=colour, fillstyle="none", label=label)
    middle.axhline(0.0, color="black", linewidth=0.6)
    middle.set(xlabel="P(go on)", ylabel="dJ/dP(go on), N = 1", ylim=(-0.75, 0.75))
    middle.legend(loc="upper center")
    step = results[STEP]
    for rule, marker, line, colour in (("zero", "o", "-", COLOURS[0]), ("raw", "s", "--", COLOURS[1])):
        part = step.where(rule=rule)
        right.plot(part["offset"], part["alignment"], marker=marker, linestyle=line, color=colour, label=rule)
    right.set(xlabel="reward added per step", ylabel="E[g·u] / √E|g|²", ylim=(0.0, None))
    right.legend(title="singleton anchors", loc="lower left")
    return sketch
