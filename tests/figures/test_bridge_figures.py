"""Figures of text recordings: deterministic, labelled, drawn from the claims' tables alone."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures.base import FIGURES, Data
from figures.style import look, render
from theory.claim import CLAIMS, Trial, facts

MOVED = {"text_groups": ("hgpo.context-inconsistency", "share"), "text_learning": ("bridge.learns", "steps")}
"""Figures, and a claim with a column of its table that holds what is drawn."""

_done: dict[str, Data] = {}


def results_of(name: str) -> dict[str, Data]:
    importlib.import_module(f"figures.{name}")
    for claim in FIGURES[name].claims:
        if claim not in _done:
            trial = Trial("quick", 1e-5, 0)
            evidence = CLAIMS[claim].function(trial)
            _done[claim] = Data(trial.data, facts(evidence))
    return {claim: _done[claim] for claim in FIGURES[name].claims}


def sketch(name: str, results: Mapping[str, Data]) -> Figure:
    with look():
        return FIGURES[name].function(results)


def drawn(name: str, results: Mapping[str, Data]) -> bytes:
    with look():
        return render(FIGURES[name].function(results), "svg")


@pytest.mark.parametrize("name", MOVED)
def test_equal_data_give_equal_bytes_and_other_data_do_not(name: str) -> None:
    results = results_of(name)
    once = drawn(name, results)
    assert once == drawn(name, results)
    claim, column = MOVED[name]
    table = {c: v * 0.9 if c == column else v for c, v in results[claim].table.items()}
    assert drawn(name, {**results, claim: Data(table)}) != once


@pytest.mark.parametrize("name", MOVED)
def test_labels_legends_and_caption_are_there(name: str) -> None:
    figure = sketch(name, results_of(name))
    assert all(axis.get_xlabel() or axis.get_title() for axis in figure.axes)
    named = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    named += [t.get_text() for axis in figure.axes if (box := axis.get_legend()) for t in box.get_texts()]
    assert {"GRPO", "GiGPO", "HGPO"} <= set(named)
    assert FIGURES[name].title and len(FIGURES[name].caption) > 200
    for axis in figure.axes:
        low, high = axis.get_ylim()
        for line in axis.get_lines():
            y = np.asarray(line.get_ydata(), float)
            inside = y[np.isfinite(y)]
            assert ((inside >= min(low, high)) & (inside <= max(low, high))).all(), axis.get_title()


def test_tables_are_beside_the_texts_and_every_recording_is_drawn() -> None:
    figure = sketch("text_groups", results_of("text_groups"))
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"ALFWorld, random", "WebShop, warm", "table: grid"} <= named and len(named) == 7


def test_unknown_rollouts_are_drawn_by_their_name() -> None:
    results = results_of("text_groups")
    claim = "gigpo.most-steps-have-company"
    table = dict(results[claim].table)
    table["rollouts"] = np.where(table["rollouts"] == "webshop_tiny", "mine", table["rollouts"])
    figure = sketch("text_groups", {**results, claim: Data(table)})
    assert "mine" in {text.get_text() for text in figure.legends[0].get_texts()}
