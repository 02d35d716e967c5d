"""HGPO's figures: drawn from the claims' tables, deterministic, with captions, computing nothing."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from figures.base import FIGURES, Data
from figures.style import look
from theory.claim import CLAIMS, Trial, facts

NAMES = ("context_bias", "hgpo_alpha", "hgpo_levels", "hgpo_zero_drop")
MEASURED = {"measured", "off", "alignment", "factor", "mse", "best", "deep"}
"""Columns that hold what was measured, whichever claim they are from."""


@cache
def hgpo_table(name: str) -> Data:
    trial = Trial("quick", 1e-4, 0)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    buffer = io.BytesIO()
    with look():
        FIGURES[name].function(results).savefig(buffer, format="png", dpi=60, metadata={"Software": None})
    return buffer.getvalue()


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    return {claim: hgpo_table(claim) for claim in FIGURES[name].claims}


@pytest.mark.parametrize("name", NAMES)
def test_equal_data_give_equal_bytes_and_no_table_is_ignored(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    for claim in FIGURES[name].claims:
        table = results[claim].table
        other = {c: 0.9 * v + 0.05 if c in MEASURED else v for c, v in table.items()}
        assert MEASURED.intersection(table), claim
        assert drawn(name, {**results, claim: Data(other)}) != once, claim


@pytest.mark.parametrize("name", NAMES)
def test_hgpo_caption_and_claims(name: str) -> None:
    results_of(name)
    part = FIGURES[name]
    assert len(part.caption) > 200 and part.title
    assert all(CLAIMS[claim].figure == name for claim in part.claims)
    named = {c.name for c in CLAIMS if c.figure == name}
    assert named == set(part.claims)


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
def test_source_imports_nothing_that_computes(name: str) -> None:
    results_of(name)
    source = Path(sys.modules[f"figures.{name}"].__file__ or "").read_text()
    for module in ("creditsim.estimators", "creditsim.exact", "creditsim.sampling", "creditsim.mdp", "theory"):
        assert f"import {module}" not in source and f"from {module}" not in source
