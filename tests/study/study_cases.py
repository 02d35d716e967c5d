"""Cells for tests of the runner and the store, and estimators that do what they may not."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.study.cells import Cell, CellResult

HERE = "study_cases"


def draw(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Numbers and text by seed; `log` names a file that gets one line per computation."""
    if "log" in spec:
        with Path(spec["log"]).open("a") as log:
            log.write(f"{spec['number']}\n")
    if "sleep" in spec:
        time.sleep(spec["sleep"])
    rng = np.random.default_rng(seed + spec["number"])
    values = rng.standard_normal(spec.get("rows", 50))
    return CellResult({"x": values, "name": np.array(["a", "bé"] * (values.size // 2), object)}, {"seed": seed})


def fails(spec: Mapping[str, Any], seed: int) -> CellResult:
    """The error that the spec asks for."""
    if spec["error"] == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if spec["error"] == "memory":
        raise MemoryError
    if spec["error"] == "killed":
        os._exit(9)
    raise ZeroDivisionError("a defect")


def cells(n: int, **spec: Any) -> list[Cell]:
    """N small cells."""
    return [Cell(f"{HERE}:draw", {"number": i, **spec}, 7, title=f"cell {i}") for i in range(n)]


def failing(error: str) -> Cell:
    """A cell that fails."""
    return Cell(f"{HERE}:fails", {"error": error}, 7, title=f"the {error} one")


def reward(rollouts: Rollouts, *, scale: float = 1.0) -> np.ndarray:
    """An estimator of one's own: the immediate reward."""
    return scale * rollouts.reward


def wrong_shape(rollouts: Rollouts) -> np.ndarray:
    """One entry too few."""
    return rollouts.reward[1:]


def not_a_number(rollouts: Rollouts) -> np.ndarray:
    """NaN in every row."""
    return np.full(rollouts.n_rows, np.nan)


def mutating(rollouts: Rollouts) -> np.ndarray:
    """Changes its input."""
    rollouts.reward[:] += 1.0
    return rollouts.reward * 1.0


def raising(rollouts: Rollouts) -> np.ndarray:
    """Has a defect of its own."""
    return rollouts.reward[10**9 :] / rollouts.nothing  # pyright: ignore[reportAttributeAccessIssue] # the defect


def late_nan(rollouts: Rollouts) -> np.ndarray:
    """NaN in a call of many batches only, so that no trial run sees it."""
    values = np.zeros(rollouts.n_rows)
    if rollouts.n_batches > 256:
        values[-1] = np.nan
    return values
