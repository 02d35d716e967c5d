"""How often the wrong arm keeps the budget, and why concentration does not help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOCKED, CONCENTRATION = "3spo.lock-in", "3spo.concentration"


@figure("lock_in", title="With bandit feedback the wrong arm may keep the budget", claims=(LOCKED, CONCENTRATION))
def lock_in(results: Mapping[str, Data]) -> Figure:
    """Left: runs of 3SPO's shares (alpha = 50) in which the wrong arm holds most of the later half of the draws,
    over the number of initial pulls of each arm; simulated, with intervals, for two pairs of success rates. Open
    markers: exact probability that the target is never drawn again, a lower bound. Right: probability that some success
    rate is off by more than a quarter of the gap (0.3 and 0.5), exact. Under full information it falls below the bound
    4 / i^2 at the iteration from which the argument holds; with bandit feedback it stays above what the open square
    shows, however long one waits.
    """
    sketch, (left, right) = new(1, 2, height=2.6)
    data = results[LOCKED]
    for i, low in enumerate(data.unique("low")):
        part = data.where(low=low)
        colour, marker = COLOURS[i], "os"[i % 2]
        name = f"{low:g}, {part['high'][0]:g}"
        left.errorbar(
            (0.97 + 0.06 * i) * part["initial"], part["locked"],
            yerr=(part["locked"] - part["locked_low"], part["locked_high"] - part["locked"]), color=colour,
            marker=marker, linestyle="-", capsize=2, label=f"{name}: locked",
        )  # fmt: skip
        known = part["never"] >= 0.0
        left.plot(
            (0.97 + 0.06 * i) * part["initial"][known], part["never"][known], color=colour, marker=marker, linestyle="",
            fillstyle="none", label=f"{name}: never again",
        )  # fmt: skip
    left.set(xscale="log", xlabel="initial pulls of each arm", ylabel="probability")
    left.set_xticks(data.unique("initial"), [str(m) for m in data.unique("initial")])
    left.minorticks_off()
    left.set_ylim(0.0, 1.45 * float(data["locked_high"].max()))
    left.legend(fontsize=6)
    found = results[CONCENTRATION]
    full, stuck = found.where(feedback="full"), found.where(feedback="bandit")
    right.plot(full["time"], full["probability"], color=COLOURS[0], marker="o", label="full information")
    right.plot(full["time"], full["bound"], color="black", linestyle="--", label="4 / i²")
    if stuck["time"].size:
        right.plot(
            stuck["time"], stuck["probability"], color=COLOURS[1], marker="s", fillstyle="none", linestyle="",
            label="bandit feedback, at least",
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="iteration i", ylabel="P(some rate is off)", ylim=(1e-10, 2.0))
    right.legend(fontsize=6, loc="lower left")
    return sketch
