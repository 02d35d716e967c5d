"""Which baseline has the least gradient variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONSTANT, USUALLY = "opo.best-constant-baseline", "opo.usually-better-than-mean"
TOKEN, SELF = "otb.no-worse-than-any-constant", "opo.self-inclusion-bias"
CURVE = "any constant"


@figure(
    "baseline_variance",
    title="Baselines: gradient variance and what a sample in its own baseline costs",
    claims=(CONSTANT, USUALLY, TOKEN, SELF),
)
def baseline_variance(results: Mapping[str, Data]) -> Figure:
    """Top: exact variance of the gradient of one trajectory over the constant baseline (line), with the large-group
    choice of each method (markers) on three tasks with a terminal reward; the score-weighted mean sits at the bottom of
    every curve, the others where the task happens to put them. Bottom left: variance under OPO's baseline over that
    under the mean, over random three-armed bandits sorted by it; with lengths that have nothing to do with the score
    OPO is worse in most. Bottom middle: variance of the optimal token baseline less that of the best constant, per mean
    square of the gradient, over random two-token tasks sorted by it; above 0 it is worse. Bottom right: length of the
    bias of OPO and OTB (markers) against their limit over n (lines).
    """
    sketch, axes = new(2, 3, height=4.9)
    _parabolas(axes[0], results[CONSTANT])
    _ratios(axes[1, 0], results[USUALLY])
    _tokens(axes[1, 1], results[TOKEN])
    _inclusion(axes[1, 2], results[SELF])
    return sketch


def _parabolas(axes: Any, data: Data) -> None:
    methods = [method for method in data.unique("method") if method != CURVE]
    styles = series_styles(methods)
    for ax, environment in zip(axes, data.unique("environment"), strict=False):
        part = data.where(environment=environment)
        curve = part.where(method=CURVE)
        ax.plot(curve["baseline"], curve["variance"], color=NEUTRAL, zorder=1)
        for method in methods:
            point = part.where(method=method)
            ax.plot(
                point["baseline"], point["variance"], linestyle="", marker=styles[method]["marker"],
                color=styles[method]["color"], fillstyle="none", markersize=6, markeredgewidth=1.3, label=method,
            )  # fmt: skip
        ax.set(title=environment, xlabel="constant baseline b", ylim=(0.0, None))
    axes[0].set_ylabel("gradient variance, tr Cov")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)


def _ratios(ax: Any, data: Data) -> None:
    names = {"unrelated": "lengths unrelated", "like the squared score": "lengths ∝ |score|²"}
    for (lengths, label), colour, line in zip(names.items(), COLOURS, ("-", "--"), strict=False):
        part = data.where(lengths=lengths)
        ax.plot(part["share"], part["ratio"], color=colour, linestyle=line, label=label)
    ax.axhline(1.0, color="black", linewidth=0.6)
    ax.set_yscale("log")
    ax.set(xlabel="share of bandits", ylabel="variance: OPO / mean", xlim=(0, 1), title="OPO against the mean")
    ax.legend(loc="lower right")


def _tokens(ax: Any, data: Data) -> None:
    styles = series_styles(data.unique("regime"))
    for regime, style in styles.items():
        part = data.where(regime=regime)
        ax.plot(part["share"], part["excess"], color=style["color"], linestyle=style["linestyle"], label=regime)
    ax.axhline(0.0, color="black", linewidth=0.6)
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set(
        xlabel="share of tasks",
        ylabel="excess variance",
        xlim=(0, 1),
        ylim=(None, 60.0),
        title="OTB against best constant",
    )
    ax.legend(loc="upper left", fontsize=6)


def _inclusion(ax: Any, data: Data) -> None:
    for estimator, colour, line, marker in (("OPO", COLOURS[0], "-", "o"), ("OTB", COLOURS[1], "--", "s")):
        part = data.where(estimator=estimator)
        ax.plot(part["n"], part["limit"] / part["n"], color=colour, linestyle=line, label=f"{estimator}: limit / n")
        ax.plot(part["n"], part["bias"], color=colour, linestyle="", marker=marker, fillstyle="none")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set(xlabel="group size n", ylabel="|bias| of the gradient", title="Sample in its own baseline")
    ax.legend(loc="upper right")
