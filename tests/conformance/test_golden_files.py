"""Every golden file of the repository passes, and a changed number in any of them does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import GOLDEN, write

from creditsim.conformance import report
from creditsim.conformance.base import ADAPTERS
from creditsim.conformance.read import read_golden
from creditsim.conformance.run import read_folder, run_file, run_files

FILES = sorted(GOLDEN.glob("*.json"))
CASES = {
    "gae": 6, "gigpo": 14, "gpg": 7, "grpo": 14, "grpo_agent": 16, "grpo_passk": 6, "hgpo": 12, "kl_penalty": 4,
    "opo": 7, "optimal_token_baseline": 5, "policy_loss": 8, "reinforce_plus_plus": 6,
    "reinforce_plus_plus_baseline": 7, "reinforce_plus_plus_baseline_agent": 11, "remax": 5, "rloo": 7,
    "rloo_agent": 11, "trl_grpo": 8, "trl_rloo": 5,
}  # fmt: skip
every_file = pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])


def test_no_golden_file_is_missing():
    assert {path.stem: len(read_golden(path).cases) for path in FILES} == CASES
    assert set(ADAPTERS.names()) >= set(CASES)


@every_file
def test_the_file_passes(path: Path):
    result = run_file(read_golden(path))
    assert result.ok, "\n".join(report.failure_lines(result))
    assert result.first_failure is None
    # The references computed in float32, and agree far better than their tolerance of 1e-4.
    assert result.worst.worst.share < 0.05


def largest_number(value: Any) -> tuple[Any, Any]:
    """The container and key of the largest number of an expected block; labels may be renamed, so they are left out."""
    best: tuple[float, Any, Any] = (-1.0, None, None)
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        if key == "step_group":
            continue
        if isinstance(inner, (dict, list)):
            container, place = largest_number(inner)
            size = abs(container[place]) if container is not None else -1.0
        else:
            container, place, size = value, key, abs(inner) if inner is not None else -1.0
        if size > best[0]:
            best = (size, container, place)
    return best[1], best[2]


@every_file
def test_one_changed_number_is_a_miss_and_printed(path: Path, tmp_path: Path):
    data = json.loads(path.read_text())
    case = data["cases"][-1]
    container, place = largest_number(case["expected"])
    container[place] = container[place] * 1.001
    result = run_file(read_golden(write(tmp_path, data, path.name)))
    assert result.passed == len(data["cases"]) - 1
    text = "\n".join(report.failure_lines(result))
    assert f"first failing case {case['name']}" in text
    for section in ("params:", "inputs:", "got:", "want:", "misses: 1 of"):
        assert section in text


def test_results_come_file_by_file():
    files = read_folder(GOLDEN / "rloo.json")
    (result,) = run_files(files)
    assert result.file.estimator == "rloo"
    assert [case.case.name for case in result.cases] == [case.name for case in result.file.cases]


def test_a_sign_flipped_estimator_fails_its_file(monkeypatch: pytest.MonkeyPatch):
    """The check can fail: the same file with a broken library behind it."""
    part = ADAPTERS["rloo"]
    broken = {name: getattr(part, name) for name in ("kind", "name")}
    flipped = type(part)(**broken, function=lambda p, i: {k: -np.asarray(v) for k, v in part.function(p, i).items()})
    monkeypatch.setitem(ADAPTERS._parts, "rloo", flipped)
    result = run_file(read_golden(GOLDEN / "rloo.json"))
    assert result.passed < len(result.cases)
