"""Where SCPO's bonus pushes downhill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "scpo.bonus-direction"


@figure("scpo_trap", title="SCPO's bonus is a bias in a trap", claims=(CLAIM,))
def scpo_trap(results: Mapping[str, Data]) -> Figure:
    """Expected gradient by the logit of the right action at each station, exact, groups of four, right action taken
    with 0.7. Left: what GiGPO pushes and what the bonus adds where matched steps are right ones: all of it uphill, none
    at the last station. Middle: the bonus where opening the door to a dead end looks like going on, over the likeness
    the matcher gives them; from the threshold of 0.5 on it turns downhill. Right: matching is exact, but the door leads
    on with the chance given; some success went through it, and failures are credited for trying it too.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.5)
    data = results[CLAIM]
    safe = data.where(trap="none")
    left.bar(safe["station"] + 1, safe["gigpo"], width=0.6, color="#BBBBBB", label="GiGPO")
    left.bar(safe["station"] + 1, safe["bonus"], bottom=safe["gigpo"], width=0.6, color="#0072B2", label="bonus")
    left.set_axisbelow(True)
    left.set(xlabel="station", ylabel="expected gradient", xticks=[1, 2, 3])
    left.set_ylim(0.0, 1.35 * float((safe["gigpo"] + safe["bonus"]).max()))
    left.legend(loc="upper right", ncols=2)
    for axis, trap, label in ((middle, "look-alike", "likeness of door and way"), (right, "luck", "luck of the door")):
        part = data.where(trap=trap)
        for station, look in series_styles(part.unique("station")).items():
            curve = part.where(station=station)
            axis.plot(curve["strength"], curve["bonus"], **look, label=f"station {int(station) + 1}")
        axis.axhline(0.0, color="black", linewidth=0.8)
        axis.set(xlabel=label, ylabel="expected bonus")
        axis.legend(loc="lower left" if axis is middle else "upper right")
    return sketch
