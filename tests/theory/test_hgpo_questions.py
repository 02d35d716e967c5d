"""Answers about HGPO: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import copy
import importlib
import re
from typing import Any

import pytest
from hgpo_trials import hgpo_result

from theory.question import QUESTIONS, Question

EXPECTED = {
    "aliasing": ("by 1.00 in anchor groups", "by nothing", "0.682", "1.136", "0.63 to 0.39"),
    "history": ("0.0, 1.6, 5.0 and 8.4", "from 2.5 at N = 3 to 7.2 at N = 16"),
}


def hgpo_evidence(name: str) -> tuple[Question, dict[str, dict[str, Any]]]:
    importlib.import_module(f"theory.questions.{name}")
    question = QUESTIONS[name]
    return question, {claim: copy.deepcopy(dict(hgpo_result(claim).meta)) for claim in question.claims}


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_is_one_sentence_with_the_numbers(name: str) -> None:
    question, evidence = hgpo_evidence(name)
    answer = question.function(evidence)
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    for number in EXPECTED[name]:
        assert number in answer, answer
    assert 2 <= question.text.count("\n\n") + 1 <= 4


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_follow_the_evidence(name: str) -> None:
    question, evidence = hgpo_evidence(name)
    before = question.function(evidence)
    for claim in question.claims:
        moved = {**evidence, claim: {**evidence[claim], "detail": _moved(evidence[claim]["detail"])}}
        assert question.function(moved) != before, claim


def _moved(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _moved(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_moved(v) for v in value]
    return value + 0.25 if isinstance(value, float) else value
