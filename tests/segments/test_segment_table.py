"""Every primitive on every array library against plain Python, from one table; device bodies in the simulator too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segment_cases import CASES, Case

import creditsim.segments as segments


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, library: Any) -> None:
    case.check(case.result(segments, library.to), library.back)


def test_every_primitive_has_cases() -> None:
    assert {case.function for case in CASES} == set(segments.__all__) - {"context_ids"}


@pytest.mark.parametrize("case", [c for c in CASES if c.arguments[0].size > 20][::7], ids=lambda case: case.name)
def test_the_table_rejects_a_broken_result(case: Case) -> None:
    def swapped(x: np.ndarray) -> np.ndarray:
        moved = np.asarray(x).copy()
        moved.flat[-1] += 1
        return moved

    with pytest.raises(AssertionError):
        case.check(case.result(segments, np.asarray), swapped)


def _python(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def test_device_bodies_in_the_simulator() -> None:
    done = _python(Path(__file__).with_name("simulated_device.py"), NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["passed", str(len(CASES))]


def test_kernels_stay_in_bounds(tmp_path: Path) -> None:
    script = Path(__file__).with_name("checked_bounds.py")
    done = _python(script, NUMBA_BOUNDSCHECK="1", CREDITSIM_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[0] == "passed"
