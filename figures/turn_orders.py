"""Which order of turns finds the best policy: hard best responses and soft updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARD, STUCK, SOFT = "seeupo.reverse-optimal", "seeupo.other-orders-stuck", "seeupo.soft-updates-arrive"
ORDERS = ["reverse", "random", "simultaneous", "forward"]


@figure("turn_orders", title="SeeUPO: share of trees solved, by order of the turns", claims=(HARD, STUCK, SOFT))
def turn_orders(results: Mapping[str, Data]) -> Figure:
    """Share of random turn trees in which the best policy is found, over sweeps through the turns. Left: hard best
    responses (4 turns, 3 actions; found = the best leaf for sure; bars: intervals at the ledger's level): the reverse
    order solves every tree in one sweep, the others stop where no turn that is still met can improve alone. Middle: the
    exponentiated step exp(5 Q) at every history (3 turns, 3 actions; found = 99 % of the best J): all orders arrive,
    the reverse one about a sweep earlier. Right: the same step weighed by the chance of meeting the history, as a
    policy gradient weighs it: a quarter to a third of the trees stays unsolved in any order. Random order was run with
    hard responses only.
    """
    sketch, axes = new(1, 3, height=2.7, sharey=True)
    looks = series_styles(ORDERS)
    hard, soft = results[HARD], results[SOFT]
    for order in hard.unique("order"):
        part = hard.where(order=order)
        bars = [part["share"] - part["low"], part["high"] - part["share"]]
        axes[0].errorbar(part["sweep"], part["share"], yerr=bars, elinewidth=0.8, label=order, **looks[order])
    for axis, step in zip(axes[1:], soft.unique("step"), strict=True):
        for order in soft.unique("order"):
            part = soft.where(step=step, order=order)
            axis.plot(part["sweep"], part["share"], label=order, markevery=3, **looks[order])
        axis.set_xscale("log")
    titles = ("hard best responses", "soft, every history", "soft, weighed by reach")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("sweeps")
    axes[0].set(ylabel="share of trees solved", ylim=(-0.03, 1.06))
    handles, labels = axes[0].get_legend_handles_labels()
    sketch.legend(handles, labels, loc="outside lower center", ncols=4)
    return sketch
