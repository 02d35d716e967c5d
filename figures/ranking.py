"""A ranking of estimators as a figure: each with its interval, best at the top. It draws numbers that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from figures.style import COLOURS, NEUTRAL, look, new, render

__all__ = ["draw_ranking", "ranking_file"]

_WORDS = {
    "gradient_efficiency": "gradient efficiency (1: no noise, no bias)",
    "gradient_mse": "mean squared error of the gradient",
    "gradient_cosine": "cosine of the mean gradient and the exact one",
    "mse": "mean squared error of the advantage",
    "sign_agreement": "share of advantages with the right sign",
}


def draw_ranking(rows: Sequence[Any], criterion: str, title: str = "") -> Figure:
    """Point and interval of each estimator's criterion, best at the top, and how often each came first in resamples.

    `rows` have `estimator`, `quantities`, `rank`, `ties` and `share` as a digital twin's ranking has them.
    """
    shared = any(row.share for row in rows)
    sketch, axes = new(1, 2 if shared else 1, height=0.9 + 0.24 * len(rows), squeeze=False, sharey=True)
    axis = axes[0, 0]
    for row in rows:
        at, line = len(rows) - row.rank, row.quantities[criterion]
        if line["value"] is None:
            axis.annotate("no gradient to estimate", (0.5, at), xycoords=axis.get_yaxis_transform(), color=NEUTRAL)
            continue
        low, high = (line["value"] if line[end] is None else line[end] for end in ("low", "high"))
        axis.plot([low, high], [at, at], color=COLOURS[0])
        axis.plot(line["value"], at, "o", color=COLOURS[0], fillstyle="none")
    axis.set(xlabel=_WORDS[criterion], ylim=(-0.6, len(rows) - 0.4), title=title)
    axis.set_yticks([len(rows) - row.rank for row in rows], [row.estimator for row in rows])
    if shared:
        first = axes[0, 1]
        for row in rows:
            first.barh(len(rows) - row.rank, row.share[0], height=0.5, color=COLOURS[1], alpha=0.6)
        first.set(xlabel="share of resampled logs in which it came first", xlim=(0.0, 1.0))
    return sketch


def ranking_file(rows: Sequence[Any], criterion: str, title: str, kind: str) -> bytes:
    """The figure as the bytes of a png, svg or pdf file."""
    with look():
        return render(draw_ranking(rows, criterion, title), kind)
