"""Answers about SCPO and StepPO: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import copy
import importlib
import re

import pytest
from step_credit_trials import result

from theory.question import QUESTIONS

EXPECTED = {
    "shared_credit": ("0.05", "0.32", "71 %", "72 %", "1.08", "0.96", "-0.099", "+0.030", "0.40", "0.23"),
    "step_or_token": ("0.63", "7.7e-12", "11.6", "3.9e-05", "0.87"),
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


def test_numbers_follow_the_evidence() -> None:
    question = QUESTIONS["shared_credit"]
    evidence = {claim: copy.deepcopy(dict(result(claim).meta)) for claim in question.claims}
    before = question.function(evidence)
    evidence["scpo.matcher-noise"]["detail"]["correlation"]["0.5"] = 0.11
    assert question.function(evidence) != before
