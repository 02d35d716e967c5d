"""Prompts solved over training by GRPO, A-GRAE and one-sided credit, and the entropy they leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGE, ENTROPY = "agrae.focus-by-stage", "agrae.entropy-order"


@figure("agrae_learning", title="Prompts solved, and entropy kept", claims=(STAGE, ENTROPY))
def agrae_learning(results: Mapping[str, Data]) -> Figure:
    """Mean number of prompts, of eight, that are answered right more often than not, over updates with credit of equal
    size; bands are two standard errors. Left: each prompt has a table of its own. Middle: prompts share half of their
    logits; hard focus ends highest, and credit that leans to the negative stays behind. Right: entropy of the policy
    over updates, own tables; solid, credit of equal size, dotted as published, praise times 10 or over 10.
    """
    sketch, (left, middle, right) = new(1, 3, height=3.2)
    data, entropy = results[STAGE], results[ENTROPY]
    looks = series_styles(data.unique("rule"))
    for axis, sharing, title in ((left, 0.0, "own tables"), (middle, 1.0, "shared logits")):
        for rule, look in looks.items():
            part = data.where(sharing=sharing, rule=rule)
            axis.plot(part["update"], part["solved"], **look, markevery=12, label=rule)
            low, high = part["solved"] - 2.0 * part["error"], part["solved"] + 2.0 * part["error"]
            axis.fill_between(part["update"], low, high, color=look["color"], alpha=0.15, linewidth=0.0)
        axis.set(title=title, xlabel="update", ylabel="prompts solved, of 8", ylim=(0.0, 8.2))
    for rule in entropy.unique("rule"):
        for match, line in ((True, "-"), (False, ":")):
            part = entropy.where(match=match, rule=rule)
            right.plot(part["update"], part["entropy"], **{**looks[rule], "linestyle": line}, markevery=12)
    right.set(title="own tables", xlabel="update", ylabel="entropy (nats)")
    right.set_ylim(bottom=0.0)
    sketch.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return sketch
