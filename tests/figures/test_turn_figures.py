"""Figures about turns and plateaus: drawn from the claims' tables, deterministic, on the page, computing nothing."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look
from theory.claim import CLAIMS, Trial, facts

MOVED = {
    "turn_orders": ("share", "low", "high"),
    "monotonicity": ("share",),
    "backbones": ("worst", "drops"),
    "batch_clamp": ("difference",),
    "product_clip": ("predicted", "variance"),
    "plateau_gap": ("gap", "low", "high"),
    "plateau_resumes": ("gap", "low", "high"),
}
"""Figures, and columns of their first claim that hold the numbers drawn."""


@cache
def result(name: str) -> Data:
    trial = Trial("quick", 1e-4, 0)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    return {claim: result(claim) for claim in FIGURES[name].claims}


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    buffer = io.BytesIO()
    with look():
        FIGURES[name].function(results).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", MOVED)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    claim = FIGURES[name].claims[0]
    table = {c: values * 0.9 if c in MOVED[name] else values for c, values in results[claim].table.items()}
    assert drawn(name, {**results, claim: Data(table)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_caption_claims_and_page(name: str) -> None:
    results = results_of(name)
    part = FIGURES[name]
    assert len(part.caption) > 200 and part.title
    assert all(CLAIMS[claim].figure == name for claim in part.claims)
    with look():
        sketch = part.function(results)
        sketch.draw_without_rendering()
        for axis in sketch.axes:
            box = axis.get_tightbbox()
            assert box is not None and np.isfinite([box.x0, box.y0, box.x1, box.y1]).all()
            assert min(box.x0, box.y0) >= -1 and box.x1 <= sketch.bbox.x1 + 1 and box.y1 <= sketch.bbox.y1 + 1


@pytest.mark.parametrize("name", MOVED)
def test_source_imports_nothing_that_computes(name: str) -> None:
    source = (Path(__file__).parents[2] / "figures" / f"{name}.py").read_text()
    for module in ("creditsim", "theory"):
        assert f"import {module}" not in source and f"from {module}" not in source
