"""3SPO against GRPO, GiGPO and uniform branching at equal numbers of transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUCCESS, STATES = "3spo.success-at-equal-transitions", "3spo.states-at-equal-transitions"
LABELS = {"j": "exact return J", "met": "distinct states met"}


@figure("three_spo_vs", title="3SPO, GRPO and GiGPO per transition", claims=(SUCCESS, STATES))
def three_spo_vs(results: Mapping[str, Data]) -> Figure:
    """Exact success of the policy on sparse tasks, share of updated rows without any credit there, and distinct states
    met on large tables, over the transitions drawn; mean over replicates with 95 % intervals (Student's t). 3SPO and
    uniform branching branch 16 tasks side by side and update after every branch group, GRPO and GiGPO after every group
    of eight episodes; all share optimiser and step size. 3SPO at its defaults stops learning early: its start is
    truncated, and states that have had a success get one branch. It meets more states than GRPO where branches lead to
    new states (tree), fewer where they lead back (grid).
    """
    panels = [(SUCCESS, place, "j") for place in results[SUCCESS].unique("environment")]
    panels += [(SUCCESS, results[SUCCESS].unique("environment")[0], "silent")]
    panels += [(STATES, place, "met") for place in results[STATES].unique("environment")]
    sketch, axes = new(1, len(panels), height=2.9, squeeze=False)
    styles = series_styles(results[SUCCESS].unique("way"))
    handles = {}
    for axis, (claim, place, quantity) in zip(axes[0], panels, strict=True):
        data = results[claim].where(environment=place, quantity=quantity)
        for way in data.unique("way"):
            part, style = data.where(way=way), styles[way]
            axis.fill_between(
                part["transitions"], part["low"], part["high"], color=style["color"], alpha=0.15, linewidth=0
            )
            (handles[way],) = axis.plot(part["transitions"], part["value"], fillstyle="none", markevery=2, **style)
        axis.set(xlabel="transitions", title=place, ylabel=LABELS.get(quantity, "share of rows without credit"))
        axis.locator_params(axis="x", nbins=4)
        if quantity != "met":
            axis.set_ylim(-0.03, 1.05)
    sketch.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
    return sketch
