"""Advantages that float32 gives groups whose members are all equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import SINGLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "gigpo.float32-equal-groups"


@figure("float32_noise", title="Equal members, unequal advantages: float32", claims=(CLAIM,))
def float32_noise(results: Mapping[str, Data]) -> Figure:
    """Largest |advantage| of groups of 2 to 16 members that all have the same discounted return (reward times powers of
    0.95), normalised by (x - mean) / (std + 1e-6); the right answer is 0. In float32 the rounding error of the mean is
    divided by a deviation of the same size as soon as that exceeds 1e-6; the same formula in float64 stays far below.
    Taking differences to the first member first gives exactly 0 at any magnitude (drawn at the bottom edge).
    """
    sketch, axis = new(width=SINGLE, height=2.7)
    data = results[CLAIM]
    floor = 1e-13
    for name, look in series_styles(data.unique("arithmetic")).items():
        part = data.where(arithmetic=name)
        shown = [max(float(worst), floor) for worst in part["worst"]]
        axis.plot(
            part["reward"], shown, **look, label=name + (" (0)" if max(part["worst"]) == 0.0 else ""), clip_on=False
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set(xlabel="final reward", ylabel="largest |A| of an all-equal group", ylim=(floor, 1e5))
    axis.legend(loc="upper left")
    return sketch
