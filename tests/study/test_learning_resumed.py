"""A learning study that is killed goes on where it was and comes out bit by bit as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from creditsim.study.cells import table_hash
from creditsim.study.grid import learning_cells
from creditsim.study.learning import run_cell
from creditsim.study.spec import LearningStudy
from creditsim.study.store import Store

# Methods with no state, a critic, a score table and a growing tree, dropped groups, a planner, turns in order.
METHODS = ("gigpo", "ppo", "3spo", "dapo", "remax", "seeupo")
WORDS = ("--environments", "chain@tiny", "--updates", "12", "--replicates", "4", "--workers", "1", "--out")


def study() -> LearningStudy:
    return LearningStudy(methods=METHODS, environments=("chain@tiny",), updates=12, replicates=4)


@pytest.mark.slow
def test_a_killed_study_of_any_kind_of_method_resumes_to_the_same_bits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "creditsim", "study", "learning", "--methods", *METHODS, *WORDS, "out", "--json"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = sorted((tmp_path / "out").glob("*.parquet"))
    assert done
    before = [path.read_bytes() for path in done]
    found = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert found["run"]["skipped"] == len(done) and found["run"]["computed"] == len(METHODS) - len(done)
    assert [path.read_bytes() for path in done] == before
    cells = learning_cells(study())
    store = Store(tmp_path / "out")
    for cell in cells:
        stored = store.get(cell)
        assert stored is not None and table_hash(stored.table) == table_hash(run_cell(cell.spec, cell.seed).table)
    # Broken twin: another seed is another table.
    first = cells[0]
    assert table_hash(run_cell(first.spec, first.seed + 1).table) != table_hash(run_cell(first.spec, first.seed).table)


def test_failed_replicates_are_facts_of_the_cell() -> None:
    cell = learning_cells(study())[0]
    result = run_cell(cell.spec, cell.seed)
    assert result.meta["failed"] == {"number": 0, "replicates": [], "first_update": None}
    assert np.isfinite(result.table["j"]).all()
