"""Answers about COPO and A-GRAE: one sentence each, with the numbers of the evidence."""

from __future__ import annotations

import copy
import importlib
import re

import pytest
from difficulty_trials import result

from theory.question import QUESTIONS

EXPECTED = {
    "all_wrong_groups": ("92 %", "78 %", "0.88", "0.93", "99 %", "0.04 %"),
    "unsampled_answers": ("0.8215", "1.1178", "0.18", "1.227", "0.9999", "0.927", "0.751"),
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
    question = QUESTIONS["all_wrong_groups"]
    evidence = {claim: copy.deepcopy(dict(result(claim).meta)) for claim in question.claims}
    before = question.function(evidence)
    evidence["copo.soft-gate"]["detail"]["diverse"] = 0.5
    assert question.function(evidence) != before
