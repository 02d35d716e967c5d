"""Commands run in this process: what they print, as text and as JSON, and how they refuse."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from creditsim.cli import main
from creditsim.commands import claims, doctor, figures, reproduce, show, study
from creditsim.commands import list as listing
from creditsim.inventory import KINDS, entries
from creditsim.study.spec import LearningStudy, VarianceStudy

Capture = pytest.CaptureFixture[str]
TINY = ("--environments", "chain@tiny", "--group-sizes", "2", "--replicates", "32", "--workers", "1")


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


# --- Refusals ---------------------------------------------------------------------------------------------------------

WRONG: list[tuple[str, list[str]]] = [
    ("claims", []),
    ("claims lst", ["'lst'", "nearest: list"]),
    ("claims list a b", ["one pattern"]),
    ("claims list no.such.claim", ["'no.such.claim'"]),
    ("claims list --size quick", ["option", "'--size'"]),
    ("claims show", ["ID", "nothing"]),
    ("claims show no-such-claim", ["'no-such-claim'"]),
    ("claims check --size huge", ["size", "'huge'", "quick | standard | full"]),
    ("claims check --workers 0", ["workers", "got 0"]),
    ("claims check --workers two", ["--workers", "'two'", "a whole number"]),
    ("claims check zzz --out OUT", ["zzz"]),
    ("figures --out OUT", ["out", "creditsim reproduce"]),
    ("figures --workers 0", ["workers", "got 0"]),
    ("figures --onyl x", ["'--onyl'", "nearest: --only"]),
    ("reproduce --workers 0 --out OUT", ["workers", "got 0"]),
    ("study varience", ["'varience'", "nearest: variance"]),
    ("study variance --groups 0 --out OUT", ["groups", "got 0"]),
    ("study variance --alpha 0.5 --out OUT", ["alpha", "0.2"]),
    ("study variance --name a/b --out OUT", ["name", "'a/b'"]),
    ("study variance --by action --out OUT", ["--by", "'action'"]),
    ("study variance --policies unifrm --out OUT", ["policies", "nearest: uniform"]),
    ("study variance --estimators gigop --out OUT", ["'gigop'", "nearest: gigpo"]),
    ("study variance --environments chian --out OUT", ["'chian'", "nearest: chain"]),
    ("study variance --precision nan --out OUT", ["precision"]),
    ("study variance --shard 3/2 --out OUT", ["shard"]),
    ("study variance --executor threads --out OUT", ["executor", "'threads'"]),
    ("study variance --memory 0 --out OUT", ["memory"]),
    ("study learning --updates -1 --out OUT", ["updates", "got -1"]),
    ("study learning --methods grop --out OUT", ["'grop'", "nearest: grpo"]),
    ("study learning --learning-rates 0 --out OUT", ["learning_rates"]),
    ("doctor --jsn", ["'--jsn'", "nearest: --json"]),
    ("show gigpo --kind nothing", ["kind", "'nothing'"]),
]


@pytest.mark.parametrize(("words", "told"), [case for case in WRONG if case[1]], ids=lambda value: str(value)[:40])
def test_wrong_words_are_one_line_exit_2_and_leave_nothing(
    words: str, told: list[str], capsys: Capture, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main([str(out) if word == "OUT" else word for word in words.split()]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith("creditsim: ") and ": got " in captured.err and "allowed " in captured.err
    assert all(part in captured.err for part in told)
    assert not out.exists()


@pytest.mark.parametrize(("content", "told"), [("{", "verdicts"), ('{"schema": 99, "size": "quick", "claims": []}',
                                               "schema 99"), ("[]", "verdicts")])  # fmt: skip
@pytest.mark.parametrize("command", [("claims", "show"), ("figures",)])
def test_a_folder_with_wrong_verdicts_is_refused(
    command: tuple[str, ...], content: str, told: str, capsys: Capture, tmp_path: Path
) -> None:
    from theory.claim import CLAIMS
    from theory.verdicts import NAME

    (tmp_path / NAME).write_text(content)
    name = [next(iter(CLAIMS)).name] if command[0] == "claims" else []
    assert main([*command, *name, "--out", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and told in captured.err


# --- claims -----------------------------------------------------------------------------------------------------------


def test_claims_are_listed_one_per_line_and_patterns_narrow_them(capsys: Capture) -> None:
    assert claims.run(claims.ListConfig(())) == 0
    lines = capsys.readouterr().out.splitlines()
    assert claims.run(claims.ListConfig((), json=True)) == 0
    told = strict(capsys.readouterr().out)
    assert [line.split()[0] for line in lines] == [one["id"] for one in told]
    assert all(one["source"] in ("paper", "code", "notes", "inferred") and one["broken"] for one in told)
    first = told[0]["id"]
    assert claims.run(claims.ListConfig((first,), json=True)) == 0
    narrowed = [one["id"] for one in strict(capsys.readouterr().out)]
    assert first in narrowed and set(narrowed) < {one["id"] for one in told}


def test_a_claim_is_shown_with_its_twin_and_how_to_check_it(capsys: Capture, tmp_path: Path) -> None:
    from theory.claim import CLAIMS

    claim = next(iter(CLAIMS))
    assert claims.run(claims.ShowConfig(claim.name, out=str(tmp_path))) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{claim.name}   (") and claim.broken.description in text
    assert f"creditsim claims check {claim.name} --size quick" in text and "last verdict" not in text
    assert claims.run(claims.ShowConfig(claim.name, json=True, out=str(tmp_path))) == 0
    told = strict(capsys.readouterr().out)
    assert told["id"] == claim.name and told["last"] is None


def test_a_pattern_is_shown_as_an_answer(capsys: Capture, tmp_path: Path) -> None:
    out = str(tmp_path)
    assert claims.run(claims.ShowConfig("3spo.lo*", out=out)) == 0
    before = capsys.readouterr().out
    assert before.startswith("2 claims: none checked yet\n") and "Does 3SPO have logarithmic regret?" in before
    assert "not answered: check " in before and "check them:  creditsim claims check '3spo.lo*'" in before
    facts = {
        "verdict": "conditional", "size": "quick", "twin_verdict": "refuted", "statistic": 1.0, "prediction": 2.0,
        "n": 0, "note": "Inside: here.", "detail": {}, "parts": [
            {"statistic": 1.0, "prediction": 2.0, "verdict": "supported", "note": ""},
            {"statistic": 3.0, "prediction": 2.0, "verdict": "refuted", "note": ""},
        ],
    }  # fmt: skip
    from theory.ledger import select

    assert claims._show_many(select("3spo.lo*"), {"3spo.log-regret": facts}, claims.ShowConfig("3spo.lo*")) == 0
    after = capsys.readouterr().out
    assert after.startswith("2 claims: 1 conditional\n") and "not checked  3spo.lock-in" in after
    assert "conditional  3spo.log-regret  (from the paper)" in after
    assert "  inside: 1 against 2, supported." in after and "  outside: 3 against 2, refuted." in after
    assert claims.run(claims.ShowConfig("3spo.lo*", json=True, out=out)) == 0
    assert [one["id"] for one in strict(capsys.readouterr().out)] == ["3spo.lock-in", "3spo.log-regret"]


def row(**changes: Any) -> Any:
    base = {
        "id": "a.b", "verdict": "supported", "statistic": 0.123456, "prediction": 0.0, "interval": (-0.5, 1e-15),
        "alpha": 0.01, "n": 100, "twin_verdict": "refuted", "defects": (), "paper": "GRPO",
    }  # fmt: skip
    return SimpleNamespace(**(base | changes))


def test_a_table_of_verdicts_tells_exact_from_sampled() -> None:
    head, sampled, exact, defect = claims._table([
        row(), row(id="longer.name", alpha=0, n=0, defects=("the twin came out supported",)),
    ])  # fmt: skip
    assert head.split() == ["claim", "verdict", "statistic", "prediction", "interval", "alpha", "n", "twin"]
    assert sampled.split() == ["a.b", "supported", "0.1235", "0", "[-0.5,", "0]", "0.01", "100", "refuted"]
    assert exact.split()[-4:] == ["exact", "exact", "-", "refuted"]
    assert sampled.index("supported") == exact.index("supported")
    assert defect == "DEFECT longer.name: the twin came out supported"


def test_nested_numbers_are_told_by_their_path() -> None:
    nested = {"a": {"b": 1.0, "c": [1e-20, 2.5, None]}, "d": "text"}
    assert list(claims._flat("", nested)) == [("a.b", "1"), ("a.c", "0, 2.5, -"), ("d", "text")]


def test_the_last_verdict_is_told_with_both_regimes() -> None:
    part = {"statistic": 1.0, "prediction": 2.0, "verdict": "refuted", "note": ""}
    last = {
        "verdict": "conditional", "size": "quick", "twin_verdict": "refuted", "parts": [part, part], "note": "why",
        "detail": {"x": 3.0},
    }  # fmt: skip
    assert list(claims._last(last)) == [
        "last verdict: conditional at quick size, twin refuted", "  inside: 1 against 2, refuted.",
        "  outside: 1 against 2, refuted.", "  why", "  x: 3",
    ]  # fmt: skip
    whole = {**last, "parts": [], "note": "", "detail": {}, "statistic": 0.5, "prediction": None, "n": 0}
    assert list(claims._last(whole))[1:] == ["  0.5 against -, exact"]


def test_counts_of_verdicts_add_up() -> None:
    rows = [row(), row(verdict="refuted"), row(paper="another, longer", verdict="refuted")]
    head, first, second, total = reproduce.verdict_table(rows)
    assert head.split() == ["claims", "supported", "conditional", "refuted", "inconclusive"]
    assert second.split() == ["GRPO", "1", "·", "1", "·"]
    assert first.split()[-4:] == ["·", "·", "1", "·"]
    assert total.split() == ["all", "1", "0", "2", "0"]
    assert len({len(line) for line in (head, first, second, total)}) == 1


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failed", [{}, {"third": "ValueError: no"}])
def test_figures_tell_what_was_drawn_and_fail_where_one_failed(
    failed: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    import figures.gallery as gallery
    from figures.publish import Drawn

    fields = {field.name: field.name for field in dataclasses.fields(Drawn)}
    entry: Any = Drawn(**{**fields, "name": "first", "title": "A title"})  # pyright: ignore[reportArgumentType]
    made = SimpleNamespace(
        entries=[entry],
        lacking={"second": ["a.claim"]},
        failed=failed,
        drawn=0,
        folder=tmp_path,
        pages=[tmp_path / "p"],
    )
    monkeypatch.setattr(gallery, "make", lambda *args, **options: made)
    code = 1 if failed else 0
    assert figures_command(json=False) == code
    text = capsys.readouterr().out
    assert "first: A title" in text and "not drawn: second, which lacks a.claim" in text
    assert "0 drawn, 1 as they were" in text and f"wrote {tmp_path / 'p'}" in text
    assert ("FAILED third: ValueError: no" in text) == bool(failed)
    assert figures_command(json=True) == code
    told = strict(capsys.readouterr().out)
    assert told["figures"][0]["name"] == "first" and told["failed"] == failed and told["lacking"] == {
        "second": ["a.claim"]
    }  # fmt: skip


def figures_command(**options: Any) -> int:
    return figures.run(figures.Config(**options))


# --- study ------------------------------------------------------------------------------------------------------------


def test_a_study_by_python_and_by_words_is_one(capsys: Capture, tmp_path: Path) -> None:
    words = ("study", "variance", "--estimators", "rloo", "grpo", *TINY, "--out", str(tmp_path / "a"), "--json")
    assert main(words) == 0
    by_words = strict(capsys.readouterr().out)
    config = study.VarianceConfig(
        estimators=("rloo", "grpo"), environments=("chain@tiny",), group_sizes=(2,), replicates=32, workers=1,
        out=str(tmp_path / "b"), json=True,
    )  # fmt: skip
    assert study.run(config) == 0
    by_python = strict(capsys.readouterr().out)
    assert by_python["study"] == by_words["study"]
    for one, other in zip(by_words["cells"], by_python["cells"], strict=True):
        assert (one["cell"], one["quantities"]) == (other["cell"], other["quantities"])
    # Finished cells are found again, and the text has a line for each of them.
    assert study.run(study.VarianceConfig(**{**asdict(config), "json": False, "executor": "serial"})) == 0
    again = capsys.readouterr()
    assert "all of them finished before" in again.err
    assert [line.split()[0] for line in again.out.splitlines() if line.startswith(("rloo", "grpo"))] == ["rloo", "grpo"]
    assert f"2 cells in {tmp_path / 'b'}" in again.out


def test_a_config_becomes_its_study_with_ones_own_estimator_last() -> None:
    config = study.VarianceConfig(estimators=("grpo",), estimator="mine:credit", groups=3, out="x", workers=2)
    found = study._study(config)
    assert found == VarianceStudy(estimators=("grpo", "mine:credit"), groups=3)
    assert study._study(study.LearningConfig(updates=3, memory=9)) == LearningStudy(updates=3)


def quantity(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((None,), "-"), ((1.23456,), "1.235 +- ?"), ((1.0, None, 2.0), "1 +- ?"), ((1.0, 0.5, 2.0), "1 +- 1"),
     ((1.0, 1.0, 1.0), "1 +- 0"), ((0.25, 0.125, 0.26), "0.25 +- 0.12"), ((-3.0, -3.5, -2.75), "-3 +- 0.5")],
)  # fmt: skip
def test_numbers_stand_with_the_longer_half_of_their_interval(numbers: tuple[float | None, ...], text: str) -> None:
    assert study._number(quantity(*numbers)) == text


def test_a_table_says_once_what_is_the_same_everywhere() -> None:
    rows = [
        {"estimator": name, "environment": "chain@tiny", "horizon": None, "group_size": g, "stopped_by": "x",
         "reached": {}, "estimator_ns_per_row": 3.0, "quantities": {"mse": quantity(m, m - 1, m + 1)}, "cell": "id"}
        for name, g, m in (("grpo", 2, 5.0), ("a-longer-name", 16, 12345.6))
    ]  # fmt: skip
    same, interval, blank, head, first, second = study._table(rows, {"mse": "mse"}, 0.05)
    assert same == "environment chain@tiny" and blank == ""
    assert interval == "value +- half-width of the 95 % interval"
    assert head.split() == ["estimator", "group", "size", "mse"]
    assert first.split() == ["grpo", "2", "5", "+-", "1"] and second.split()[:2] == ["a-longer-name", "16"]
    assert len(first) == len(second) == len(head)
    assert list(study._table([], {}, 0.05)) == ["no cell is finished"]


def test_remarks_tell_the_worst_of_what_fell_short() -> None:
    def cell(name: str, by: str, **reached: float | None) -> dict[str, Any]:
        return {"estimator": name, "environment": "e", "stopped_by": by, "reached": reached, "replicates": 7}

    rows = [cell("a", "precision", bias=0.001), cell("b", "replicates", bias=0.2, gradient=None),
            cell("c", "replicates", bias=0.1, gradient=0.5)]  # fmt: skip
    report: Any = SimpleNamespace(quarantined=2, held=3, failed={"t": "Error: a\nb", "u": "x"})
    lines = list(study._remarks(VarianceStudy(precision=0.01), rows, report))
    assert lines == [
        "2 corrupt files were put aside as .bad and computed again", "3 cells are being computed by another process",
        "precision 0.01 was not reached in 2 of 3 cells within 7 replicates; the worst, c on e, reached bias 0.1, "
        "gradient 0.5", "2 cells failed, the first of them t: Error: a b",
    ]  # fmt: skip
    quiet: Any = SimpleNamespace(quarantined=0, held=0, failed={})
    assert list(study._remarks(VarianceStudy(), rows, quiet)) == []
    assert list(study._remarks(VarianceStudy(precision=0.01), rows[:1], quiet)) == []
    unknown = list(study._remarks(VarianceStudy(precision=0.01), [cell("d", "replicates", bias=None)], quiet))
    assert unknown[0].endswith("reached nothing")


# --- list, show, doctor -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_has_a_line_for_each_name_in_order(kind: str, capsys: Capture) -> None:
    assert listing.run(listing.Config(kind)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry.name for entry in entries(kind)]


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    assert list(show.columns([["a", "bb"], ["ccc", "d"]])) == ["a    bb", "ccc  d"]
    rows = show._presets({"x": 1, "y": 2}, {"p": {"x": 5}, "q": {}})
    assert rows == [["parameter", "default", "@p", "@q"], ["x", "1", "5", "·"], ["y", "2", "·", "·"]]


def test_a_missing_extra_is_told_with_how_to_install_it() -> None:
    report = {
        "creditsim": "1", "python": "3", "platform": "p", "core": {"numpy": "2", "gone": None},
        "extras": {"fig": {"m": "1", "n": None}, "all": {"m": "1"}}, "devices": {"cpu": "2 cores"},
        "kernel_cache": {"folder": "/f", "megabytes": 1.5, "writable": False},
    }  # fmt: skip
    head, core, extra, whole, device, cache = doctor._lines(report)
    assert head == "creditsim 1, Python 3, p" and core.endswith("numpy 2, gone MISSING")
    assert extra.endswith("missing n: pip install 'creditsim[fig]'") and whole.split() == ["all", "m", "1"]
    assert device.split() == ["cpu", "2", "cores"] and cache.endswith("/f (1.5 MB, NOT writable)")
    assert doctor._version("no-such-distribution-anywhere") is None
