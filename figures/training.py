"""The learning curve of one training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from figures.style import COLOURS, NEUTRAL, look, new, render

__all__ = ["draw"]


def draw(curve: Mapping[str, Any], title: str, optimum: float, kind: str) -> bytes:
    """Bytes (png, svg or pdf) of an exact curve: mean, its interval, the range of replicates, and the optimum.

    `curve` holds `update`, `j`, `low`, `high`, `least`, `most` and `alive`, each (U+1,). Where replicates failed, the
    axis tells how many are left.
    """
    with look():
        sketch, axis = new(width=4.6, height=2.8)
        colour = COLOURS[0]
        update, style = curve["update"], {"color": colour, "linewidth": 0}
        axis.fill_between(update, curve["least"], curve["most"], alpha=0.12, label="all replicates", **style)
        axis.fill_between(
            update,
            curve["low"],
            curve["high"],
            color=colour,
            alpha=0.35,
            linewidth=0,
            label="95 % interval of the mean",
        )
        single = {"marker": "o"} if len(update) == 1 else {}
        axis.plot(update, curve["j"], color=colour, label="mean", **single)
        axis.axhline(optimum, color=NEUTRAL, linewidth=0.8, linestyle="--", label="optimum")
        left, all_of_them = int(curve["alive"][-1]), int(curve["alive"][0])
        lost = f" ({all_of_them - left} of {all_of_them} replicates failed)" if left < all_of_them else ""
        axis.set(xlabel=f"updates{lost}", ylabel="exact return J", title=title)
        axis.margins(x=0.01)
        sketch.legend(loc="outside lower center", ncols=4)
        return render(sketch, kind, dpi=200.0)
