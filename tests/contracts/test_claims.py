"""Contracts of every registered claim, figure, question and built-in study; they run over the registries."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from creditsim.registry import EVIDENCE
from figures.base import FIGURES
from theory.claim import CLAIMS, KINDS
from theory.question import QUESTIONS
from theory.study import PREFIX, STUDIES

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")
FILE_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
COMPUTING = ("creditsim.estimators", "creditsim.exact", "creditsim.sampling", "creditsim.mdp", "creditsim.train")


def known(name: str) -> bool:
    """Whether a name among a figure's `claims` is a claim or a built-in study."""
    return name.removeprefix(PREFIX) in STUDIES if name.startswith(PREFIX) else name in CLAIMS


@pytest.mark.parametrize("name", CLAIMS.names())
def test_a_claim_says_what_it_states_and_can_fail(name: str) -> None:
    claim = CLAIMS[name]
    assert ID.fullmatch(name), "<paper>.<short-name>"
    assert claim.paper and claim.evidence in EVIDENCE and claim.claim_kind in KINDS
    assert len(claim.statement) >= 40, "the docstring is the statement"
    assert re.search(r"[<>=≤≥≠0-9]|\bequals?\b", claim.statement), "an (in)equality or a number"
    assert claim.broken.description and claim.broken.check is not claim.function
    if claim.control is not None:
        assert claim.control.description and claim.control.check not in (claim.function, claim.broken.check)


@pytest.mark.parametrize("name", [c.name for c in CLAIMS if c.figure])
def test_the_figure_of_a_claim_draws_that_claim(name: str) -> None:
    figure = CLAIMS[name].figure
    assert figure in FIGURES, f"no figure {figure}"
    assert name in FIGURES[figure].claims, f"{figure} does not draw {name}"


@pytest.mark.parametrize("name", FIGURES.names())
def test_a_figure_has_a_caption_and_results_to_draw(name: str) -> None:
    figure = FIGURES[name]
    assert FILE_NAME.fullmatch(name)
    assert figure.title and len(figure.caption) >= 40
    assert figure.claims, "a figure draws at least one stored result"
    assert [c for c in figure.claims if not known(c)] == []


@pytest.mark.parametrize("name", FIGURES.names())
def test_a_figure_computes_nothing(name: str) -> None:
    """Its module imports nothing that computes, not even inside functions."""
    source = Path(inspect.getfile(FIGURES[name].function)).read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert sorted(i for i in imported if i.startswith(COMPUTING)) == []
    assert "matplotlib.pyplot" not in imported, "a figure leaves the user's backend alone"


@pytest.mark.parametrize("name", QUESTIONS.names())
def test_a_question_names_claims_and_a_figure_that_exist(name: str) -> None:
    question = QUESTIONS[name]
    assert FILE_NAME.fullmatch(name)
    assert question.title and question.asked and len(question.text) >= 200
    assert question.claims and [c for c in question.claims if c not in CLAIMS] == []
    assert question.figure in FIGURES, f"no figure {question.figure}"


def test_the_ledger_fits_the_error_level_of_its_rows() -> None:
    """A verdict of one interval passes Holm as long as alpha of a row times the statements is within a half."""
    from theory.ledger import FAMILY_ALPHA, ROW_ALPHA

    assert 2 * len(CLAIMS.names()) * ROW_ALPHA <= FAMILY_ALPHA / 2
