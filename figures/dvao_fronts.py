"""Where DVAO, reward combination and advantage combination end between two objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRONT = "dvao.front"


@figure("dvao_fronts", title="Learnt trades between two objectives", claims=(FRONT,))
def dvao_fronts(results: Mapping[str, Data]) -> Figure:
    """Returns of two objectives after 75 updates, weights w = .1 to .9 on the first, in a bandit with four arms (grey
    crosses). Lines join the ends of learning along the exact expected gradient of groups of four, filled markers are
    sampled runs with two standard errors; ends at w = .1 are named. Left: rewards of one scale, groups of four; DVAO
    and RC stop at a compromise where the weight is extreme. Middle: sampled groups of 16; the three ends agree. Right:
    the second reward in units ten times as large; advantage combination keeps its front, the others follow the first
    reward.
    """
    sketch, axes = new(1, 3, height=2.7, sharex=True, sharey=True)
    data = results[FRONT]
    sizes = data.where(method="sampled").unique("members")
    exact, drawn = data.where(method="expected"), data.where(method="sampled")
    panels = (
        ("one scale, groups of 4", exact.where(scale=1.0), drawn.where(members=sizes[0])),
        ("one scale, groups of 16", None, drawn.where(members=sizes[-1])),
        ("second reward / 10, groups of 4", exact.where(scale=0.1), None),
    )
    for axis, (title, expected, sampled) in zip(axes, panels, strict=True):
        axis.plot(*data.meta["detail"]["arms"], color=NEUTRAL, marker="x", linestyle="", zorder=1)
        for rule, look in series_styles(data.unique("rule")).items():
            if expected is not None:
                part = expected.where(rule=rule)
                axis.plot(
                    part["first"], part["second"], color=look["color"], linestyle=look["linestyle"],
                    marker=look["marker"], fillstyle="none", label=rule if sampled is None else None,
                )  # fmt: skip
            if sampled is not None:
                part = sampled.where(rule=rule)
                axis.errorbar(
                    part["first"], part["second"], xerr=2.0 * part["first_se"], yerr=2.0 * part["second_se"],
                    color=look["color"], marker=look["marker"], linestyle="", elinewidth=0.8, label=rule,
                )  # fmt: skip
            if expected is not None and rule in ("AC", "DVAO"):
                end = expected.where(rule=rule, weight=0.1)
                above = rule == "AC"
                axis.annotate(
                    f"{rule}, $w$ = .1", (end["first"][0], end["second"][0]), (6, 5) if above else (-5, -5),
                    textcoords="offset points", ha="left" if above else "right", va="bottom" if above else "top",
                    fontsize=6, color=look["color"],
                )  # fmt: skip
        axis.set(title=title, xlabel="objective 1", xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    axes[0].set_ylabel("objective 2")
    axes[0].legend(loc="lower left")
    return sketch
