"""How much of the failed rollouts is pushed against itself, and how well each credit agrees with the exact one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASS, SIGN = "scpo.conflict-mass", "scpo.sign-agreement"


@figure("scpo_conflict", title="SCPO: conflict and agreement over the horizon", claims=(MASS, SIGN))
def scpo_conflict(results: Mapping[str, Data]) -> Figure:
    """Chains in which one mistake ends the episode, a quarter of the rollouts succeed and groups have four members; all
    numbers are exact. Left: share of all failed steps that outcome-only credit pushes down here and up in a successful
    sibling, by the formula (line) and by the signs of GRPO's advantages in every possible group (markers). Middle:
    share of failed steps that are right and pushed down all the same, in groups with a success: sharing credit takes
    hardly any of it away, because the episode level stays negative. Right: correlation of the advantage with the exact
    one on failed steps; here shared credit gains much, and less on longer chains.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.5)
    mass = results[MASS].where(environment="fatal")
    left.plot(mass["length"], mass["by_counting"], color="black", linewidth=1.0, label="formula")
    left.plot(
        mass["length"], mass["by_signs"], linestyle="", marker="o", fillstyle="none", color="black",
        label="all groups",
    )  # fmt: skip
    left.set(xlabel="choices in the chain", ylabel="conflicting share of failed steps", ylim=(0.0, None))
    left.legend(loc="lower right")
    data = results[SIGN].where(group_size=4)
    for i, (name, look) in enumerate(series_styles(data.unique("estimator")).items()):
        part = data.where(estimator=name)
        # GRPO's and GiGPO's curves coincide in the middle: rings inside rings show both.
        middle.plot(part["length"], part["punished"], **look, fillstyle="none", markersize=8.0 - 2.2 * i, label=name)
        right.plot(part["length"], part["correlation"], **look, label=name)
    for axis in (left, middle, right):
        axis.set_xticks(data.unique("length"))
    middle.set(xlabel="choices in the chain", ylabel="right and pushed down", ylim=(0.0, 1.0))
    right.set(xlabel="choices in the chain", ylabel="correlation with exact A", ylim=(-0.05, 0.6))
    right.legend(loc="upper right")
    return sketch
