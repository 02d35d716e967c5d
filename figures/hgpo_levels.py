"""What a level of HGPO's hierarchy is worth: its group sizes, its noise, the bias it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES, NOISE, BOUND = "hgpo.baseline-noise", "hgpo.deep-levels-noisier", "hgpo.jensen-bound"
MARKOV, RAW = "hgpo.markov-no-gain", "hgpo.raw-error-comparison"


@figure("hgpo_levels", title="HGPO's levels: group sizes, noise, bias left", claims=(SIZES, NOISE, BOUND, MARKOV, RAW))
def hgpo_levels(results: Mapping[str, Data]) -> Figure:
    """Four histories behind one observation. Top left: how many steps share a row's window, by level; markers from all
    groups enumerated, lines the binomial law. Top right: variance of the leave-one-out mean of each level (rows with
    company) over the spread of the histories' values; lines are Var(G|c_k) E[1/(n_k-1)]. Without aliasing deeper is
    noisier; with enough of it the deepest level is the quietest. Bottom left: mean square context bias that K = 1
    leaves, as a share of the anchor group's; dotted lines are Jensen's bound, which small groups break because rows
    alone in their context fall back on the anchor group. Bottom right: no aliasing at all, noise added to the returns.
    Error of HGPO over that of level 0: leave-one-out baselines are always worse (above 1); raw in-group advantages
    look better once returns are noisy, because small groups shrink towards 0.
    """
    sketch, ((sizes, noise), (bound, markov)) = new(2, 2, height=4.8)
    data = results[SIZES]
    n = int(data["n"].max())
    for k, look in zip(data.unique("k"), series_styles(list("abc")).values(), strict=False):
        one = data.where(n=n, k=k)
        one = Data({name: column[one["size"] >= 1] for name, column in one.table.items()})
        sizes.plot(one["size"], one["predicted"], color=look["color"], linestyle=look["linestyle"])
        sizes.plot(
            one["size"], one["measured"], color=look["color"], marker=look["marker"], linestyle="", fillstyle="none",
            label=f"level {k}",
        )  # fmt: skip
    sizes.set(xlabel=f"members of the row's group (N = {n})", ylabel="probability", xlim=(0.5, n + 0.5))
    sizes.legend(loc="upper center")
    sizes.set_title("Group sizes")
    _noise(noise, results[NOISE])
    _bound(bound, results[BOUND])
    _markov(markov, results[RAW], results[MARKOV])
    return sketch


def _noise(axis: Any, data: Data) -> None:
    for k, look in zip(data.unique("k"), series_styles(list("abc")).values(), strict=False):
        one = data.where(k=k)
        axis.plot(one["spread"], one["predicted"], color=look["color"], linestyle=look["linestyle"])
        axis.plot(
            one["spread"], one["measured"], color=look["color"], marker=look["marker"], linestyle="", fillstyle="none",
            label=f"level {k}",
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set(xlabel="spread of values behind one observation", ylabel="variance of the baseline (reward²)")
    axis.legend(loc="upper left")
    axis.set_title(f"Noise of a level, N = {int(data['n'][0])}")


def _bound(axis: Any, data: Data) -> None:
    for weights, colour, marker in zip(data.unique("weights"), COLOURS, "os", strict=False):
        for alpha, line in ((0.0, "--"), (1.0, "-")):
            one = data.where(weights=weights, alpha=alpha)
            if alpha == 0.0 and weights != data.unique("weights")[0]:
                continue  # at alpha = 0 both have equal weights
            shade = NEUTRAL if alpha == 0.0 else colour
            label = "α = 0" if alpha == 0.0 else f"α = 1, {weights}"
            axis.plot(
                one["n"], one["measured"], color=shade, linestyle=line, marker=marker, fillstyle="none", label=label
            )
            axis.axhline(float(one["bound"][0]), color=shade, linestyle=":", linewidth=1.0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(ns := data.unique("n"), [str(n) for n in ns])
    axis.minorticks_off()
    axis.set(xlabel="group size N", ylabel="mean square bias / anchor group's", ylim=(0, 1.05))
    axis.legend(loc="upper right")
    axis.set_title("Bias left at K = 1 and Jensen's bound")


def _markov(axis: Any, raw: Data, fair: Data) -> None:
    for data, form, label, look in zip(
        (fair, raw), ("leave-one-out", "raw"), ("leave-one-out baseline", "raw advantage"),
        series_styles(["fair", "raw"]).values(), strict=True,
    ):  # fmt: skip
        one = data.where(form=form)
        axis.plot(one["noise"], one["deep"] / one["flat"], **look, label=label)
    axis.axhline(1.0, color="black", linewidth=0.6)
    axis.set(xlabel="noise of the returns (reward)", ylabel="error of HGPO / of level 0")
    axis.set_ylim(min(0.9, float(np.min(raw["deep"] / raw["flat"])) - 0.05), None)
    axis.legend(loc="center right")
    axis.set_title("Without aliasing, K = 1")
