"""pass@k after training by GRPO, A-GRAE and one-sided credit against the initial policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PASSK = "agrae.pass-at-k"


@figure("agrae_passk", title="pass@k after training, against the initial policy", claims=(PASSK,))
def agrae_passk(results: Mapping[str, Data]) -> Figure:
    """Left: mean over eight prompts of the chance that one of k answers is right, after 48 updates with credit of equal
    size, prompts sharing half of their logits; black, the policy before training. Right: the same less GRPO's, with two
    standard errors of the paired difference. A rule whose curve ends below the black one has given up answers that it
    once could give: GRPO by little, A-GRAE and negative-dominant credit by most.
    """
    sketch, (left, right) = new(1, 2, height=3.0)
    data = results[PASSK]
    rules = [rule for rule in data.unique("rule") if rule != "initial"]
    start = data.where(rule="initial")
    left.plot(start["k"], start["passed"], color="black", linewidth=1.6, label="before training")
    for rule, look in series_styles(rules).items():
        part = data.where(rule=rule)
        left.plot(part["k"], part["passed"], **look, label=rule)
        right.errorbar(part["k"], part["ahead"], yerr=2.0 * part["ahead_error"], **look, elinewidth=0.8)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        ticks = np.array([1, 4, 16, 64, 256])
        axis.set(xlabel="answers k", xticks=ticks, xticklabels=[f"{k}" for k in ticks])
    left.set(ylabel="pass@k", ylim=(0.0, 1.02))
    right.set(ylabel="pass@k less GRPO's")
    right.axhline(0.0, color="black", linewidth=0.6)
    sketch.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return sketch
