"""Why the weight of a step mixture can be solved for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import SINGLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINEAR = "stepmix.linear-in-weight"


@figure("stepmix_mixture", title="Step mixtures: value over the weight", claims=(LINEAR,))
def stepmix_mixture(results: Mapping[str, Data]) -> Figure:
    """Exact value of a mixture over its weight (markers) and the straight line between its ends (lines), in the first
    random table. Each series hands one more step, from the last to the first, to the optimal policy; its weight 1 is
    the next series' weight 0. A marker off its line would mean that the weight found from bounds at the ends is wrong.
    """
    data = results[LINEAR]
    part = data.where(seed=data["seed"][0])
    sketch, axis = new(1, 1, width=SINGLE, height=2.6)
    names = part.unique("handed")
    styles = series_styles([f"{name:g}" for name in names])
    for name in names:
        each, style = part.where(handed=name), styles[f"{name:g}"]
        axis.plot(each["weight"], each["line"], color=style["color"], linewidth=0.9)
        axis.plot(
            each["weight"], each["value"], color=style["color"], marker=style["marker"], linestyle="", fillstyle="none",
            label=f"{name:g} → {name + 1:g}",
        )  # fmt: skip
    axis.set(xlabel="weight w of the optimal policy in the step", ylabel="exact value")
    sketch.legend(title="steps handed over", loc="outside upper center", ncols=4, title_fontsize=7, columnspacing=0.8)
    return sketch
