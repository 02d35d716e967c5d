"""Answers about GiGPO: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import importlib
import re

import pytest
from gigpo_trials import result

from theory.question import QUESTIONS

EXPECTED = {
    "rows_or_trajectories": ("+0.909", "-0.091", "0.2356", "0.21875", "0.2497"),
    "groups_of_one": ("+0.20", "-0.60", "0.46", "0.18"),
    "anchor_groups": ("0.2965", "0.2727", "0.59", "0.57", "0.05/N"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_is_one_sentence_with_the_numbers(name: str) -> None:
    importlib.import_module(f"theory.questions.{name}")
    question = QUESTIONS[name]
    answer = question.function({claim: result(claim).meta for claim in question.claims})
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    for number in EXPECTED[name]:
        assert number in answer
    assert 2 <= question.text.count("\n\n") + 1 <= 4


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_follow_the_evidence(name: str) -> None:
    question = QUESTIONS[name]
    evidence = {claim: dict(result(claim).meta) for claim in question.claims}
    before = question.function(evidence)
    first = evidence[question.claims[0]]
    first["detail"] = {key: _moved(value) for key, value in first["detail"].items()}
    assert question.function(evidence) != before


def _moved(value: object) -> object:
    if isinstance(value, dict):
        return {key: _moved(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_moved(v) for v in value]
    return value + 0.25 if isinstance(value, float) else value
