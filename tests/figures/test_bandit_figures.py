"""Figures of the per-state bandit: deterministic, captioned, computing nothing."""

from __future__ import annotations

import ast
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
    "allocation_regret": "waste",
    "alpha_delta_phase": "exponent",
    "lock_in": "never",
    "false_truncation": "ever",
}
"""Figures, and a column of their first claim that holds measured numbers."""


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
    table = {column: v * 0.9 if column == MOVED[name] else v for column, v in results[claim].table.items()}
    assert drawn(name, {**results, claim: Data(table)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_numbers_are_finite_and_the_caption_is_there(name: str) -> None:
    for claim, data in results_of(name).items():
        assert CLAIMS[claim].figure == name
        for column, values in data.table.items():
            assert values.dtype.kind != "f" or np.isfinite(values).all(), (claim, column)
    part = FIGURES[name]
    assert len(part.caption) > 200 and part.title


@pytest.mark.parametrize("name", MOVED)
def test_the_smallest_tables_draw(name: str) -> None:
    results = results_of(name)
    few = {claim: Data({c: v[:1] for c, v in data.table.items()}, data.meta) for claim, data in results.items()}
    if name == "alpha_delta_phase":  # a map needs two values each way
        table = results["3spo.regret-border"].table
        alpha, gap = (np.isin(table[c], np.unique(table[c])[:2]) for c in ("alpha", "gap"))
        few["3spo.regret-border"] = Data({c: v[alpha & gap] for c, v in table.items()})
    assert drawn(name, few)


@pytest.mark.parametrize("name", MOVED)
def test_figures_compute_nothing(name: str) -> None:
    source = Path(str(sys.modules[FIGURES[name].function.__module__].__file__)).read_text(encoding="utf-8")
    imported = {
        node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert not any(module.startswith(("creditsim", "theory")) for module in imported)
