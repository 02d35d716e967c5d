"""Answers about baselines, critics and per-turn rewards: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from base_trials import result

from theory.question import QUESTIONS

EXPECTED = {
    "per_turn_normalisation": ("-1.31", "-0.75", "wrong sign"),
    "least_variance_baseline": ("61 %", "0 % of tasks with orthogonal scores"),
    "wrong_critic": ("24 %", "1.6 %", "nothing at 1"),
}


def evidence_of(name: str) -> dict[str, dict[str, Any]]:
    importlib.import_module(f"theory.questions.{name}")
    return {claim: dict(result(claim).meta) for claim in QUESTIONS[name].claims}


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_is_one_sentence_with_the_numbers(name: str) -> None:
    answer = QUESTIONS[name].function(evidence_of(name))
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    for number in EXPECTED[name]:
        assert number in answer
    assert 2 <= QUESTIONS[name].text.count("\n\n") + 1 <= 4


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_follow_the_evidence(name: str) -> None:
    evidence = evidence_of(name)
    before = QUESTIONS[name].function(evidence)
    moved = {claim: {**found, "detail": _moved(found["detail"])} for claim, found in evidence.items()}
    assert QUESTIONS[name].function(moved) != before


def _moved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _moved(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_moved(v) for v in value]
    return value + 0.25 if isinstance(value, float) else value
