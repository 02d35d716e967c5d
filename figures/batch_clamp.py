"""Batch normalisation keeps the order of actions; its clamp, and a small batch, do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "seeupo.batch-normalisation"


@figure("batch_clamp", title="Normalising by the batch: where it turns actions round", claims=(CLAIM,))
def batch_clamp(results: Mapping[str, Data]) -> Figure:
    """Mean credit of an action that pays 1 for sure less that of one that pays 1.5 on average; above the black line the
    credit points to the worse action. Left: mean and deviation of a large batch; the second action pays 1.5/q with
    chance q. Without clamp the order holds; with the code's clamp at three deviations it is lost once the reward is
    rare. Right: the deviation of a finite batch of groups of eight (15 with chance 0.1, no clamp): a batch of one group
    is the group, and a handful of groups still turns the order round.
    """
    sketch, (left, right) = new(1, 2, height=2.6, sharey=False)
    data = results[CLAIM]
    for axis in (left, right):
        axis.axhline(0.0, color="black", linewidth=0.8)
    for name, look in series_styles(["no clamp", "clamp 3"]).items():
        part = data.where(what=name)
        left.plot(part["x"], part["difference"], label=name, **look)
    left.set_xscale("log")
    left.set(xlabel="chance q of the reward", ylabel="credit of the worse action,\nless the better's")
    left.legend(loc="lower left")
    small = data.where(what="small batch")
    right.plot(small["x"], small["difference"], marker="o", color="black")
    right.set_xscale("log", base=2)
    right.set(xlabel="groups of eight in the batch")
    return sketch
