"""Figures of COPO and A-GRAE: drawn from the claims' tables, deterministic, on the page, computing nothing."""

from __future__ import annotations

import importlib
import io
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look
from theory.claim import CLAIMS, Trial, facts

MOVED = {
    "copo_gates": ("value",),
    "copo_global": ("slope",),
    "agrae_credit": ("size",),
    "agrae_learning": ("solved",),
    "agrae_passk": ("passed",),
}
"""Figures, and columns of their first claim that hold measured numbers."""


@cache
def result(name: str) -> Data:
    trial = Trial("quick", 1e-4, 0)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    buffer = io.BytesIO()
    with look():
        FIGURES[name].function(results).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    return {claim: result(claim) for claim in FIGURES[name].claims}


@pytest.mark.parametrize("name", MOVED)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    claim = FIGURES[name].claims[0]
    table = {
        column: values * 0.9 if column in MOVED[name] else values for column, values in results[claim].table.items()
    }
    assert drawn(name, {**results, claim: Data(table)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_caption_claims_and_finite_numbers(name: str) -> None:
    results = results_of(name)
    part = FIGURES[name]
    assert len(part.caption) > 200 and part.title
    assert all(CLAIMS[claim].figure == name for claim in part.claims)
    for data in results.values():
        assert all(np.isfinite(values).all() for values in data.table.values() if values.dtype.kind == "f")


@pytest.mark.parametrize("name", MOVED)
def test_nothing_is_drawn_off_the_page(name: str) -> None:
    results = results_of(name)
    with look():
        sketch = FIGURES[name].function(results)
        sketch.draw_without_rendering()
        for axis in sketch.axes:
            box = axis.get_tightbbox()
            assert box is not None
            assert box.x0 >= -1 and box.y0 >= -1
            assert box.x1 <= sketch.bbox.x1 + 1 and box.y1 <= sketch.bbox.y1 + 1
