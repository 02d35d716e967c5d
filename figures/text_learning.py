"""Learning curves of a small language model on easy ALFWorld tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEARNS, THREE = "bridge.learns", "3spo.learns-on-text"
_TITLES = {"grpo": "GRPO", "gigpo": "GiGPO", "hgpo": "HGPO", "3spo": "3SPO"}


@figure(
    "text_learning", title="Learning curves of a small language model on easy ALFWorld tasks", claims=(LEARNS, THREE)
)
def text_learning(results: Mapping[str, Data]) -> Figure:
    """Success on the tasks trained on, answers drawn at temperature 1, against the environment steps that updates were
    made from; mean over the recorded seeds with 95 % intervals (Student's t over seeds). All runs begin with one small
    model that imitated 64 solutions, and share optimiser, step size (chosen for GRPO on another seed) and tasks. Left:
    GRPO, GiGPO and HGPO; each point is one episode of each task and seed. Middle: 3SPO, which draws the children of one
    state at a time; note the shorter axis. Right: before and after, eight episodes of each task and seed, on which the
    verdicts stand.
    """
    sketch, (groups, tree, ends) = new(1, 3, height=2.7, sharey=True, width_ratios=(1.4, 1.0, 1.0))
    data = results[LEARNS]
    looks = series_styles(list(_TITLES))
    for method, title in _TITLES.items():
        axis, look = (tree if method == "3spo" else groups), looks[method]
        curve = data.where(method=method, what="curve")
        axis.fill_between(curve["steps"], curve["low"], curve["high"], color=look["color"], alpha=0.13, linewidth=0)
        axis.plot(curve["steps"], curve["success"], fillstyle="none", label=title, **look)
    for place, (method, title) in enumerate(_TITLES.items()):
        measured = data.where(method=method, what="ends")
        x = place + np.array([-0.15, 0.15])[: measured["success"].size]
        error = np.stack([measured["success"] - measured["low"], measured["high"] - measured["success"]])
        ends.errorbar(
            x, measured["success"], error, color=looks[method]["color"], marker=looks[method]["marker"], capsize=2,
            elinewidth=0.8, linewidth=0.8, fillstyle="none", label=title,
        )  # fmt: skip
    ends.set_xticks(range(len(_TITLES)), list(_TITLES.values()))
    ends.set_title("before and after")
    groups.set(
        ylabel="success on the training tasks",
        xlabel="environment steps",
        ylim=(0, min(1.0, 1.2 * float(data["high"].max()))),
    )
    groups.set_title("whole episodes")
    tree.set(xlabel="environment steps")
    tree.set_title("children of one state")
    groups.legend(loc="upper left", ncols=3, columnspacing=1.0)
    tree.legend(loc="upper left")
    return sketch
