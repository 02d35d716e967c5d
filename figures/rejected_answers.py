"""Rejected answers in the baseline of their siblings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import DOUBLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REJECTED = "rloo.rejected-answers"
LABELS = {"include": "left in the baseline", "exclude": "left out of it"}
TITLES = {"blind": "Rejection blind to the answer", "long": "One kind of answer is rejected"}


@figure("rejected_answers", title="Do rejected answers shift the baseline?", claims=(REJECTED,))
def rejected_answers(results: Mapping[str, Data]) -> Figure:
    """Angle between the expected gradient of the accepted answers and the exact gradient of E[r | accepted], over the
    chance of rejection; leave-one-out, groups of four, all enumerated. Rejected answers keep reward 0 and no row in the
    loss. Left in the baseline (squares: some libraries) they do no harm when rejection is blind, and turn the gradient
    when it looks at the answer; left out (circles) they never do.
    """
    sketch, axes = new(1, 2, width=DOUBLE, height=2.3, sharey=True)
    data = results[REJECTED]
    styles = series_styles(["exclude", "include"])
    for axis, regime in zip(axes, ("blind", "long"), strict=True):
        for convention in ("include", "exclude"):
            rows = data.where(regime=regime, convention=convention)
            look = styles[convention] | ({"fillstyle": "none", "markersize": 6} if convention == "include" else {})
            axis.plot(rows["share"], rows["degrees"], label=LABELS[convention], **look)
        axis.set(xlabel="chance of rejection", title=TITLES[regime])
    axes[0].set_ylabel("angle to ∇E[r | accepted] (°)")
    axes[1].legend(loc="upper left")
    return sketch
