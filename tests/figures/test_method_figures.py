"""Figures of the methods of learning claims: drawn from the claims' tables, deterministic, on the page."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look, render
from theory.claim import CLAIMS, Trial, facts

MOVED = {
    "a2tgpo_positions": ("mean",),
    "a2tgpo_variance": ("variance",),
    "agrae_credit": ("size",),
    "agrae_learning": ("solved",),
    "agrae_passk": ("passed",),
    "backbones": ("worst", "drops"),
    "batch_clamp": ("difference",),
    "canon_entropy": ("entropy",),
    "canon_gradient": ("push", "slope"),
    "copo_gates": ("value",),
    "copo_global": ("slope",),
    "dvao_fronts": ("first",),
    "dvao_weights": ("trace",),
    "information_gain": ("regret",),
    "monotonicity": ("share",),
    "plateau_gap": ("gap", "low", "high"),
    "plateau_resumes": ("gap", "low", "high"),
    "product_clip": ("predicted", "variance"),
    "scpo_bonus": ("credit",),
    "scpo_conflict": ("by_signs",),
    "scpo_horizon": ("samples",),
    "scpo_trap": ("bonus",),
    "steppo_ablation": ("j", "low", "high"),
    "steppo_ratio": ("mean",),
    "turn_orders": ("share", "low", "high"),
}
"""Figures, and columns of their first claim that hold measured numbers."""


@cache
def result(name: str) -> Data:
    trial = Trial("quick", 1e-4, 0)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    return {claim: result(claim) for claim in FIGURES[name].claims}


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    with look():
        return render(FIGURES[name].function(results), "svg")


@pytest.mark.parametrize("name", MOVED)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    claim = FIGURES[name].claims[0]
    assert set(MOVED[name]) <= set(results[claim].table)
    table = {c: values * 0.9 if c in MOVED[name] else values for c, values in results[claim].table.items()}
    assert drawn(name, {**results, claim: Data(table, results[claim].meta)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_caption_claims_and_finite_numbers(name: str) -> None:
    results, part = results_of(name), FIGURES[name]
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
            assert box is not None and np.isfinite([box.x0, box.y0, box.x1, box.y1]).all()
            assert min(box.x0, box.y0) >= -1 and box.x1 <= sketch.bbox.x1 + 1 and box.y1 <= sketch.bbox.y1 + 1


@pytest.mark.parametrize("name", MOVED)
def test_source_imports_nothing_that_computes(name: str) -> None:
    results_of(name)
    source = Path(sys.modules[f"figures.{name}"].__file__ or "").read_text()
    for module in ("creditsim", "theory"):
        assert f"import {module}" not in source and f"from {module}" not in source
