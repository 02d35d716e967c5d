"""What travels between a check, its stored row and a page: trials, facts, patterns, sources, answers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import CLAIMS, KINDS, SIZES, Claim, Size, Trial, claim, evidence_of, facts
from theory.ledger import Row, changes, claim_cells, matches, select
from theory.question import QUESTIONS, Question, answer_all
from theory.sources import modules_behind

FINITE = st.floats(-1e6, 1e6)
NAMES = st.text("abcdefgh.-", min_size=1, max_size=8)


# --- Trials -----------------------------------------------------------------------------------------------------------


@given(size=st.sampled_from(SIZES), values=st.tuples(st.integers(), st.integers(), st.integers()))
def test_a_trial_picks_by_its_size(size: Size, values: tuple[int, int, int]) -> None:
    assert Trial(size, 0.01, 0).pick(*values) == values[SIZES.index(size)]


@given(blocks=st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=4), min_size=1, max_size=5))
def test_tables_grow_by_blocks(blocks: list[list[int]]) -> None:
    trial = Trial("quick", 0.01, 0)
    for i, block in enumerate(blocks):
        trial.table(value=block, block=i, name=f"b{i}")
    assert trial.data["value"].tolist() == [x for block in blocks for x in block]
    assert trial.data["block"].tolist() == [i for i, block in enumerate(blocks) for _ in block]
    assert trial.data["name"].tolist() == [f"b{i}" for i, block in enumerate(blocks) for _ in block]
    assert len({len(column) for column in trial.data.values()}) == 1


def test_tables_are_copies_and_belong_to_one_trial() -> None:
    mine = np.array([1.0, 2.0])
    one, two = Trial("quick", 0.01, 0), Trial("quick", 0.01, 0)
    one.table(x=mine)
    mine[0] = 9.0
    assert one.data["x"].tolist() == [1.0, 2.0] and two.data == {}


@pytest.mark.parametrize("later", [{"x": 1}, {"x": 1, "y": 2, "z": 3}, {"x": 1, "Y": 2}])
def test_tables_refuse_other_columns(later: dict[str, int]) -> None:
    trial = Trial("quick", 0.01, 0)
    trial.table(x=0, y=0)
    with pytest.raises(InputError, match=r"table: got columns"):
        trial.table(**later)
    assert {name: column.tolist() for name, column in trial.data.items()} == {"x": [0], "y": [0]}


@pytest.mark.parametrize("length", [1, 4])
def test_single_values_are_repeated(length: int) -> None:
    trial = Trial("quick", 0.01, 0)
    trial.table(x=np.arange(length), y=0.5, name="a")
    assert trial.data["y"].tolist() == [0.5] * length and trial.data["name"].tolist() == ["a"] * length


# --- Evidence ---------------------------------------------------------------------------------------------------------

ENDS = st.one_of(FINITE, st.just(math.inf))


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    low, high = -draw(ENDS), draw(ENDS)
    low, high = min(low, high), max(low, high)
    return Evidence(
        draw(st.sampled_from(["equality", "<=", ">=", "monotone"])),
        draw(FINITE),
        draw(FINITE),
        (low, high),
        draw(st.floats(0.0, 1.0)),
        draw(st.sampled_from([0.0, 1e-5, 0.05])),
        draw(st.integers(0, 10**6)),
        draw(st.sampled_from(["supported", "refuted", "inconclusive"])),
        draw(st.floats(1e-12, 1.0)),
        draw(st.floats(1e-12, 1.0)),
        method=draw(NAMES),
        detail={draw(NAMES): draw(st.lists(FINITE, max_size=3))},
        note=draw(NAMES),
    )


@given(found=evidences())
def test_evidence_comes_back_from_json(found: Evidence) -> None:
    stored = json.loads(json.dumps(facts(found), allow_nan=False))
    back = evidence_of(stored)
    for name in ("kind", "statistic", "prediction", "margin", "alpha", "n", "verdict", "method", "note", "detail"):
        assert getattr(back, name) == getattr(found, name), name
    assert back.p_value == found.p_value
    # An infinite end comes back where it was; an end on the wrong side of infinity cannot be said.
    for end, was, missing in zip(back.interval, found.interval, (-math.inf, math.inf), strict=True):
        assert end == (was if math.isfinite(was) else missing)
    assert facts(back) == stored


@given(inside=evidences(), outside=evidences())
def test_regimes_come_back_too(inside: Evidence, outside: Evidence) -> None:
    both = conditional(inside, outside, note="two regimes")
    back = evidence_of(json.loads(json.dumps(facts(both))))
    assert (back.verdict, back.note, len(back.parts)) == (both.verdict, both.note, 2)
    assert [part.statistic for part in back.parts] == [inside.statistic, outside.statistic]
    assert facts(back)["parts"] == facts(both)["parts"]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ((1, (2, 3)), [1, [2, 3]]),
        ({4: np.array([1])}, {"4": [1]}),
        (math.inf, None),
        ("text", "text"),
        (None, None),
    ],
)
def test_details_become_plain(value: Any, plain: Any) -> None:
    found = facts(exact_equality(1.0, 1.0, tolerance=0.0, detail={"k": value}))["detail"]["k"]
    assert found == plain and type(found) is type(plain)


def test_exact_evidence_has_no_p_value() -> None:
    assert facts(exact_equality(1.0, 1.0, tolerance=0.0))["p_value"] is None
    sampled = Evidence("<=", 0.0, 1.0, (0.0, 0.5), 0.0, 0.01, 9, "supported", 0.003, 0.9)
    assert facts(sampled)["p_value"] == 0.003
    refuted = Evidence("<=", 2.0, 1.0, (1.5, 2.5), 0.0, 0.01, 9, "refuted", 0.9, 0.004)
    assert facts(refuted)["p_value"] == 0.004


@given(x=FINITE, bound=FINITE, tolerance=st.floats(0.0, 1.0))
def test_exact_verdicts_are_comparisons(x: float, bound: float, tolerance: float) -> None:
    wanted = {
        "<=": x - bound <= tolerance,
        ">=": bound - x <= tolerance,
    }
    for relation, holds in wanted.items():
        found = exact_inequality(x, relation, bound, tolerance=tolerance)  # type: ignore[arg-type]
        assert found.verdict == ("supported" if holds else "refuted")
        assert evidence_of(facts(found)).verdict == found.verdict
    found = exact_equality(x, bound, tolerance=tolerance)
    assert (found.verdict == "supported") == (abs(x - bound) <= tolerance)


# --- Claims -----------------------------------------------------------------------------------------------------------


def test_every_claim_says_what_it_is() -> None:
    for entry in CLAIMS:
        assert entry.claim_kind in KINDS and entry.paper
        assert entry.evidence in ("paper", "code", "notes", "inferred")
        assert len(entry.statement) > 60 and "\n" not in entry.statement
        assert entry.statement == " ".join(entry.text.split())
        assert entry.broken.description and set(entry.variants) <= {"broken", "control"}
        assert entry.broken.check is not entry.function


def test_a_claim_of_no_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"claim nowhere\.new kind: got 'hunch'"):
        claim("nowhere.new", paper="none", source="inferred", kind="hunch")  # type: ignore[arg-type]
    assert "nowhere.new" not in CLAIMS


def test_a_claim_without_a_twin_says_so() -> None:
    lonely = Claim("claim", "lonely", lambda trial: exact_equality(0.0, 0.0, tolerance=0.0))
    with pytest.raises(InputError, match="no broken twin"):
        _ = lonely.broken
    assert lonely.control is None


# --- Patterns ---------------------------------------------------------------------------------------------------------


@given(text=NAMES, start=st.integers(0, 7), length=st.integers(1, 8))
def test_a_plain_word_matches_a_part(text: str, start: int, length: int) -> None:
    part = text[start : start + length]
    if part:
        assert matches(part, text) and matches(part.upper(), text)
    assert matches(None) and not matches("z", text)
    assert matches("*", text) and matches(text[0] + "*", text)
    assert not matches("?" * (len(text) + 1), text) and matches("?" * len(text), text)


def test_patterns_select_claims_of_the_ledger() -> None:
    names = [c.name for c in select()]
    assert names == CLAIMS.names() and len(names) > 100
    remax = [c.name for c in select("remax.*")]
    assert remax == [name for name in names if name.startswith("remax.")] and len(remax) == 3
    assert {c.figure for c in select("whitening")} == {"whitening"}
    assert {c.name for c in select("GSPO")} == {c.name for c in CLAIMS if "gspo" in c.name}
    assert select("gspo.unbiase[d]") == select("gspo.unbiased")


def test_cells_are_told_apart_by_claim_size_and_seed() -> None:
    one, two = select("remax.border"), select("remax.unbiased")
    ids = [claim_cells(c, size, seed)[0].id for c in (one, two) for size in SIZES for seed in (0, 1)]
    assert len(set(ids)) == len(ids)
    assert claim_cells(one, "quick")[0].id == ids[0]
    assert claim_cells(one, "quick")[0].title == "remax.border"


def test_changes_are_those_of_known_claims() -> None:
    def row(name: str, verdict: str) -> Row:
        given_fields = {"id": name, "verdict": verdict}
        return Row(**{f: given_fields.get(f) for f in Row.__dataclass_fields__})  # type: ignore[arg-type]

    after = [row("a", "supported"), row("b", "refuted"), row("c", "supported")]
    assert changes({"a": "supported", "b": "supported", "gone": "refuted"}, after) == ["b: supported -> refuted"]


# --- Sources ----------------------------------------------------------------------------------------------------------


def test_sources_are_closed_under_imports() -> None:
    """Every module behind a claim brings all that is behind it."""
    for name in ("theory.claims.hgpo_noise", "theory.claims.opo", "theory.overall"):
        behind = set(modules_behind(name))
        assert name in behind and all(set(modules_behind(other)) <= behind for other in behind)
        assert list(modules_behind(name)) == sorted(behind)


def test_sources_of_neighbours_differ() -> None:
    assert "theory.laws" in modules_behind("theory.claims.passk")
    assert "theory.context_groups" not in modules_behind("theory.claims.passk")
    assert "theory.context_groups" in modules_behind("theory.claims.hgpo_zeros")
    assert modules_behind("theory.no_such_module") == ("theory.no_such_module",)
    assert modules_behind("json") == ("json",)


# --- Questions --------------------------------------------------------------------------------------------------------


def ask(name: str, answer: Any, *claims: str) -> Question:
    return Question("question", name, answer, title=name, asked="someone", claims=claims, figure="")


def test_answers_get_their_claims_only_and_one_line() -> None:
    seen: list[set[str]] = []

    def answer(evidence: Any) -> str:
        """The page.

        A second paragraph.
        """
        seen.append(set(evidence))
        return f"It is\n  {evidence['a']['statistic']}  here."

    (found,) = answer_all({"a": {"statistic": 2}, "b": {}}, [ask("one", answer, "a")])
    assert found.sentence == "It is 2 here." and seen == [{"a"}]
    assert found.question.text == "The page.\n\nA second paragraph."


def test_questions_without_claims_and_those_that_break() -> None:
    def broken(evidence: Any) -> str:
        return evidence["a"]["absent"]

    missing, failed = answer_all({"a": {}}, [ask("one", broken, "a", "b"), ask("two", broken, "a")])
    assert (missing.missing, missing.sentence, missing.failed) == (("b",), "", "")
    assert failed.failed == "KeyError: 'absent'" and not failed.missing


def test_every_question_rests_on_claims_and_a_figure() -> None:
    from figures.base import FIGURES

    for entry in QUESTIONS:
        assert entry.claims and all(name in CLAIMS for name in entry.claims), entry.name
        assert (entry.figure in FIGURES and entry.title.endswith("?")) or entry.title
        assert len(entry.text) > 80
    assert all(found.missing for found in answer_all({}))
