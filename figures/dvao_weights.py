"""What weights by deviation do to the gradient's spread and signal, and to a noisy objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIANCE, SIGNAL, NOISE = "dvao.gradient-variance", "dvao.signal-to-noise", "dvao.weighs-signal"


@figure("dvao_weights", title="DVAO's gradient: less spread, less signal, more noise", claims=(VARIANCE, SIGNAL, NOISE))
def dvao_weights(results: Mapping[str, Data]) -> Figure:
    """Exact sums over all groups of a bandit with two objectives, even policy. Left: variance of the gradient over the
    correlation of the two rewards of a pull, even weights; DVAO stays below reward combination. Middle: alignment of
    the gradient with the exact one, E[g·u] / sqrt(E|g|²), where size plays no part; there DVAO stays below too. Right:
    one objective is a coin that no arm changes; alignment with the other objective over what the coin pays, and in grey
    the mean weight that DVAO gives the coin. Past the crossing fixed weights (AC) would have been better.
    """
    sketch, axes = new(1, 3, height=2.5)
    for axis, (claim, column) in zip(axes, ((VARIANCE, "trace"), (SIGNAL, "alignment")), strict=False):
        data = results[claim].where(weight=0.5)
        for rule, look in series_styles(data.unique("rule")).items():
            part = data.where(rule=rule)
            axis.plot(part["correlation"], part[column], **look, label=rule)
        axis.set(xlabel="correlation of the rewards")
        axis.set_ylim(bottom=0.0)
    data = results[NOISE]
    for rule, look in series_styles(data.unique("rule")).items():
        part = data.where(rule=rule)
        axes[2].plot(part["amplitude"], part["alignment"], **look)
    part = data.where(rule=data.unique("rule")[0])
    axes[2].plot(part["amplitude"], part["share"], color=NEUTRAL, linestyle=":")
    axes[2].text(
        part["amplitude"][-1], part["share"][-1] + 0.02, "weight of the coin", ha="right", color=NEUTRAL, fontsize=7
    )
    axes[0].set_ylabel("variance of the gradient")
    axes[1].set_ylabel("alignment with the gradient")
    axes[2].set(xlabel="what the coin pays", ylabel="alignment with objective 1", ylim=(0.0, 1.0))
    axes[0].legend(loc="lower right")
    return sketch
