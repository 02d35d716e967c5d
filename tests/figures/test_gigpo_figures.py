"""GiGPO's figures: drawn from the claims' tables, deterministic, with captions, computing nothing."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look
from theory.claim import CLAIMS, Trial, facts

MOVED = {
    "row_weighting": ("value",),
    "anchor_revisit": ("bias",),
    "anchor_size": ("mean",),
    "gigpo_edge": ("edge", "edge_low", "edge_high"),
    "float32_noise": ("worst",),
    "singleton_rules": ("advantage",),
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
def test_what_is_drawn_is_finite(name: str) -> None:
    for claim, data in results_of(name).items():
        for column, values in data.table.items():
            # Shares of lone rows are not part of the exact sums.
            if values.dtype.kind == "f" and (claim, column) != ("gigpo.step-level-edge-fatal", "singletons"):
                assert np.isfinite(values).all(), (claim, column)


@pytest.mark.parametrize("name", MOVED)
def test_caption_and_claims(name: str) -> None:
    results_of(name)
    part = FIGURES[name]
    assert len(part.caption) > 200 and part.title
    assert all(CLAIMS[claim].figure == name for claim in part.claims)


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


@pytest.mark.parametrize("name", MOVED)
def test_source_imports_nothing_that_computes(name: str) -> None:
    results_of(name)
    source = Path(sys.modules[f"figures.{name}"].__file__ or "").read_text()
    for module in ("creditsim.estimators", "creditsim.exact", "creditsim.sampling", "creditsim.mdp", "theory"):
        assert f"import {module}" not in source and f"from {module}" not in source
