"""What an answered question is: a page whose one sentence carries numbers, and whose figure shows them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from creditsim.registry import Part, Registry

__all__ = ["QUESTIONS", "Answered", "Question", "answer_all", "question"]

Answer = Callable[[Mapping[str, Mapping[str, Any]]], str]


@dataclass(frozen=True)
class Question(Part):
    """A registered question: its title, who asked it, the claims that decide it, the figure that shows it.

    `function(evidence)` gets the evidence of each claim in `claims` as a mapping (statistic, interval, detail, ...) and
    returns one sentence with numbers; the page's text is the docstring.
    """

    title: str = ""
    asked: str = ""
    claims: tuple[str, ...] = ()
    figure: str = ""

    @property
    def text(self) -> str:
        """The page's text: paragraphs separated by blank lines."""
        return inspect.getdoc(self.function) or ""


QUESTIONS: Registry[Question] = Registry("question", "theory.questions")


@dataclass(frozen=True)
class Answered:
    """A question with its sentence; without one, `missing` names the claims not checked or `failed` says what broke."""

    question: Question
    sentence: str = ""
    missing: tuple[str, ...] = ()
    failed: str = ""


def answer_all(
    evidence: Mapping[str, Mapping[str, Any]], questions: Iterable[Question] | None = None
) -> list[Answered]:
    """Answer the questions (None: all) from the evidence, by claim id, of the claims that decide them."""
    out = []
    for asked in QUESTIONS if questions is None else questions:
        missing = tuple(name for name in asked.claims if name not in evidence)
        if missing:
            out.append(Answered(asked, missing=missing))
            continue
        try:
            sentence = asked.function({name: evidence[name] for name in asked.claims})
        except Exception as error:  # one page that cannot be formed must not lose the report
            out.append(Answered(asked, failed=f"{type(error).__name__}: {error}"))
        else:
            out.append(Answered(asked, " ".join(sentence.split())))
    return out


def question(name: str, *, title: str, asked: str, claims: tuple[str, ...], figure: str) -> Callable[[Answer], Answer]:
    """Register `answer(evidence) -> sentence` under an id that becomes the page's file name."""

    def register(answer: Answer) -> Answer:
        QUESTIONS.add(Question("question", name, answer, title=title, asked=asked, claims=claims, figure=figure))
        return answer

    return register
