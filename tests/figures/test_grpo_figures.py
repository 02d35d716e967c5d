"""Figures of the RLOO and GRPO family: drawn from the claims' tables, the same bytes each time, nothing computed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look, render

TRIALS = Path(__file__).parent.parent / "theory"
NAMES = (
    "std_reweighting", "degenerate_share", "dapo_filter", "group_or_batch_std", "whitening", "rejected_answers",
    "ddof", "conformance_matrix",
)  # fmt: skip
FORBIDDEN = ("creditsim.estimators", "creditsim.exact", "creditsim.sampling", "creditsim.mdp")


@pytest.fixture(scope="module")
def stored() -> dict[str, Data]:
    sys.path.insert(0, str(TRIALS))
    try:
        trials = importlib.import_module("grpo_trials")
    finally:
        sys.path.remove(str(TRIALS))
    wanted = {claim for name in NAMES for claim in part(name).claims}
    return trials.results(tuple(sorted(wanted)))


def part(name: str):
    importlib.import_module(f"figures.{name}")
    return FIGURES[name]


MEASURED = {
    "std_reweighting": "factor", "degenerate_share": "share", "dapo_filter": "mean", "group_or_batch_std": "degrees",
    "whitening": "degrees", "rejected_answers": "degrees", "ddof": "other", "conformance_matrix": "advantage",
}  # fmt: skip
"""A column of each figure's first claim that holds what was computed."""


def drawn(name: str, results: dict[str, Data]) -> bytes:
    with look():
        return render(part(name).function(results), "svg")


@pytest.mark.parametrize("name", NAMES)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str, stored: dict[str, Data]):
    once = drawn(name, stored)
    assert drawn(name, stored) == once
    claim, column = part(name).claims[0], MEASURED[name]
    moved = {**stored[claim].table, column: 0.9 * stored[claim][column]}
    assert drawn(name, {**stored, claim: Data(moved)}) != once


@pytest.mark.parametrize("name", NAMES)
def test_caption_and_title(name: str):
    assert part(name).title and len(part(name).caption) > 100


@pytest.mark.parametrize("name", NAMES)
def test_draws_from_a_few_rows(name: str, stored: dict[str, Data]):
    """A third of the points of each line will do: nothing may depend on how many there are."""
    thin = {claim: _thinned(data) for claim, data in stored.items()}
    with look():
        sketch = part(name).function(thin)
    assert all(np.isfinite(axis.get_xlim()).all() for axis in sketch.axes)


def _thinned(data: Data) -> Data:
    if "line" not in data.table:
        return data
    keep = ~data["line"] | (np.arange(data["line"].size) % 3 == 0)
    return Data({name: column[keep] for name, column in data.table.items()}, data.meta)


@pytest.mark.parametrize("name", NAMES)
def test_no_figure_imports_what_computes(name: str):
    spec = importlib.util.find_spec(f"figures.{name}")
    assert spec is not None and spec.origin is not None
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [m for m in modules if m.startswith(FORBIDDEN)]


def test_presets_with_equal_numbers_share_a_line(stored: dict[str, Data]):
    from figures.conformance_matrix import _lines

    data = stored["grpo.conventions"]
    lines = [(name, presets) for name, presets, *_ in _lines(data, data.unique("case"))]
    assert ("rloo", "paper, verl-vectorized, trl") in lines
    assert [presets for name, presets in lines if name == "grpo"] == [
        "paper", "verl", "verl-vectorized", "verl-agent", "trl",
    ]  # fmt: skip


def test_the_matrix_marks_a_refusal(stored: dict[str, Data]):
    """A group of one has no second best: the pass@k presets that refuse it show a dash."""
    with look():
        sketch = part("conformance_matrix").function(stored)
    assert "–" in {text.get_text() for text in sketch.axes[0].texts}
