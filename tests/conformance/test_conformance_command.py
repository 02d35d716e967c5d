"""`creditsim conformance DIR`: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_cases import GOLDEN, good, write

from creditsim.cli import main
from creditsim.conformance.base import ADAPTERS


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["conformance", *args])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_clean_golden_files_exit_0(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, str(GOLDEN))
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert len(lines) == 20
    assert all(line.startswith("ok   ") for line in lines[:-1])
    assert "grpo.json" in out and "14/14 cases" in out and "worst error" in out
    assert lines[-1] == "19 files, 159/159 cases: all within tolerance"


def test_a_miss_exits_1_and_prints_the_case_in_full(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    data = good()
    data["cases"][1]["expected"]["advantage"] = [2.5]
    data["cases"][1]["params"] = {"epsilon": 0.25}
    write(tmp_path, data)
    write(tmp_path, good(), "fine.json")
    code, out, _ = run(capsys, str(tmp_path))
    assert code == 1
    assert "MISS rloo.json  1/2 cases" in out
    assert "ok   fine.json  2/2 cases" in out
    for line in (
        "rloo.json: first failing case alone",
        "    epsilon = 0.25",
        "    score = [2.0]",
        "    advantage = [2.0]",
        "    advantage = [2.5]",
        "    advantage[0]: got 2.0, want 2.5, error 0.5, allowed 0.000251",
        "2 files, 3/4 cases: misses in rloo.json",
    ):
        assert line in out.splitlines()


def test_many_misses_are_cut_short(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    data = json.loads((GOLDEN / "rloo.json").read_text())
    for case in data["cases"]:
        case["expected"]["advantage"] = [x + 1.0 for x in case["expected"]["advantage"]]
    write(tmp_path, data)
    _, out, _ = run(capsys, str(tmp_path))
    assert "    ... and 2 more" in out


def test_json(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    data = good()
    data["cases"][0]["expected"]["advantage"] = [-1.0, 1.0]
    data["cases"][1]["expected"]["not_computed"] = [1.0]
    write(tmp_path, data)
    code, out, _ = run(capsys, str(tmp_path), "--json")
    told = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert code == 1 and told["ok"] is False
    (file,) = told["files"]
    assert (file["file"], file["passed"], file["cases"]) == ("rloo.json", 1, 2)
    assert file["worst"] == {"case": "alone", "place": "not_computed", "error": None}
    assert file["first_failure"]["case"] == "alone"
    assert file["first_failure"]["misses"] == [{"place": "not_computed", "got": "nothing", "want": "a value"}]
    code, out, _ = run(capsys, str(GOLDEN / "rloo.json"), "--json")
    assert code == 0 and json.loads(out)["files"][0]["first_failure"] is None


def test_json_has_no_infinity(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An adapter of the reader's own may return what JSON cannot hold."""
    part = ADAPTERS["rloo"]
    bad = type(part)(part.kind, part.name, lambda params, inputs: {"advantage": np.array([np.nan, np.inf])})
    monkeypatch.setitem(ADAPTERS._parts, "rloo", bad)
    write(tmp_path, {**good(), "cases": good()["cases"][:1]})
    code, out, _ = run(capsys, str(tmp_path), "--json")
    told = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert code == 1
    assert told["files"][0]["first_failure"]["got"] == {"advantage": [None, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "rloo.json: got what is not JSON"),
        (json.dumps({**good(), "schema_version": 9}), "rloo.json schema_version: got 9, allowed 1"),
        (json.dumps({**good(), "estimator": "rlo"}), "rloo.json estimator: got 'rlo'"),
    ],
)
def test_corrupt_files_exit_2_with_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str
):
    write(tmp_path, good(), "a_good_one.json")
    write(tmp_path, text)
    code, out, err = run(capsys, str(tmp_path))
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1


def test_no_golden_file_exits_2(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    code, out, err = run(capsys, str(tmp_path))
    assert (code, out) == (2, "") and "at least one golden file" in err
    code, _, err = run(capsys)
    assert code == 2 and len(err.splitlines()) == 1
    code, _, err = run(capsys, str(tmp_path), "--jsno")
    assert code == 2 and "--json" in err
