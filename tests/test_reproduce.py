"""`creditsim reproduce`, `claims` and `figures` on toy claims and on one real one: files, exit codes, second starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import figures.base
import figures.gallery
import figures.publish
import figures.report.build
import figures.reproduce
import figures.results
import theory.claim
import theory.question
from creditsim.cli import main
from creditsim.registry import Registry
from creditsim.stats.verdict import Evidence, exact_equality
from figures import style
from figures.base import Data, figure
from theory import ledger, verdicts
from theory.claim import Trial, claim
from theory.question import question

VALUE = {"toy.one": 1.0, "toy.two": 1.0, "twin": 2.0}


def check(trial: Trial, value: float) -> Evidence:
    trial.table(value=[value, value], predicted=1.0)
    return exact_equality(value, 1.0, tolerance=0.0, detail={"found": value})


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two claims, a figure and a question, in place of the real ones."""
    modules = [theory.claim, theory.question, ledger, verdicts, figures.base, figures.gallery, figures.publish]
    modules += [figures.reproduce, figures.results, figures.report.build]
    registries: dict[str, Any] = {name: Registry(name) for name in ("CLAIMS", "FIGURES", "QUESTIONS")}
    for module in modules:
        for name, registry in registries.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, registry)
    for name in ("toy.one", "toy.two"):
        made = claim(name, paper="Toy", source="inferred", kind="identity", figure="bars" if name == "toy.one" else "")
        handle = made(lambda trial, name=name: check(trial, VALUE[name]))
        handle.broken("two")(lambda trial: check(trial, VALUE["twin"]))
        handle.control("one")(lambda trial: check(trial, 1.0))

    @figure("bars", title="Bars", claims=("toy.one",))
    def bars(results: Mapping[str, Data]) -> Figure:
        """Found and predicted."""
        drawn, axes = style.new(width=style.SINGLE)
        axes.plot(results["toy.one"]["value"])
        return drawn

    @question("how-much", title="How much?", asked="somebody", claims=("toy.one",), figure="bars")
    def how_much(evidence: Mapping[str, Mapping[str, Any]]) -> str:
        """It may matter.

        Very much.
        """
        return f"It is {evidence['toy.one']['detail']['found']:.1f}."

    yield
    VALUE.update({"toy.one": 1.0, "toy.two": 1.0, "twin": 2.0})


def reproduce(out: Path, *words: str) -> int:
    return main(["reproduce", "--out", str(out), "--workers", "1", *words])


