"""Every estimator in the plane of bias and spread, per environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.series import environment_title, in_order, looks, short
from figures.style import NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bias_variance_plane", "direction_plane"]

STUDY = "study:bias-variance"
FLOOR = 0.02
"""What is nearer to zero is drawn here."""


@figure("bias_variance_plane", title="Bias and spread of the advantage, by estimator", claims=(STUDY,))
def bias_variance_plane(results: Mapping[str, Data]) -> Figure:
    """Advantages as each estimator gives them, against the exact advantage A(s,a) of the uniform policy: root mean
    square bias across, root mean variance upwards, both over the root mean square of A; four groups of eight, discount
    1. On a dotted arc the mean squared error is the same (1: no better than crediting nothing). Estimators that divide
    by a deviation, and GiGPO's sum of two levels, are not on the scale of A(s,a): they lie far out for that alone,
    which says nothing about the direction of learning. GAE is given the exact values, which no method has. 95 %
    intervals.
    """
    return _plane(results[STUDY], "relative_bias", "relative_deviation", "bias / rms A", "deviation / rms A", arcs=True)


@figure("direction_plane", title="Bias and spread of the advantage, brought to one scale", claims=(STUDY,))
def direction_plane(results: Mapping[str, Data]) -> Figure:
    """As the plane of bias and spread, after each estimate is multiplied by the number that gives it the signal of A,
    E[estimate A] = E[A^2]. What is left across is a wrong direction of the mean advantage, upwards noise beside the
    signal; a distance r from the corner means a cosine of 1/sqrt(1 + r^2) between estimate and A over all rows (dotted
    arcs). Dividing by a deviation costs little here; crediting whole trajectories does. 95 % intervals (jackknife).
    """
    return _plane(
        results[STUDY], "scaled_bias", "scaled_deviation", "bias at the signal of A", "deviation at the signal of A",
        arcs=False,
    )  # fmt: skip


def _plane(data: Data, across: str, upwards: str, xlabel: str, ylabel: str, *, arcs: bool) -> Figure:
    environments = data.unique("environment")
    sketch, axes = new(2, 3, height=5.2, sharex=True, sharey=True)
    names = {estimator: short(estimator) for estimator in data.unique("estimator")}
    styles = looks(list(names.values()))
    handles: dict[str, Any] = {}
    for axis, environment in zip(axes.flat, environments, strict=True):
        part = data.where(environment=environment)
        for estimator, name in names.items():
            x, y = (_line(part.where(estimator=estimator, quantity=q)) for q in (across, upwards))
            handles[name] = axis.errorbar(
                x[0], y[0], xerr=[[x[0] - x[1]], [x[2] - x[0]]], yerr=[[y[0] - y[1]], [y[2] - y[0]]],
                linestyle="", elinewidth=0.6, fillstyle="none", markeredgewidth=0.9, **styles[name],
            )  # fmt: skip
        axis.set(title=environment_title(environment), xscale="log", yscale="log")
    low, high = axes.flat[0].get_ylim()
    for axis in axes.flat:
        _arcs(axis, arcs)
        axis.set(xlim=(FLOOR * 0.8, None), ylim=(low, high))
        axis.set_xticks((FLOOR, 0.1, 1.0, 10.0), ("≤.02", "0.1", "1", "10"))
        ticks = [tick for tick in (0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if low < tick < high]
        axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.tick_params(which="minor", length=0)
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    for axis in axes[:, 0]:
        axis.set_ylabel(ylabel)
    sketch.legend(
        [handles[name].lines[0] for name in in_order(handles)], in_order(handles), loc="outside lower center", ncols=6,
        handletextpad=0.2, columnspacing=1.0,
    )  # fmt: skip
    return sketch


def _line(part: Data) -> tuple[float, float, float]:
    return tuple(max(float(part[column][0]), FLOOR) for column in ("value", "low", "high"))  # type: ignore[return-value]


def _arcs(axis: Any, errors: bool) -> None:
    turn = np.linspace(0.0, np.pi / 2.0, 200)[1:-1]
    for r in (1.0, 3.0, 10.0):
        axis.plot(r * np.cos(turn), r * np.sin(turn), color=NEUTRAL, linestyle=":", linewidth=0.8, zorder=0)
        text = f"MSE {r * r:g}" if errors else f"cos {1.0 / np.hypot(1.0, r):.2f}"
        axis.annotate(text, (FLOOR * 1.5, r), fontsize=6, color=NEUTRAL, va="bottom")
