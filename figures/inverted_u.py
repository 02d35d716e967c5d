"""3SPO over alpha and over its truncation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA, LIMITS = "3spo.inverted-u-alpha", "3spo.default-truncation"


@figure("inverted_u", title="3SPO: is a middle alpha or a middle truncation best?", claims=(ALPHA, LIMITS))
def inverted_u(results: Mapping[str, Data]) -> Figure:
    """Exact success of the policy on a chain after equal numbers of transitions, mean over replicates with 95 %
    intervals (Student's t); the value the paper found best is filled. Left: over alpha, without truncation. The paper
    reports a maximum at 50 between 35 and 70; here the smallest alpha is best, because from about 10 on a state that
    has had a success gets one branch and no update. Right: over the truncation (xi, zeta) at alpha = 50, where the
    four do not differ. The two panels are after different numbers of transitions.
    """
    sketch, (left, right) = new(1, 2, height=2.4, sharey=True)
    for axis, name, chosen in ((left, ALPHA, ("alpha", 50.0)), (right, LIMITS, ("xi", 10.0))):
        data = results[name]
        x = np.arange(data["j"].size)
        error = np.stack([data["j"] - data["low"], data["high"] - data["j"]])
        axis.errorbar(x, data["j"], yerr=error, color=NEUTRAL, linewidth=0.8, capsize=2)
        best = data[chosen[0]] == chosen[1]
        axis.plot(x[~best], data["j"][~best], "o", color=COLOURS[0], fillstyle="none")
        axis.plot(x[best], data["j"][best], "o", color=COLOURS[1])
        labels = [f"{a:g}" for a in data["alpha"]] if axis is left else _pairs(data)
        axis.set_xticks(x, labels)
    left.set(xlabel="α", ylabel="exact return J", ylim=(0, 1.05))
    right.set(xlabel="truncation (ξ, ζ)")
    return sketch


def _pairs(data: Data) -> list[str]:
    return [f"({xi:g}, {zeta:g})" for xi, zeta in zip(data["xi"], data["zeta"], strict=True)]