def test_it_writes_everything_and_the_second_run_computes_nothing(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    assert reproduce(out) == 0
    told = capsys.readouterr().out
    assert "2 computed, 0 found finished, 1 figures drawn, quick size" in told and str(out / "report.html") in told
    written = json.loads((out / "verdicts.json").read_text())
    assert (written["schema"], written["counts"], written["failed"]) == (1, {"supported": 2}, {})
    names = {"bars.pdf", "bars.svg", "bars.png", "bars.toy.one.parquet", "figures.json"}
    assert {p.name for p in (out / "figures").iterdir()} == names
    page = (out / "report.html").read_text()
    assert "claim-toy.two" in page and "It is 1.0." in page and "data:image/svg+xml" in page
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.*") if p.suffix in (".parquet", ".svg", ".pdf", ".png")}
    assert reproduce(out) == 0
    assert "0 computed, 2 found finished, 0 figures drawn" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_changed_verdict_is_told_once(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce(tmp_path, "--no-figures") == 0
    # As an edited source would: another cell takes the place of the old one.
    VALUE["toy.two"] = 3.0
    for path in (tmp_path / "cells").glob("*.parquet"):
        path.unlink()
    capsys.readouterr()
    assert reproduce(tmp_path, "--no-figures") == 1
    assert "  toy.two: supported -> refuted" in capsys.readouterr().out
    assert "toy.two: supported -&gt; refuted" in (tmp_path / "report.html").read_text()
    assert reproduce(tmp_path, "--no-figures") == 0


def test_json_for_scripts(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce(tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sound"], told["counts"], told["computed"], told["drawn"]) == (True, {"supported": 2}, 2, 1)
    assert Path(told["report"]).exists() and told["failed"] == told["defects"] == {}
    assert main(["figures", "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [f["name"] for f in told["figures"]] == ["bars"] and told["drawn"] == 0


def test_only_checks_what_matches_and_keeps_the_rest(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(tmp_path, "--only", "toy.two") == 0
    assert "1 computed" in capsys.readouterr().out
    assert not (tmp_path / "figures" / "bars.svg").exists()
    assert "1 further claim" in (tmp_path / "report.html").read_text()
    assert reproduce(tmp_path, "--only", "bars") == 0  # a figure stands for its claims
    assert (tmp_path / "figures" / "bars.svg").exists()
    decided = verdicts.read(tmp_path)
    assert decided is not None and set(decided.decided) == {"toy.one", "toy.two"}


def test_a_twin_that_is_not_refuted_is_exit_code_1(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    VALUE["twin"] = 1.0
    assert reproduce(tmp_path, "--no-figures") == 1
    assert "DEFECT toy.one: the broken twin came out supported" in capsys.readouterr().out
    assert main(["claims", "check", "toy.one", "--out", str(tmp_path), "--workers", "1"]) == 1


def test_a_check_that_crashes_is_told_and_loses_no_other(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    VALUE["toy.two"] = float("nan")
    assert reproduce(tmp_path) == 1
    assert "FAILED check toy.two" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "did not finish" in page and "claim-toy.one" in page


def test_an_answer_that_cannot_be_formed_is_told(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @question("bad", title="Bad?", asked="somebody", claims=("toy.one",), figure="bars")
    def bad(evidence: Mapping[str, Mapping[str, Any]]) -> str:
        """It breaks."""
        return evidence["toy.one"]["detail"]["absent"]

    assert reproduce(tmp_path, "--no-figures") == 1
    assert "FAILED answer bad: KeyError: 'absent'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--only", "nothing-like-it"), "claim pattern: got 'nothing-like-it', allowed"),
        (("--only", "toy.on?e"), "nearest: toy.one"),
        (("--quick", "--full"), "size: got --quick and --full"),
        (("--workers", "0"), "workers"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    out = tmp_path / "results"
    assert main(["reproduce", "--out", str(out), *words]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_cannot_be_written_is_exit_code_2(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert reproduce(tmp_path / "file") == 2
    assert reproduce(tmp_path / "file" / "deeper") == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert main(["claims", "check", "--out", str(tmp_path / "file")]) == 2


def test_results_of_a_newer_schema_are_refused_untouched(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '{"schema": 2, "size": "quick", "claims": []}'
    (tmp_path / "verdicts.json").write_text(text)
    for words in (["reproduce"], ["claims", "check"], ["figures"]):
        assert main([*words, "--out", str(tmp_path)]) == 2
        assert "schema 2" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["verdicts.json"]
    assert (tmp_path / "verdicts.json").read_text() == text


def test_claims_are_listed_checked_and_shown(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "list", "--json"]) == 0
    assert [c["id"] for c in json.loads(capsys.readouterr().out)] == ["toy.one", "toy.two"]
    assert main(["claims", "check", "*one", "--json", "--out", str(tmp_path), "--workers", "1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["verdict"], row["alpha"], row["n"]) == ("toy.one", "supported", 0.0, 0)
    assert row["interval"] == [1.0, 1.0] and row["broken"] == "two" and row["twin_refuted"] is True
    assert main(["claims", "check", "--out", str(tmp_path), "--workers", "1"]) == 0
    assert "toy.two  supported" in capsys.readouterr().out
    assert reproduce(tmp_path, "--no-figures") == 0
    capsys.readouterr()
    assert main(["claims", "show", "toy.one", "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "last verdict: supported at quick size, twin refuted" in told and "claims check toy.one --size quick" in told


@pytest.mark.parametrize(
    "words",
    [
        ["claims", "list", "zzz"],
        ["claims", "check", "zzz"],
        ["claims", "show", "zzz"],
        ["claims", "show"],
        ["claims", "forget"],
        ["claims", "list", "toy.one", "toy.two"],
        ["claims", "check", "--size", "huge"],
        ["figures", "--only", "zzz"],
    ],
)
def test_bad_words_to_claims_and_figures(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_gallery_and_the_question_pages(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, docs = tmp_path / "results", tmp_path / "docs"
    assert reproduce(out) == 0
    words = ["figures", "--out", str(out), "--gallery", str(docs / "gallery"), "--questions", str(docs / "questions")]
    assert main(words) == 0
    gallery = (docs / "gallery" / "index.md").read_text()
    assert "## Bars" in gallery and "![Bars](bars.png)" in gallery and "Found and predicted." in gallery
    assert (docs / "gallery" / "bars.png").stat().st_size < 100_000
    page = (docs / "questions" / "how-much.md").read_text()
    for words_of_page in (
        "# How much?",
        "**It is 1.0.**",
        "Very much.",
        "../gallery/bars.png",
        "| `toy.one` | inferred |",
    ):
        assert words_of_page in page
    assert "[How much?](how-much.md): It is 1.0." in (docs / "questions" / "index.md").read_text()
    first = {p: p.read_bytes() for p in docs.rglob("*.*")}
    assert main(words) == 0
    assert {p: p.read_bytes() for p in docs.rglob("*.*")} == first


def test_figures_need_results(toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", "--out", str(tmp_path)]) == 2
    assert "a folder that `creditsim reproduce` filled" in capsys.readouterr().err


def test_a_real_claim_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a pool of one worker more than needed, as a user would start it."""
    assert main(["reproduce", "--only", "rloo.group-of-one", "--out", str(tmp_path), "--no-figures"]) == 0
    assert "RLOO" in capsys.readouterr().out
    assert main(["reproduce", "--only", "rloo.group-of-one", "--out", str(tmp_path), "--no-figures"]) == 0
    assert "0 computed, 1 found finished" in capsys.readouterr().out


@pytest.mark.slow
def test_interrupt_ends_within_two_seconds_and_goes_on_later(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "creditsim.cli",
        "reproduce",
        "--only",
        "GiGPO",
        "--no-figures",
        "--out",
        str(tmp_path),
    ]
    code = "import sys; from creditsim.cli import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *command[3:]], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("cells/*.claim")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in told and "Traceback" not in told
    assert time.monotonic() - start < 10  # two seconds on a machine that is not shared
    assert not (tmp_path / "verdicts.json").exists() and not (tmp_path / "report.html").exists()
