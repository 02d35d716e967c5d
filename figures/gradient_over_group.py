"""What a group's size does to the gradient, at equal rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.series import environment_title, lines, short
from figures.style import new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STUDY = "study:group-size"


@figure("gradient_over_group", title="The gradient over the size of a group, at equal rollouts", claims=(STUDY,))
def gradient_over_group(results: Mapping[str, Data]) -> Figure:
    """Batches of 64 rollouts in groups of 2 to 64, uniform policy. Top: signal-to-noise ratio |E g| / sqrt(tr Cov g) of
    the gradient of a batch. Bottom: cosine of E[g] with the exact gradient, whose distance from 1 no number of batches
    takes away. More members per group sharpen a group's statistics; where a batch holds several tasks (answers), they
    also leave room for fewer of them. REINFORCE uses no groups: its line moves with the number of tasks alone. 95 %
    intervals.
    """
    data = results[STUDY]
    environments = data.unique("environment")
    sketch, axes = new(2, len(environments), height=4.2, sharex=True)
    names = {estimator: short(estimator) for estimator in data.unique("estimator")}
    styles = lines(list(names.values()))
    handles = {}
    for column, environment in enumerate(environments):
        for row, quantity in enumerate(("gradient_snr", "gradient_cosine")):
            axis = axes[row, column]
            for estimator, name in names.items():
                curve = data.where(environment=environment, estimator=estimator, quantity=quantity)
                bars = [curve["value"] - curve["low"], curve["high"] - curve["value"]]
                handles[name] = axis.errorbar(
                    curve["group_size"], curve["value"], yerr=bars, fillstyle="none", elinewidth=0.6, **styles[name]
                )
            axis.set_xscale("log", base=2)
            axis.set_xticks((2, 4, 8, 16, 32, 64), ("2", "4", "8", "16", "32", "64"))
        axes[0, column].set(title=environment_title(environment), ylim=(0.0, None))
        axes[1, column].set(xlabel="group size n", ylim=(0.8, 1.01))
    axes[0, 0].set_ylabel("signal-to-noise ratio")
    axes[1, 0].set_ylabel("cosine with the exact gradient")
    sketch.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
    return sketch
