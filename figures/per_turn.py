"""Centring rewards per turn under a policy that chooses when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGN, SEPARATE = "per-turn.wrong-sign", "ppo.separate-turns"


@figure("per_turn", title="Per-turn centring when the policy chooses when to stop", claims=(SIGN, SEPARATE))
def per_turn(results: Mapping[str, Data]) -> Figure:
    """Stopping pays 0.6, going on 0.3 and then 0.5: going on is worth 0.2 (grey). Left and middle: expected derivative
    by q = P(go on) of four ways to centre, over q at the largest N and over N at q = 1/2; lines are closed forms,
    markers enumerate all groups. Centring each turn's reward among the members alive says -0.3 (N-1)/N, the wrong sign
    everywhere; counting ended members as 0 only while alive is right for some q; the last two, which lie on each other,
    are exact up to (N-1)/N. Right: five random turns; variance of the advantage where every turn is a sequence paid the
    whole return (markers) against one sequence per episode (dashed) and that plus the variance of the past (line).
    """
    sketch, (left, middle, right) = new(1, 3, height=3.0)
    data = results[SIGN]
    styles = series_styles(data.unique("form"))
    largest, half = max(data.unique("n")), data.unique("q")[len(data.unique("q")) // 2]
    for ax, x, part in ((left, "q", data.where(n=largest)), (middle, "n", data.where(q=half))):
        first = part.where(form=data.unique("form")[0])
        ax.plot(first[x], first["exact"], color=NEUTRAL, linewidth=3.0, alpha=0.5, label="exact gradient")
        for i, (form, style) in enumerate(styles.items()):
            curve = part.where(form=form)
            ax.plot(curve[x], curve["formula"], color=style["color"], linestyle=style["linestyle"])
            ax.plot(
                curve[x], curve["measured"], linestyle="", marker=style["marker"], color=style["color"],
                fillstyle="none", markersize=4.0 + 1.5 * (i == 2), label=form,
            )  # fmt: skip
        ax.axhline(0.0, color="black", linewidth=0.6)
    left.set(xlabel="q = P(go on)", ylabel="expected dJ/dq", title=f"N = {largest}")
    middle.set(xlabel="group size N", title=f"q = {half:g}")
    middle.set_xscale("log", base=2)
    middle.set_xticks(data.unique("n"), [str(n) for n in data.unique("n")])
    turns = results[SEPARATE]
    right.plot(turns["turn"], turns["joined"] + turns["past"], color="#0072B2", label="one sequence + past")
    right.plot(turns["turn"], turns["joined"], color="#D55E00", linestyle="--", label="one sequence")
    right.plot(turns["turn"], turns["separate"], "o", color="#0072B2", fillstyle="none", label="separate turns")
    right.set(xlabel="turn", ylabel="Var[advantage | stop]", title="PPO, every turn by itself", ylim=(0.0, None))
    right.legend(loc="upper left")
    sketch.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return sketch
