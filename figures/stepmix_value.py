"""Is every episode safe: exact values against the bar, and what the guarantee rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAFE, OFFLINE = "stepmix.safe-in-every-episode", "stepmix.offline-baseline"
NAMES = {"ucbvi": "UCBVI (no bar)", "stepmix": "StepMix", "epsmix": "EpsMix"}
DELTA = 0.1


@figure("stepmix_value", title="Conservative exploration: every episode against the bar", claims=(SAFE, OFFLINE))
def stepmix_value(results: Mapping[str, Data]) -> Figure:
    """Left: exact expected return of the policy played in each episode of one table, median over runs and the range of
    all runs; a run violates where it dips below the bar. UCBVI tries whatever might be best. Middle: share of runs with
    any violation over the factor on the bonus (1: the proved bounds), 95 % Clopper-Pearson intervals over all tables;
    the dashed line is the delta that the bounds promise. Right: the same over the trajectories from which the baseline
    was learnt; thin lines are single tables. Little data leave a baseline that is not safe, and nothing that StepMix
    does repairs it.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.9, gridspec_kw={"width_ratios": [1.5, 1.0, 1.0]})
    _values(left, results[SAFE].where(panel="value"))
    _scales(middle, results[SAFE].where(panel="scale"))
    _data(right, results[OFFLINE])
    return sketch


def _values(axis: Any, data: Data) -> None:
    for method, style in series_styles(list(NAMES)).items():
        part = data.where(method=method)
        axis.fill_between(
            part["episode"], part["least"], part["most"], color=style["color"], alpha=0.15, linewidth=0, step="post"
        )
        axis.step(
            part["episode"], part["value"], where="post", color=style["color"], linestyle=style["linestyle"],
            label=NAMES[method],
        )  # fmt: skip
    for level, name in (("optimum", "optimum"), ("baseline", "baseline"), ("bar", "bar")):
        height = float(data[level][0])
        axis.axhline(height, color="black" if name == "bar" else NEUTRAL, linewidth=0.9 if name == "bar" else 0.7)
        axis.annotate(
            name, (1.0, height), xycoords=axis.get_yaxis_transform(), fontsize=6, color=NEUTRAL, ha="right",
            va="top" if name == "bar" else "bottom", zorder=5,
        )  # fmt: skip
    axis.set(xscale="log", xlabel="episode", ylabel="exact value of what was played", title="one table, all runs")
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside lower left", ncols=3)


def _scales(axis: Any, data: Data) -> None:
    place = range(len(data["scale"]))
    _shares(axis, place, data)
    axis.set_xticks(list(place), [f"{scale:g}" for scale in data["scale"]])
    axis.set(xlabel="factor on the bonus", ylabel="runs with a violation", title="what the bonus is for")


def _data(axis: Any, data: Data) -> None:
    for environment in data.unique("environment"):
        part = data.where(environment=environment)
        axis.plot(part["n"], part["violating"], color=COLOURS[5], linewidth=0.7)
    _shares(axis, None, data.where(environment=data.unique("environment")[0]))
    axis.set(xscale="log", xlabel="offline trajectories", title="learnt baseline")


def _shares(axis: Any, place: Any, data: Data) -> None:
    x = data["n"] if place is None else list(place)
    error = [data["share"] - data["low"], data["high"] - data["share"]]
    axis.errorbar(x, data["share"], yerr=error, color=COLOURS[1], marker="s", linestyle="", capsize=2)
    axis.axhline(DELTA, color="black", linewidth=0.8, linestyle="--")
    axis.annotate("δ", (1.0, DELTA), xycoords=axis.get_yaxis_transform(), fontsize=7, ha="right", va="bottom")
    axis.set_ylim(-0.04, 1.04)
