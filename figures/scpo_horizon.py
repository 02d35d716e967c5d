"""Does shared credit pay more on longer tasks?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAIN, SCALE = "scpo.gain-over-horizon", "scpo.bonus-scale"


@figure("scpo_horizon", title="SCPO over the horizon: gain in rollouts, gain in signal, scale", claims=(GAIN, SCALE))
def scpo_horizon(results: Mapping[str, Data]) -> Figure:
    """Chains that a mistake ends, groups of four, exact. Left: groups that GiGPO needs per group of SCPO for one ratio
    of signal to noise; above the black line sharing credit saves rollouts. The gain falls with the length. Middle: what
    the bonus adds to the expected push along the exact gradient; this rises, so it is noise that eats the gain. Right:
    step advantage of a success less that of a failure that merely shared its step, alpha = 0.5 and gamma = 0.95, by
    distance from the goal: below the black line failing is credited above succeeding.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.5)
    gain, scale = results[GAIN], results[SCALE]
    for success, look in series_styles(gain.unique("success")).items():
        part = gain.where(success=success)
        label = f"{100 * float(success):.0f} % succeed"
        left.plot(part["length"], part["samples"], **look, label=label)
        middle.plot(part["length"], 100.0 * part["signal"], **look, label=label)
    for axis in (left, middle):
        axis.set_xticks(gain.unique("length"))
    left.axhline(1.0, color="black", linewidth=0.8)
    left.set(xlabel="choices in the chain", ylabel="GiGPO's groups per group of SCPO")
    left.legend(loc="upper right")
    middle.set(xlabel="choices in the chain", ylabel="added signal (%)", ylim=(0.0, None))
    right.axhline(0.0, color="black", linewidth=0.8)
    right.plot(scale["distance"], scale["predicted"], color=NEUTRAL, linewidth=1.0, label=r"$\gamma^d - \alpha$")
    right.plot(
        scale["distance"], scale["margin"], linestyle="", marker="o", fillstyle="none", color="black", label="measured"
    )
    right.set(xlabel="steps from the goal, $d$", ylabel="success less shared failure")
    right.legend(loc="upper right")
    return sketch
