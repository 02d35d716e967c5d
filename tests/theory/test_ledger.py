"""The ledger on toy claims: verdicts, their joint decision, twins and controls, what changed, what is stored."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import theory.claim
from creditsim.errors import CorruptFileError, InputError, UnknownNameError
from creditsim.registry import Registry
from creditsim.stats.intervals import mean_interval
from creditsim.stats.joint import adjudicate, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.verdict import Evidence, equality, exact_equality, exact_inequality
from creditsim.study.runner import run_cells
from theory import ledger, verdicts
from theory.claim import Claim, Trial, claim, evidence_of, facts
from theory.sources import modules_behind


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Registry[Claim]:
    """An empty registry in place of the real one."""
    registry: Registry[Claim] = Registry("claim")
    for module in (theory.claim, ledger, verdicts):
        monkeypatch.setattr(module, "CLAIMS", registry)
    return registry


def equals_one(trial: Trial, value: float) -> Evidence:
    trial.table(value=[value], predicted=[1.0])
    return exact_equality(value, 1.0, tolerance=1e-12)


def add(name: str, *values: Any, figure: str = "") -> None:
    """Register a claim whose check, twin and control give evidence made of `values` in turn."""

    def made(value: Any) -> Any:
        return value if callable(value) else (lambda trial: equals_one(trial, value))

    handle = claim(name, paper="Toy", source="inferred", kind="identity", figure=figure)(made(values[0]))
    handle.broken("something else")(made(values[1]))
    if len(values) > 2:
        handle.control("repaired")(made(values[2]))


def run(folder: Path, names: list[str] | None = None) -> dict[str, ledger.Row]:
    """Check toy claims in this process and return rows by id."""
    store = ledger.store_in(folder)
    cells = [c for c in ledger.claim_cells(theory.claim.CLAIMS, "quick") if names is None or c.spec["claim"] in names]
    report = run_cells(cells, store.folder, workers=1)
    assert not report.failed
    return {row.id: row for row in ledger.rows(ledger.claim_cells(theory.claim.CLAIMS, "quick"), store)}


def in_regime(trial: Trial) -> Evidence:
    inside = exact_equality(1.0, 1.0, tolerance=0.0, note="small")
    return conditional(inside, exact_inequality(3.0, "<=", 2.0), note="only where small")


def sampled(trial: Trial, shift: float = 0.0) -> Evidence:
    x = np.random.default_rng(trial.seed).normal(shift, 1.0, 4000)
    summary = Moments(()).add(x, 0).summary()
    return equality(lambda alpha: mean_interval(summary, alpha=alpha), 0.0, margin=0.2, alpha=trial.alpha)


def with_p(supported: float, refuted: float = 1.0) -> Any:
    """A check whose sampled evidence has these p-values and calls itself supported."""
    return lambda trial: Evidence("equality", 0.0, 0.0, (-1, 1), 2.0, trial.alpha, 9, "supported", supported, refuted)


def test_every_verdict_with_its_twin_and_control(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.holds", 1.0, 2.0)
    add("toy.fails", 2.0, 3.0, 1.0)
    add("toy.sometimes", in_regime, 2.0)
    add("toy.sampled", sampled, lambda trial: sampled(trial, 1.0))
    rows = run(tmp_path)
    assert {name: row.verdict for name, row in rows.items()} == {
        "toy.holds": "supported",
        "toy.fails": "refuted",
        "toy.sometimes": "conditional",
        "toy.sampled": "supported",
    }
    assert all(row.twin_refuted and not row.defects for row in rows.values())
    assert rows["toy.fails"].control_verdict == "supported"
    assert [part["verdict"] for part in rows["toy.sometimes"].parts] == ["supported", "refuted"]
    exact, drawn = rows["toy.holds"], rows["toy.sampled"]
    assert (exact.alpha, exact.n, exact.p_adjusted) == (0.0, 0, None)
    assert (drawn.alpha, drawn.n) == (ledger.ROW_ALPHA, 4000)
    assert drawn.p_adjusted is not None and drawn.p_adjusted < ledger.FAMILY_ALPHA / 2


def test_rows_are_json_with_the_promised_fields(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.holds", 1.0, 2.0)
    rows = list(run(tmp_path).values())
    path = verdicts.write(tmp_path, "quick", rows, {}, None)
    row = json.loads(path.read_text())["claims"][0]
    promised = "id paper source kind verdict alpha n statistic prediction interval broken twin_refuted"
    assert set(promised.split()) <= set(row)
    assert row["interval"] == [1.0, 1.0] and row["twin_refuted"] is True


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((1.0, 1.0), "unable to say no"),
        ((2.0, 3.0, 4.0), "unable to say yes"),
        ((2.0, 3.0), "without a control"),
    ],
)
def test_a_check_that_always_agrees_or_never_does_is_a_defect(
    toys: Registry[Claim], tmp_path: Path, values: tuple[float, ...], says: str
) -> None:
    add("toy.bad", *values)
    (defect,) = run(tmp_path)["toy.bad"].defects
    assert says in defect


def test_a_refuted_regime_with_a_supported_one_needs_no_control(toys: Registry[Claim], tmp_path: Path) -> None:
    def both(trial: Trial) -> Evidence:
        return conditional(exact_equality(2.0, 1.0, tolerance=0.0), exact_equality(1.0, 1.0, tolerance=0.0))

    add("toy.inverted", both, 2.0)
    row = run(tmp_path)["toy.inverted"]
    assert (row.verdict, row.defects) == ("refuted", ())


def test_verdicts_are_decided_together(toys: Registry[Claim], tmp_path: Path) -> None:
    """p = 0.004 supports alone (0.004 <= 0.01 / 2), not beside an undecided statement (2 x 0.004 > 0.005)."""
    add("toy.one", with_p(0.004), 2.0)
    assert run(tmp_path)["toy.one"].verdict == "supported"
    add("toy.two", with_p(0.9), 2.0)
    rows = run(tmp_path)
    assert rows["toy.one"].verdict == rows["toy.two"].verdict == "inconclusive"
    assert rows["toy.one"].p_adjusted is None


def test_exact_claims_take_no_share_of_the_error_level(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.one", with_p(0.004), 2.0)
    for i in range(5):
        add(f"toy.exact{i}", 1.0 + i, 9.0, 1.0)
    assert run(tmp_path)["toy.one"].verdict == "supported"


def test_a_partial_run_counts_what_it_left_out(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.one", with_p(0.004), 2.0)
    add("toy.two", with_p(1e-9), 2.0)
    assert run(tmp_path, ["toy.one"])["toy.one"].verdict == "inconclusive"
    assert run(tmp_path)["toy.one"].verdict == "supported"


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1e-5, 1e-4, 1e-3, 4e-3, 0.02, 1.0]), st.booleans()), max_size=6),
    st.integers(0, 63),
)
def test_partial_verdicts_are_never_bolder_than_the_whole_ledger(ps: list[tuple[float, bool]], subset: int) -> None:
    registry: Registry[Claim] = Registry("claim")
    stored = {}
    for i, (p, two) in enumerate(ps):
        one = with_p(p)(Trial("quick", 1e-5, 0))
        stored[f"toy.{i}"] = facts(conditional(one, replace(one, p_supported=1.0, p_refuted=p)) if two else one)
        registry.add(Claim("claim", f"toy.{i}", lambda trial: None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "CLAIMS", registry)
        whole = ledger._decide(stored)
        part = ledger._decide({name: found for i, (name, found) in enumerate(stored.items()) if subset >> i & 1})
    for name, (verdict, _) in part.items():
        assert verdict in ("inconclusive", whole[name][0])


def test_evidence_survives_storing() -> None:
    """Rebuilt evidence is decided as the original is, infinite ends and regimes included."""
    one = Evidence("<=", 0.5, 1.0, (-math.inf, 0.9), 0.0, 1e-5, 50, "supported", 1e-7, 1.0, detail={"k": np.float64(2)})
    two = replace(one, kind=">=", interval=(0.2, math.inf), p_supported=1.0, p_refuted=1e-7)
    both = conditional(one, two, note="regimes")
    back = evidence_of(json.loads(json.dumps(facts(both))))
    assert back.interval == (-math.inf, 0.9) and back.parts[1].interval == (0.2, math.inf)
    before, after = (adjudicate({"x": e}, alpha=0.01)["x"] for e in (both, back))
    assert before.verdict == after.verdict == "conditional"
    assert (back.note, back.detail) == ("regimes", {"k": 2.0})


def test_changes_are_told_and_new_claims_are_none(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.holds", 1.0, 2.0)
    rows = list(run(tmp_path).values())
    assert ledger.changes({"toy.holds": "supported"}, rows) == []
    assert ledger.changes({"toy.holds": "refuted"}, rows) == ["toy.holds: refuted -> supported"]
    assert ledger.changes({}, rows) == []


def test_verdicts_keep_the_rows_that_a_partial_run_left_out(toys: Registry[Claim], tmp_path: Path) -> None:
    add("toy.a", 1.0, 2.0)
    add("toy.b", 1.0, 2.0)
    rows = list(run(tmp_path).values())
    verdicts.write(tmp_path, "quick", rows, {}, None)
    before = verdicts.read(tmp_path)
    verdicts.write(tmp_path, "standard", rows[:1], {"toy.b": "broke"}, before)
    after = verdicts.read(tmp_path)
    assert after is not None and after.size == "standard"
    assert after.decided == {"toy.a": "supported", "toy.b": "supported"}
    assert after.claims["toy.b"]["carried"] is True and "carried" not in after.claims["toy.a"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"schema": 99, "size": "quick", "claims": []}', InputError),
        ('{"schema": 1, "size": "quick"}', CorruptFileError),
        ("{", CorruptFileError),
        ("[]", CorruptFileError),
    ],
)
def test_newer_and_damaged_verdicts_are_refused(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / verdicts.NAME).write_text(text)
    with pytest.raises(error, match=verdicts.NAME):
        verdicts.read(tmp_path)


def test_no_verdicts_is_no_error(tmp_path: Path) -> None:
    assert verdicts.read(tmp_path) is None and verdicts.read(tmp_path / "nowhere") is None


def test_a_cell_depends_on_its_claim_and_size_not_on_the_rest_of_the_ledger(toys: Registry[Claim]) -> None:
    add("toy.a", 1.0, 2.0)
    (alone,) = ledger.claim_cells(toys, "quick")
    add("toy.b", 1.0, 2.0)
    among = ledger.claim_cells(toys, "quick")[0]
    assert alone.id == among.id != ledger.claim_cells(toys, "standard")[0].id
    assert among.id != ledger.claim_cells(toys, "quick", seed=1)[0].id


def test_patterns_select_by_id_paper_and_figure(toys: Registry[Claim]) -> None:
    add("toy.a", 1.0, 2.0, figure="plane")
    add("toy.b", 1.0, 2.0)
    assert [c.name for c in ledger.select()] == ["toy.a", "toy.b"]
    assert [c.name for c in ledger.select("PLANE")] == ["toy.a"]
    assert [c.name for c in ledger.select("toy.?")] == ["toy.a", "toy.b"]
    assert [c.name for c in ledger.select("y.b")] == ["toy.b"]
    with pytest.raises(UnknownNameError, match=r"toi\.a.*nearest: toy\.a"):
        ledger.select("toi.a")


def test_sources_of_a_claim_are_what_its_module_imports() -> None:
    found = modules_behind("theory.claims.gigpo_weighting")
    assert {"theory.claims.gigpo_weighting", "theory.claims.gigpo", "theory.shared", "theory.claim"} <= set(found)
    assert all(name.split(".")[0] == "theory" for name in found)
    assert "theory.claims.rloo" not in found
    # The ledger's own function counts, and imports inside functions do too.
    assert "theory.sources" in modules_behind("theory.ledger")


def test_a_table_takes_rows_of_the_same_columns_only() -> None:
    trial = Trial("quick", 0.01, 0)
    trial.table(a=[1, 2], b="x")
    trial.table(a=3, b="y")
    assert trial.data["a"].tolist() == [1, 2, 3] and trial.data["b"].tolist() == ["x", "x", "y"]
    with pytest.raises(InputError, match="table"):
        trial.table(a=1)
