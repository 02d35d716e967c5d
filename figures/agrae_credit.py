"""How A-GRAE shares its credit over difficulty, and what a step does to answers that were not sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE, FACTOR = "agrae.focus-size", "agrae.unsampled-probability"


@figure("agrae_credit", title="A-GRAE's credit by difficulty, and unsampled answers", claims=(SIZE, FACTOR))
def agrae_credit(results: Mapping[str, Data]) -> Figure:
    """Left: sum of |A| over a group of eight, per member, over its success rate; lines closed forms, markers the
    estimator. The code's easy focus grows without bound where the paper's ends at 1. Right: what the logit of an
    unsampled answer rises by (open, dashed) and what its probability is multiplied by (filled) in one step of size eta,
    an even policy over twenty answers, eight drawn, four right. Symmetric credit leaves the logit alone and lowers the
    probability all the same.
    """
    sketch, (left, right) = new(1, 2, height=2.7)
    size = results[SIZE]
    for rule, look in series_styles(size.unique("rule")).items():
        line, points = size.where(rule=rule, drawn=False), size.where(rule=rule, drawn=True)
        left.plot(line["p"], line["predicted"], **{**look, "marker": ""})
        left.plot(points["p"], points["size"], **{**look, "linestyle": ""})
        left.plot([], [], **look, label=rule)
    left.set(xlabel="success rate p of the group", ylabel="sum of |A| / n", ylim=(0.0, 2.6), xlim=(0.0, 1.0))
    left.legend(loc="upper left")
    factor = results[FACTOR].where(policy="even")
    for rule, look in series_styles(factor.unique("rule")).items():
        part = factor.where(rule=rule)
        right.plot(part["rate"], part["factor"], **{**look, "linestyle": "-"}, label=rule)
        right.plot(part["rate"], 1.0 + part["logit"], **{**look, "linestyle": "--"}, fillstyle="none")
    right.axhline(1.0, color="black", linewidth=0.6)
    right.set(xlabel="step size eta", ylabel="probability factor; 1 + rise of logit")
    right.legend(loc="lower left")
    return sketch
