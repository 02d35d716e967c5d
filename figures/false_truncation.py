"""How often a state is truncated for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import DOUBLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILTER = "3spo.filter-stability"


@figure("false_truncation", title="Learnable states are truncated for good", claims=(FILTER,))
def false_truncation(results: Mapping[str, Data]) -> Figure:
    """Probability that 3SPO truncates a state some time or other, over its true success rate, for four settings of
    (xi, zeta): failures needed, and the success rate below which it is cut. Lines: exact, within 2000 visits (thin:
    within the shorter horizon of the simulation, where that is shorter); markers: simulated, with intervals. Each line
    jumps from 1 at its zeta, drawn as a thin vertical line; to its right the state should have been kept. At the
    published (10, 0.1) a state that succeeds in one of five visits is lost in 39 % of runs.
    """
    sketch, axis = new(1, 1, width=0.7 * DOUBLE, height=2.8)
    data = results[FILTER]
    pairs = list(dict.fromkeys(zip(data["xi"].tolist(), data["zeta"].tolist(), strict=True)))
    styles = series_styles([f"ξ = {xi}, ζ = {zeta:g}" for xi, zeta in pairs])
    for (xi, zeta), (name, style) in zip(pairs, styles.items(), strict=True):
        part = data.where(xi=xi, zeta=zeta)
        axis.plot(part["p"], part["ever"], color=style["color"], linestyle=style["linestyle"])
        axis.plot(part["p"], part["within"], color=style["color"], linewidth=0.5)
        axis.errorbar(
            part["p"], part["simulated"], yerr=(part["simulated"] - part["low"], part["high"] - part["simulated"]),
            color=style["color"], marker=style["marker"], linestyle="", capsize=2, label=name,
        )  # fmt: skip
        axis.axvline(zeta, color=style["color"], linewidth=0.5, linestyle=style["linestyle"])
    axis.set(xlabel="true success rate of the state", ylabel="P(truncated for good)", ylim=(-0.02, 1.05))
    axis.legend()
    return sketch
