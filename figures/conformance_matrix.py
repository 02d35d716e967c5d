"""Which library computes what: every preset on the same groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import DOUBLE, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONVENTIONS = "grpo.conventions"
SHADE = "#FBE3D6"
LABELS = 4.6
"""Width of the labels, in columns of numbers."""


@figure("conformance_matrix", title="Which library computes what", claims=(CONVENTIONS,))
def conformance_matrix(results: Mapping[str, Data]) -> Figure:
    """Advantage of the first member, a success, of the same groups under every preset of every registered estimator;
    presets of an estimator with the same numbers throughout share a line. Columns: k successes among n rewards 0 and 1;
    then two rewards 0.001 and 0; a group of one; four equal rewards; successes of 5 steps against failures of 50; one
    success, two failures and a rejected answer of weight 0. Shaded: differs by more than 1 % from the estimator's first
    line. A dash: the estimator refuses the group. Values are 0 for critics, greedy rollouts score 0.
    """
    data = results[CONVENTIONS]
    cases = data.unique("case")
    lines = _lines(data, cases)
    sketch, axis = new(width=DOUBLE, height=0.75 + 0.145 * len(lines))
    axis.set(xlim=(0, LABELS + len(cases) + 0.6), ylim=(len(lines), -0.2))
    axis.axis("off")
    for column, case in enumerate(cases):
        axis.text(
            LABELS + 0.4 + column, -0.3, case.replace(", ", ",\n"), ha="left", va="bottom", fontsize=6.5, rotation=30
        )
    for row, (name, presets, values, first) in enumerate(lines):
        if first is None:
            axis.axhline(row, color=NEUTRAL, linewidth=0.4)
            axis.text(0, row + 0.5, name, ha="left", va="center", fontsize=6, fontweight="bold")
        axis.text(LABELS - 0.1, row + 0.5, presets, ha="right", va="center", fontsize=6)
        for column, value in enumerate(values):
            if first is not None and _differs(value, first[column]):
                axis.barh(row + 0.5, 0.92, 1.0, left=LABELS + column, color=SHADE)
            text = "–" if np.isnan(value) else f"{value:.4g}"
            axis.text(LABELS + 0.46 + column, row + 0.5, text, ha="center", va="center", fontsize=6)
    return sketch


def _lines(data: Data, cases: list[str]) -> list[tuple[str, str, np.ndarray, np.ndarray | None]]:
    """Estimator, its presets with equal numbers, the numbers, and those of its first line (None for that line)."""
    out: list[tuple[str, str, np.ndarray, np.ndarray | None]] = []
    for name in data.unique("estimator"):
        rows = data.where(estimator=name)
        merged: list[tuple[list[str], np.ndarray]] = []
        for preset in rows.unique("preset"):
            one = rows.where(preset=preset)
            values = np.array([one.where(case=case)["advantage"][0] for case in cases])
            same = next((names for names, other in merged if not any(map(_differs, values, other))), None)
            if same is None:
                merged.append(([preset], values))
            else:
                same.append(preset)
        first = merged[0][1]
        out += [(name, ", ".join(names), values, first if i else None) for i, (names, values) in enumerate(merged)]
    return out


def _differs(a: float, b: float) -> bool:
    return bool(np.isnan(a) != np.isnan(b) or abs(a - b) > 0.01 * max(abs(a), abs(b)))
