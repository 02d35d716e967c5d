"""Rollouts given to the wrong arm, by rule and by regime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATED, RULES = "3spo.log-regret", "3spo.below-lai-robbins"
FORCED, CEIL = "3spo.forced-exploration", "3spo.ceil-is-linear"
_NAMES = {
    "3spo_proportional": "3SPO shares",
    "3spo_forced": "3SPO + forced",
    "3spo_forced@log": "3SPO + ln t / t",
    "3spo_gui": "3SPO, GUI form",
    "ucb1": "UCB1",
    "kl_ucb": "KL-UCB",
    "thompson": "Thompson",
    "kl_ms": "KL-MS",
    "maillard": "Maillard",
    "uniform": "uniform",
}


@figure("allocation_regret", title="3SPO's allocation regret is not logarithmic", claims=(STATED, RULES, FORCED, CEIL))
def allocation_regret(results: Mapping[str, Data]) -> Figure:
    """Rollouts that did not go to the arm that succeeds least, over iterations I; success 0.3 and 0.5 unless said.
    Left: exact expectations of 3SPO's shares. Under full information (solid) they level off for alpha gap above 1 and
    grow like a power below; the dotted line is the bound (K-1)(1 + ln I) + B. With bandit feedback (dashed) a lower
    bound on the expectation rises like I and crosses it. Middle: simulated means with bands that hold at all times
    together; thin lines are medians, the black line is Lai and Robbins' ln I / d, which a consistent rule approaches in
    the limit. 3SPO's mean is linear while its median run wastes next to nothing, which no consistent rule's does.
    Right: forced exploration follows its predicted slope per ln I (line), and the implemented n = ceil(8 S) wastes half
    of its rollouts (dash-dotted: half of what it spends).
    """
    sketch, (left, middle, right) = new(1, 3, height=3.1)
    data = results[STATED]
    full = data.where(regime="full")
    cases = list(dict.fromkeys(zip(full["low"].tolist(), full["high"].tolist(), full["alpha"].tolist(), strict=True)))
    for i, (low, high, alpha) in enumerate(cases):
        part = full.where(low=low, high=high, alpha=alpha)
        name = f"α = {alpha:g}" if low == 0.3 else f"α = {alpha:g}, ({low:g}, {high:g})"
        left.plot(part["time"], part["waste"], color=COLOURS[i], marker="osD^vP"[i % 6], markevery=0.2, label=name)
    stuck = data.where(regime="bandit")
    if stuck["time"].size:
        left.plot(stuck["time"], stuck["waste"], color=COLOURS[5], linestyle="--", label="α = 50, bandit, at least")
        left.plot(stuck["time"], stuck["bound"], color=NEUTRAL, linestyle=":", label="bound")
    left.set(xscale="log", yscale="log", xlabel="iteration I", ylabel="expected waste", title="exact")
    left.legend(fontsize=6, loc="upper left")
    left.set_ylim(0.3, 1e6)
    rules = results[RULES]
    for rule, style in series_styles(rules.unique("rule")).items():
        part = rules.where(rule=rule)
        middle.plot(part["time"], part["mean"], **style, markevery=4, label=_NAMES.get(rule, rule))
        middle.fill_between(part["time"], part["low"], part["high"], color=style["color"], alpha=0.15, linewidth=0)
        met = part["median"] > 0.0
        middle.plot(part["time"][met], part["median"][met], color=style["color"], linewidth=0.5)
    line = rules.where(rule=rules.unique("rule")[0])
    late = line["time"] > 1
    middle.plot(line["time"][late], line["lai_robbins"][late], color="black", linewidth=0.9, label="Lai–Robbins")
    middle.set(xscale="log", yscale="log", xlabel="iteration I", ylabel="waste", title="bandit feedback")
    middle.set_ylim(0.3, 3e5)
    middle.legend(fontsize=6, loc="upper left", ncols=2, columnspacing=0.8, handlelength=1.6)
    forced, ceil = results[FORCED], results[CEIL]
    right.errorbar(
        forced["time"], forced["mean"], yerr=(forced["mean"] - forced["low"], forced["high"] - forced["mean"]),
        color=COLOURS[1], marker="s", linestyle="", label="forced",
    )  # fmt: skip
    start = forced["time"][0]
    right.plot(
        forced["time"], forced["mean"][0] + forced["slope"] * np.log(forced["time"] / start), color=COLOURS[1],
        label="its slope",
    )  # fmt: skip
    right.plot(ceil["time"], ceil["waste"], color=COLOURS[0], marker="o", linestyle="", markevery=3, label="ceil(8 S)")
    right.plot(ceil["time"], ceil["spent"] / 2.0, color=COLOURS[0], linestyle="-.", label="half spent")
    right.set(xscale="log", xlabel="iteration I", ylabel="waste", title="repaired / as implemented")
    right.set_ylim(0.0, 1.6 * float(forced["high"].max()))
    right.legend(fontsize=6, loc="upper left")
    return sketch
