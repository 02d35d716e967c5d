"""Answers about turn rewards, several rewards and split groups: one sentence each, with the evidence's numbers."""

from __future__ import annotations

import importlib
import re

import pytest
from dense_trials import result

from theory.question import QUESTIONS

EXPECTED = {
    "several_rewards": ("1.64", "0.146", "63 %", "0.28", "0.40", "within 0.01"),
    "splitting_by_a_metric": ("0.918", "0.976", "0.994", "0.515", "0.33", "1.07"),
    "normalising_turn_rewards": ("1.000", "0.462", "0.133", "38 %"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_is_one_sentence_with_the_numbers(name: str) -> None:
    importlib.import_module(f"theory.questions.{name}")
    question = QUESTIONS[name]
    answer = question.function({claim: result(claim).meta for claim in question.claims})
    assert answer.endswith(".") and not re.search(r"[.!?] [A-Z]", answer) and "\n" not in answer
    assert [number for number in EXPECTED[name] if number not in answer] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_answer_follows_the_evidence(name: str) -> None:
    question = QUESTIONS[name]
    evidence = {claim: dict(result(claim).meta) for claim in question.claims}
    once = question.function(evidence)
    moved = {
        "several_rewards": ("dvao.gradient-variance", {"w 0.5, correlation 0": [1.0, 3.0]}),
        "splitting_by_a_metric": ("canon.variance", {"trace": {"4": [3.0, 2.0, 1.0]}}),
        "normalising_turn_rewards": ("a2tgpo.root-rule", {f"gamma {g}, 10 left": 7.0 for g in ("1", "0.9", "0.5")}),
    }[name]
    evidence[moved[0]] = {**evidence[moved[0]], "detail": moved[1]}
    assert question.function(evidence) != once
