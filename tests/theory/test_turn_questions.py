"""Answers about turns and plateaus: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import importlib
import re

import pytest
from turn_trials import result

from theory.question import QUESTIONS

NAMES = ("turn_order", "monotone_without_critic", "plateau")


@pytest.mark.parametrize("name", NAMES)
def test_answer_is_one_sentence_with_numbers_that_follow_the_evidence(name: str) -> None:
    importlib.import_module(f"theory.questions.{name}")
    question = QUESTIONS[name]
    evidence = {claim: dict(result(claim).meta) for claim in question.claims}
    answer = question.function(evidence)
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    assert len(re.findall(r"\d", answer)) >= 8
    assert 2 <= question.text.count("\n\n") + 1 <= 4
    for claim in question.claims:
        moved = {**evidence, claim: {**evidence[claim], "detail": _moved(evidence[claim]["detail"])}}
        assert question.function(moved) != answer, claim


def _moved(value: object) -> object:
    if isinstance(value, dict):
        return {key: _moved(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_moved(v) for v in value]
    return 0.5 * value - 0.25 if isinstance(value, float) else value


def test_numbers_of_the_plateau_page() -> None:
    answer = QUESTIONS["plateau"].function({claim: result(claim).meta for claim in QUESTIONS["plateau"].claims})
    assert re.search(r"step\^1\.0\d", answer) and re.search(r"samples\^1\.0\d|samples\^0\.9\d", answer)
