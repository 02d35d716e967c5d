"""Figures of 3SPO on tables: deterministic, captioned, computing nothing."""

from __future__ import annotations

import ast
import importlib
import io
import itertools
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from figures.base import FIGURES, Data
from figures.style import look
from theory.claim import CLAIMS, Trial, facts

SHOWN = {"score_over_visits": "score", "trap_defect": "drift", "three_spo_vs": "value", "inverted_u": "j"}
"""Figures, and a column of their first claim that holds what is drawn."""
QUICK = ("score_over_visits", "trap_defect")
"""Figures of exact claims; the tables of the others are made up here, for their claims train policies."""


@cache
def exact(name: str) -> Data:
    trial = Trial("quick", 2e-5, 0)
    return Data((evidence := CLAIMS[name].function(trial)) and trial.data, facts(evidence))


def made_up(name: str) -> dict[str, Data]:
    if name == "inverted_u":
        table = {"place": np.arange(3), "alpha": np.array([1.0, 50.0, 200.0]), "xi": np.array([5.0, 10.0, 20.0])}
        j = np.array([0.9, 0.5, 0.4])
        table |= {"zeta": np.array([0.05, 0.1, 0.2]), "j": j, "low": j - 0.1, "high": j + 0.1}
        return {claim: Data(table) for claim in FIGURES[name].claims}
    names = ("environment", "way", "transitions", "quantity")
    rows = list(itertools.product(("a", "b"), ("GRPO", "3SPO"), (0.0, 10.0, 20.0), ("j", "met", "silent")))
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}
    value = np.linspace(0, 1, len(rows))
    table = {**columns, "value": value, "low": value - 0.1, "high": value + 0.1}
    return {claim: Data(table) for claim in FIGURES[name].claims}


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    return {claim: exact(claim) for claim in FIGURES[name].claims} if name in QUICK else made_up(name)


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    buffer = io.BytesIO()
    with look():
        FIGURES[name].function(results).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize("name", SHOWN)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    first = FIGURES[name].claims[0]
    table = {column: v * 0.9 if column == SHOWN[name] else v for column, v in results[first].table.items()}
    assert drawn(name, {**results, first: Data(table)}) != once


@pytest.mark.parametrize("name", SHOWN)
def test_caption_and_claims(name: str) -> None:
    results_of(name)
    assert len(FIGURES[name].caption) > 200
    assert all(CLAIMS[claim].figure == name for claim in FIGURES[name].claims)


@pytest.mark.parametrize("name", SHOWN)
def test_source_imports_nothing_that_computes(name: str) -> None:
    results_of(name)
    tree = ast.parse(Path(sys.modules[f"figures.{name}"].__file__ or "").read_text())
    modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not [m for m in modules if m.startswith(("creditsim", "theory"))]
