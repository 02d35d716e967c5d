"""`--json` of every command: what comes out is JSON with the documented keys, and nothing else is printed with it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from creditsim.cli import COMMANDS, main
from creditsim.estimators import ESTIMATORS
from creditsim.inventory import KINDS
from creditsim.methods import METHODS

GOLDEN = Path(__file__).parent / "golden"
ENTRY = {"kind", "name", "summary", "text", "paper", "evidence", "needs", "makes", "defaults", "presets", "parts"}
TRAIN = {
    "method", "environment", "parts", "replicates", "updates", "trajectories_per_update", "j_start", "j_end", "optimum",
    "success_start", "success_end", "rows_generated", "states_met", "updates_made", "failed",
}  # fmt: skip
CLAIM = {"id", "paper", "source", "kind", "statement", "figure", "broken", "control"}


def parsed(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> Any:
    """What the command prints with --json, read strictly: no NaN, nothing before or after."""
    assert main([*args, "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def keys_of(values: list[dict[str, Any]]) -> set[str]:
    assert values
    assert all(set(value) == set(values[0]) for value in values)
    return set(values[0])


@pytest.mark.parametrize("kind", KINDS)
def test_list(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys_of(parsed(capsys, "list", kind)) == ENTRY


@pytest.mark.parametrize("name", ["gigpo", "grpo@verl", "chain", "filtered", "3spo", "ppo"])
def test_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = parsed(capsys, "show", name)
    assert keys_of(shown) == ENTRY
    assert {entry["name"] for entry in shown} == {name.partition("@")[0]}


def test_show_gives_presets_and_defaults_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = parsed(capsys, "show", "gae", "--kind", "estimators")
    part = ESTIMATORS["gae"]
    assert entry["defaults"] == dict(part.defaults)
    assert entry["presets"] == {name: dict(values) for name, values in part.presets.items()}
    assert (entry["needs"], entry["paper"], entry["evidence"]) == (["value"], part.paper, {"estimator": part.evidence})


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    report = parsed(capsys, "doctor")
    assert set(report) == {"creditsim", "python", "platform", "core", "extras", "devices", "kernel_cache"}
    assert set(report["kernel_cache"]) == {"folder", "megabytes", "writable"}
    assert all(version for version in report["core"].values())


@pytest.mark.parametrize("method", ["grpo", "3spo", "ppo"])
def test_train(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("--env", "chain@tiny", "--updates", "2", "--replicates", "3", "--groups", "2", "--group-size", "4")
    summary = parsed(capsys, "train", "--method", method, *quick)
    assert set(summary) == TRAIN
    assert set(summary["parts"]) == {"design", "signals", "estimator", "update"}
    assert (summary["replicates"], summary["updates"], summary["trajectories_per_update"]) == (3, 2, 8)
    for side in ("j_start", "j_end", "success_start", "success_end"):
        assert set(summary[side]) == {"mean", "standard_error"}
    assert 0.0 <= summary["j_end"]["mean"] <= summary["optimum"] + 1e-12
    assert summary["j_start"]["standard_error"] == 0.0
    assert summary["rows_generated"] > 0


def test_train_without_updates_has_no_success_to_tell(capsys: pytest.CaptureFixture[str]) -> None:
    summary = parsed(capsys, "train", "--env", "chain@tiny", "--updates", "0", "--replicates", "1")
    assert summary["success_start"] is None and summary["states_met"] is None
    assert summary["j_end"]["standard_error"] is None
    assert summary["j_end"]["mean"] == summary["j_start"]["mean"]


def test_conformance(capsys: pytest.CaptureFixture[str]) -> None:
    told = parsed(capsys, "conformance", str(GOLDEN / "rloo.json"))
    assert set(told) == {"ok", "files"} and told["ok"] is True
    assert keys_of(told["files"]) == {"file", "estimator", "passed", "cases", "worst", "first_failure"}
    assert math.isfinite(told["files"][0]["worst"]["error"])


def test_claims(capsys: pytest.CaptureFixture[str]) -> None:
    listed = parsed(capsys, "claims", "list")
    assert keys_of(listed) == CLAIM
    ids = [claim["id"] for claim in listed]
    assert len(set(ids)) == len(ids)
    shown = parsed(capsys, "claims", "show", ids[0])
    assert set(shown) == CLAIM | {"last"}
    assert {key: shown[key] for key in CLAIM} == listed[0]


def test_study(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = ("study", "variance", "--estimators", "grpo", "rloo", "--environments", "chain@tiny")
    options = ("--group-sizes", "2", "--replicates", "64", "--workers", "1", "--out", str(tmp_path / "out"))
    assert main([*args, *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert {"study", "out", "run", "cells"} <= set(told)
    assert [cell["estimator"] for cell in told["cells"]] == ["grpo", "rloo"]
    keys_of(told["cells"])
    for cell in told["cells"]:
        for quantity in cell["quantities"].values():
            assert {"value", "low", "high"} <= set(quantity)


def test_every_command_with_json_is_tested_here() -> None:
    tested = {"list", "show", "doctor", "train", "conformance", "claims", "study"}
    writers = {"figures", "reproduce"}  # they write files that scripts read: Parquet and verdicts.json
    elsewhere = {"bridge"}  # tests/llm_bridge
    assert set(COMMANDS) == tested | writers | elsewhere


def test_methods_listed_are_those_that_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert [entry["name"] for entry in parsed(capsys, "list", "methods")] == METHODS.names()
