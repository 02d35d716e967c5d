"""Answers to questions about normalisation carry the numbers of their claims."""

from __future__ import annotations

import importlib

import pytest
from grpo_trials import names, run

from theory.question import QUESTIONS

ANSWERS = {
    "group_or_batch_std": ("4.6°", "10.5°", "+0.0106", "-0.0008"),
    "ddof": ("1.069", "0.935", "1.414", "1.033", "2.8°"),
    "normalising_the_gradient": ("2.41", "1.74", "7.14", "2.47", "53°"),
    "rejected_rollouts": ("1.500", "1.155", "6.8°", "22.9°", "0.0°"),
}


@pytest.mark.parametrize(("name", "numbers"), ANSWERS.items())
def test_answer(name: str, numbers: tuple[str, ...]):
    importlib.import_module(f"theory.questions.{name}")
    page = QUESTIONS[name]
    sentence = page.function({claim: run(claim)[1] for claim in page.claims})
    assert all(number in sentence for number in numbers), sentence
    assert set(page.claims) <= set(names())
    assert len(page.text.split("\n\n")) >= 2 and page.asked and page.title.endswith("?")
