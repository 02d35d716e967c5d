"""Which alpha and which K: error of HGPO's baseline and noise of its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA, DEPTH = "hgpo.alpha-minimum", "hgpo.deeper-history-better"
SHOWN, PARTS_OF = 1.0, 8
DRAWN = (0.0, 0.5, 1.0, 2.0)


@figure("hgpo_alpha", title="HGPO's alpha and K", claims=(ALPHA, DEPTH))
def hgpo_alpha(results: Mapping[str, Data]) -> Figure:
    """Two contexts behind one observation, K = 1, the code's weights 2^alpha : 3^alpha, leave-one-out means, rows that
    have company in their context; all groups enumerated. Top left: mean squared error of the baseline when the
    contexts' values are 1 apart; the filled marker is the minimum, the dotted line the default alpha = 1. Top right:
    squared context bias and variance for N = 8. Bottom left: the best alpha over N for several gaps; markers from
    enumeration, lines from sums over the number of members. Where alpha = 0 is best, the deeper level alone is worse
    than level 0; no alpha >= 0 can weigh it down. Bottom right: root-mean-square cosine between sampled and exact
    gradient over K at alpha = 1, two cues that matter, for several spreads of values: depth pays for aliasing and
    costs without.
    """
    sketch, ((error, parts), (best, depth)) = new(2, 2, height=4.8)
    data = results[ALPHA]
    curves = data.where(gap=SHOWN)
    styles = series_styles([str(n) for n in curves.unique("n")])
    for n in curves.unique("n"):
        look = styles[str(n)]
        one = curves.where(n=n)
        order = np.argsort(one["alpha"], kind="stable")
        error.plot(
            one["alpha"][order], one["mse"][order], color=look["color"], linestyle=look["linestyle"], label=f"{n}"
        )
        low = int(np.argmin(one["mse"]))
        error.plot(one["alpha"][low], one["mse"][low], color=look["color"], marker=look["marker"])
    error.axvline(1.0, color=NEUTRAL, linestyle=":", linewidth=0.8)
    error.set_yscale("log")
    error.set_yticks(ticks := [0.01, 0.02, 0.05, 0.1, 0.2], [f"{t:g}" for t in ticks])
    error.minorticks_off()
    error.set_ylim(0.8 * float(curves["mse"].min()), 4.0 * float(curves["mse"].max()))
    error.set(xlabel="α", ylabel="MSE of the baseline (reward²)")
    error.legend(title="N", ncols=4, loc="upper right")
    error.set_title("Error over α, values 1 apart")
    _parts(parts, curves.where(n=PARTS_OF))
    for gap, look in zip(data.unique("gap"), series_styles(list("abcd")).values(), strict=False):
        one = data.where(gap=gap)
        sizes = np.array(one.unique("n"))
        first = [int(np.argmax(one["n"] == n)) for n in sizes]
        best.plot(sizes, one["best_predicted"][first], color=look["color"], linestyle=look["linestyle"])
        best.plot(
            sizes, one["best"][first], color=look["color"], marker=look["marker"], linestyle="", fillstyle="none",
            label=f"{gap:g}",
        )  # fmt: skip
    best.axhline(1.0, color=NEUTRAL, linestyle=":", linewidth=0.8)
    best.set_xscale("log", base=2)
    best.set_xticks(ns := data.unique("n"), [str(n) for n in ns])
    best.minorticks_off()
    best.set(xlabel="group size N", ylabel="best α")
    best.legend(title="gap of values", loc="upper left", ncols=2)
    best.set_ylim(-0.5, 1.35 * float(data["best"].max()))
    best.set_title("Best α")
    _depth(depth, results[DEPTH])
    return sketch


def _parts(axis: Any, one: Data) -> None:
    order = np.argsort(one["alpha"], kind="stable")
    names = (("mse", "error"), ("bias", "bias²"), ("variance", "variance"))
    for (column, label), look in zip(names, series_styles(["error", "bias", "variance"]).values(), strict=True):
        axis.plot(
            one["alpha"][order], one[column][order], color=look["color"], linestyle=look["linestyle"], label=label
        )
    axis.axvline(1.0, color=NEUTRAL, linestyle=":", linewidth=0.8)
    axis.set(xlabel="α", ylabel="reward²", ylim=(0, None))
    axis.legend(loc="upper right")
    axis.set_title(f"Its parts, N = {PARTS_OF}")


def _depth(axis: Any, data: Data) -> None:
    for spread, look in zip(DRAWN, series_styles(list("abcd")).values(), strict=True):
        one = data.where(spread=spread)
        axis.plot(one["depth"], one["alignment"], **look, fillstyle="none")
        axis.annotate(
            f"{spread:g}", (one["depth"][-1], one["alignment"][-1]), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=7, color=look["color"],
        )  # fmt: skip
    axis.set_xticks(np.unique(data["depth"]))
    axis.set(xlabel="K", ylabel="rms cosine, sampled with exact", xlim=(-0.2, float(data["depth"].max()) + 0.5))
    axis.set_title(f"Over K, by spread of values, N = {int(data['n'][0])}")
