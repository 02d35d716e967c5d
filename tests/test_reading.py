"""What is read of the registries and made into pages; tables of planners; the score table's formulas."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim import reference
from creditsim.errors import InputError, UnknownNameError
from creditsim.estimators import ESTIMATORS
from creditsim.exact import solve
from creditsim.inventory import KINDS, Entry, entries, find
from creditsim.mdp import make, with_time
from creditsim.methods import METHODS
from creditsim.planning_tables import half_optimal, planning_tables, steps_left
from creditsim.schedules import Schedule, as_schedule, resolve
from creditsim.score_table import ScoreRule, branches, lookup

FEW = settings(max_examples=50, deadline=None)

# --- Inventory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_can_be_found_by_its_name_and_told_as_json(kind: str) -> None:
    found = entries(kind)
    assert found and len({entry.name for entry in found}) == len(found)
    for entry in found:
        assert find(entry.name, kind) == [entry]
        assert entry in find(f"{entry.name}@whatever")
        assert entry.summary and entry.evidence
        assert set(entry.evidence.values()) <= {"paper", "code", "notes", "inferred"}
        told = entry.as_dict()
        assert json.loads(json.dumps(told)) == told


def test_entries_are_those_of_the_registries() -> None:
    assert {entry.name for entry in entries("estimators")} == set(ESTIMATORS.names())
    assert {entry.name for entry in entries("methods")} == {method.name for method in METHODS}
    for entry in entries("estimators"):
        part = ESTIMATORS[entry.name]
        assert (entry.needs, entry.paper, dict(entry.presets)) == (part.needs, part.paper, dict(part.presets))
        assert set(entry.defaults) == set(part.defaults)


@given(st.text("abcdefghij_-", min_size=1, max_size=6).map(lambda text: f"zz{text}"))
@settings(max_examples=5, deadline=None)
def test_a_name_that_nothing_bears_is_one_line(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find(name, "estimators")
    assert caught.value.field == "name" and repr(name) in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"kind: got 'estimatrs'.*nearest: estimators"):
        entries("estimatrs")
    with pytest.raises(UnknownNameError, match="nearest: gigpo"):
        find("gigop")


# --- Reference pages --------------------------------------------------------------------------------------------------


def entry_of(text: str) -> Entry:
    return Entry("estimator", "mine", "Mine", text, "user", {"estimator": "inferred"})


@pytest.mark.parametrize(
    ("text", "equation"),
    [
        ("First line.\n\nA_i = R_i - mean(R).\n", "A_i = R_i - mean(R)"),
        ("A = G_t, where G is the return", "A = G_t"),
        ("The advantage A_{i,t} = G_t - b; b is known", "A_{i,t} = G_t - b"),
        ("no equation here", ""),
        ("BA = 3", ""),
        ("A = first\nA = second", "A = first"),
    ],
)
def test_the_first_equation_of_a_docstring(text: str, equation: str) -> None:
    assert reference.formula(entry_of(text)) == equation


def table_rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines]


@pytest.mark.parametrize("name", ["estimators.md", "environments.md", "methods.md"])
def test_a_page_is_a_whole_table_with_a_row_per_entry(name: str) -> None:
    page = reference.pages()[name]
    head, rule, *rows = table_rows(page)
    assert set(rule) == {"---"} and {len(row) for row in rows} == {len(head)} == {len(rule)}
    assert [row[0] for row in rows] == [f"`{entry.name}`" for entry in entries(name.removesuffix(".md"))]
    assert page.endswith("|\n") and "do not edit" in page.splitlines()[0]


def test_pages_are_written_as_they_are_made(tmp_path: Path) -> None:
    paths = reference.write(tmp_path / "new" / "docs")
    assert {path.name: path.read_text(encoding="utf-8") for path in paths} == reference.pages()
    before = {path: path.read_bytes() for path in paths}
    reference.write(tmp_path / "new" / "docs")
    assert {path: path.read_bytes() for path in paths} == before


def test_sizes_on_the_environment_page_are_those_of_the_tables() -> None:
    rows = {row[0]: row[3] for row in table_rows(reference.pages()["environments.md"])}
    mdp = make("chain@tiny")
    assert f"tiny: {mdp.n_states} × {mdp.n_actions} × {mdp.horizon}" in rows["`chain`"]


# --- Schedules --------------------------------------------------------------------------------------------------------

numbers = st.floats(-100, 100)


@FEW
@given(numbers, numbers, st.floats(0, 1), st.floats(0, 1), st.sampled_from(["linear", "cosine"]))
def test_schedules_go_one_way_and_mirror(start: float, end: float, a: float, b: float, shape: Any) -> None:
    schedule, back = Schedule(start, end, shape), Schedule(end, start, shape)
    early, late = sorted((a, b))
    assert (schedule.at(late) - schedule.at(early)) * (end - start) >= -1e-9 * (1 + abs(start - end)) ** 2
    assert schedule.at(a) == pytest.approx(back.at(1 - a), abs=1e-9)
    if shape == "linear":
        assert schedule.at(a) == pytest.approx((1 - a) * start + a * end, abs=1e-9)
    else:
        assert schedule.at(a) == pytest.approx(start + (end - start) * math.sin(math.pi * a / 2) ** 2, abs=1e-9)


@FEW
@given(st.integers(1, 50), numbers, numbers)
def test_a_run_meets_both_ends_at_its_first_and_last_update(updates: int, start: float, end: float) -> None:
    params = {"rate": Schedule(start, end), "fixed": 3}
    values = [resolve(params, update, updates) for update in range(updates)]
    assert values[0]["rate"] == pytest.approx(start)
    assert values[-1]["rate"] == pytest.approx(end if updates > 1 else start, abs=1e-9)
    assert {value["fixed"] for value in values} == {3}
    assert isinstance(params["rate"], Schedule)
    # Broken twin: progress as update / updates never reaches the end.
    if updates > 1 and abs(end - start) > 1e-3:
        assert Schedule(start, end).at((updates - 1) / updates) != pytest.approx(end, abs=1e-9)


@given(st.one_of(st.integers(), st.booleans(), st.none(), st.text(), st.dictionaries(st.just("x"), st.integers())))
def test_what_is_no_schedule_passes_as_it_is(value: Any) -> None:
    assert as_schedule(value, "x") is value


# --- Tables for planners ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain@tiny", "tree@tiny", "layered@tiny"])
def test_planning_tables_are_those_of_the_environment(name: str) -> None:
    mdp = with_time(make(name))
    tables = {key: make_one() for key, make_one in planning_tables(mdp).items()}
    left = steps_left(mdp)
    assert np.array_equal(tables["steps_left"], left) and left.max() == mdp.horizon
    assert tables["discount"] == mdp.gamma
    assert tables["baseline_value"] == pytest.approx(solve(mdp, tables["baseline"]).j)
    # One step fewer is left wherever a move leads, by a plain walk.
    for s in np.flatnonzero(left > 0):
        for a in np.flatnonzero(mdp.mask[s]):
            for b in np.flatnonzero(mdp.probability[s, a] > 0):
                following = int(mdp.successor[s, a, b])
                assert left[following] in (left[s] - 1, 0.0)
    uniform = mdp.mask | mdp.terminal[:, None]
    pi = half_optimal(mdp, 0.0)
    assert pi == pytest.approx(uniform / uniform.sum(axis=1, keepdims=True))


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_of_the_optimum_is_worth_more(a: float, b: float) -> None:
    mdp = with_time(make("layered@tiny"))
    low, high = sorted((a, b))
    worth = [solve(mdp, half_optimal(mdp, share)).j for share in (low, high, 1.0)]
    assert worth[0] <= worth[1] + 1e-12 <= worth[2] + 2e-12


# --- Scores -----------------------------------------------------------------------------------------------------------

successes = st.integers(0, 60)
failures = st.integers(0, 60)


@FEW
@given(successes, failures, st.integers(0, 10**4), st.floats(0.1, 60), st.integers(1, 30), st.floats(0, 1))
def test_the_score_is_its_formula(k: int, f: int, t: int, alpha: float, xi: int, zeta: float) -> None:
    rule = ScoreRule(alpha=alpha, xi=xi, zeta=zeta)
    p = k / (k + f + 1e-6) if k + f else 0.0
    by_hand = max(math.exp(-alpha * math.log(max(t, 1)) * p), np.finfo(float).tiny) if f < xi or p > zeta else 0.0
    assert float(rule.score(k + f, k, t)) == pytest.approx(by_hand, rel=1e-9)
    assert bool(rule.keeps(k + f, k)) == (by_hand > 0)


@FEW
@given(successes, failures, st.integers(1, 10**4), st.integers(1, 32), st.sampled_from(["log", "saturating"]))
def test_more_successes_or_a_later_clock_never_raise_a_kept_score(
    k: int, f: int, t: int, most: int, schedule: Any
) -> None:
    rule = ScoreRule(alpha=2.0, xi=math.inf, schedule=schedule)
    here, solved, later = (float(rule.score(*at)) for at in ((k + f, k, t), (k + f + 1, k + 1, t), (k + f, k, t + 5)))
    assert solved <= here * (1 + 1e-12) and later <= here * (1 + 1e-12) and 0 < here <= 1
    counts = [int(branches(score, most)) for score in (here, solved, later)]
    assert 1 <= counts[1] <= counts[0] <= most and counts[2] <= counts[0]


@FEW
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.integers(1, 40))
def test_branches_are_rounded_as_each_source_says(scores: list[float], most: int) -> None:
    assert branches(scores, most).tolist() == [math.ceil(most * s) for s in scores]
    gui = branches(scores, most, "sigmoid").tolist()
    assert gui == [max(1, math.floor(most / (1 + math.exp(-s)))) for s in scores]
    assert branches([0.0], most).tolist() == [0] and branches([0.0], most, "sigmoid").tolist() == [max(1, most // 2)]


def test_looking_up_reads_the_last_depth_and_gives_1_to_what_is_not_there() -> None:
    table = np.arange(12.0).reshape(2, 2, 3)
    replicate, step, seen = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 9, 0, 0]), np.array([0, 2, 1, 2, 7])
    assert lookup({"score": table}, replicate, step, seen).tolist() == [0.0, 5.0, 10.0, 8.0, 1.0]
    assert lookup({}, replicate, step, seen).tolist() == [1.0] * 5


@pytest.mark.parametrize(
    ("change", "field"),
    [({"alpha": 0.0}, "alpha"), ({"alpha": math.inf}, "alpha"), ({"scale": -1.0}, "scale"), ({"span": 0.0}, "span"),
     ({"xi": 0.5}, "xi"), ({"xi": math.nan}, "xi"), ({"zeta": 1.5}, "zeta"), ({"zeta": math.nan}, "zeta"),
     ({"eps": 1.0}, "eps"), ({"schedule": "lag"}, "schedule")],
)  # fmt: skip
def test_rules_out_of_range_are_one_line(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=rf"^{field}: got "):
        ScoreRule(**change)
    with pytest.raises(InputError, match=r"^group_size: got 0"):
        branches([1.0], 0)
