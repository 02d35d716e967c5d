"""The divisor of the standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, SINGLE, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIVISOR = "grpo.ddof"


@figure("ddof", title="Divisor N or N - 1", claims=(DIVISOR,))
def ddof(results: Mapping[str, Data]) -> Figure:
    """By what factor the divisor N in place of N - 1 scales the expected gradient of each of two tasks. In groups of
    one size both bars are equal, so nothing but the step length changes; where a batch holds small and large groups the
    small ones gain, and the gradient over the tasks turns by the angle given.
    """
    sketch, axis = new(width=SINGLE, height=2.3)
    data = results[DIVISOR]
    labels = []
    for at, regime in enumerate(data.unique("regime")):
        rows = data.where(regime=regime)
        ratio = rows["other"] / rows["usual"]
        for i in range(ratio.size):
            x = at + 0.34 * (i - 0.5)
            axis.bar(x, ratio[i] - 1, 0.3, bottom=1, color=COLOURS[i], hatch=("", "//")[i], edgecolor="white")
            axis.annotate(
                f"N = {rows['n'][i]}\np = {rows['p'][i]:g}", (x, ratio[i]), ha="center", va="bottom", fontsize=7
            )
        labels.append(f"{regime} group sizes\nangle {np.abs(rows['degrees'][0]):.1f}°")
    axis.set_xticks(range(len(labels)), labels)
    axis.set(ylabel="gradient with divisor N\n/ with N − 1", ylim=(0.97, 1.55))
    axis.set_axisbelow(True)
    axis.axhline(1.0, color="black", linewidth=0.8)
    return sketch
