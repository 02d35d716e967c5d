"""SeeUPO's running product over turns: its variance, and what the clip trades for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIANCE, CLIP = "seeupo.product-variance", "seeupo.product-clip"


@figure("product_clip", title="SeeUPO's importance product: variance against bias", claims=(VARIANCE, CLIP))
def product_clip(results: Mapping[str, Data]) -> Figure:
    """Left: variance of the running product before the first turn's update, over the number of turns, for updates of
    the later turns of growing size: lines are prod(1 + chi²) - 1, markers the variance over all sequences (means over
    random policies); hollow markers: factors and product clipped to [0.8, 1.2]. Right: what the clip does to the first
    turn's gradient, by size of the updates: its bias relative to the exact gradient, and its variance relative to the
    unclipped one.
    """
    sketch, (left, right) = new(1, 2, height=2.7)
    data, clip = results[VARIANCE], results[CLIP]
    turns = data.unique("turns")
    for step, look in series_styles([f"{s:g}" for s in data.unique("step")]).items():
        part = data.where(step=float(step))
        means = {
            column: np.array([part.where(turns=t)[column].mean() for t in turns])
            for column in ("predicted", "variance", "clipped")
        }
        left.plot(turns, means["predicted"], color=look["color"], linestyle=look["linestyle"])
        left.plot(turns, means["variance"], linestyle="", color=look["color"], marker=look["marker"], label=step)
        left.plot(turns, means["clipped"], linestyle="", color=look["color"], marker=look["marker"], fillstyle="none")
    left.set_yscale("log")
    left.set_xticks(turns)
    left.set(xlabel="turns", ylabel="Var(C)")
    left.set_ylim(top=60.0)
    left.legend(title="update size", loc="upper left", ncols=2)
    looks = series_styles(["bias", "noise_ratio"])
    names = {"bias": "bias / exact gradient", "noise_ratio": "variance / unclipped variance"}
    for column, look in looks.items():
        right.plot(clip["step"], clip[column], label=names[column], **look)
    right.set_xscale("log")
    right.set(xlabel="update size", ylim=(-0.05, 1.15))
    right.legend(loc="center left")
    return sketch
