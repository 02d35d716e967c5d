"""Figures of conservative exploration: deterministic, captioned, computing nothing."""

from __future__ import annotations

import ast
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

MOVED = {"stepmix_regret": "regret", "stepmix_value": "value", "stepmix_mixture": "value"}
"""Figures, and a column of their first claim that holds measured numbers."""


@cache
def result(name: str) -> Data:
    trial = Trial("quick", 2e-5, 0)
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
    table = {column: v * 0.9 if column == MOVED[name] else v for column, v in results[claim].table.items()}
    assert drawn(name, {**results, claim: Data(table)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_numbers_are_finite_and_the_caption_is_there(name: str) -> None:
    for claim, data in results_of(name).items():
        assert CLAIMS[claim].figure == name
        for column, values in data.table.items():
            assert values.dtype.kind != "f" or np.isfinite(values).all(), (claim, column)
    assert len(FIGURES[name].caption) > 200 and FIGURES[name].title


@pytest.mark.parametrize("name", MOVED)
def test_one_environment_is_enough_to_draw(name: str) -> None:
    few = {}
    for claim, data in results_of(name).items():
        if "environment" in data.table:
            data = data.where(environment=data.unique("environment")[0])
        few[claim] = Data(data.table)
    assert drawn(name, few)


@pytest.mark.parametrize("name", MOVED)
def test_source_imports_nothing_that_computes(name: str) -> None:
    results_of(name)
    tree = ast.parse(Path(sys.modules[f"figures.{name}"].__file__ or "").read_text())
    modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert not [m for m in modules if m.startswith(("creditsim", "theory"))]
