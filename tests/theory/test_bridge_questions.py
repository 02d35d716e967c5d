"""The answer about text agents: one sentence, with the numbers of the evidence."""

from __future__ import annotations

import re

from bridge_trials import result

import theory.questions.text_assumptions  # noqa: F401
from theory.question import QUESTIONS

QUESTION = QUESTIONS["text_assumptions"]


def test_answer_is_one_sentence_with_the_numbers() -> None:
    answer = QUESTION.function({claim: result(claim).meta for claim in QUESTION.claims})
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    for number in ("92 %", "91 %", "98 %", "97 %", "54 %", "95 %", "47 %", "96 %", "83 %"):
        assert number in answer
    assert 2 <= QUESTION.text.count("\n\n") + 1 <= 4


def test_numbers_follow_the_evidence() -> None:
    evidence = {claim: dict(result(claim).meta) for claim in QUESTION.claims}
    before = QUESTION.function(evidence)
    moved = evidence["hgpo.context-inconsistency"]
    moved["detail"] = {**moved["detail"], "webshop_random": {"share": 0.123}}
    assert "12 %" in QUESTION.function(evidence) != before
