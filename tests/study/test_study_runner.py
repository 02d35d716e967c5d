"""Running cells: each once, resumable, and honest about what went wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import study_cases

from creditsim.errors import InputError, ResourceError
from creditsim.study import store as store_module
from creditsim.study.cells import Cell, table_hash
from creditsim.study.owners import owner
from creditsim.study.runner import RunReport, run_cells, shard
from creditsim.study.store import Store


def _hashes(cells: list[Cell], folder: Path) -> list[str]:
    found = [Store(folder).get(cell) for cell in cells]
    return [table_hash(result.table) for result in found if result is not None]


def test_workers_threads_and_shards_give_the_same_tables(tmp_path: Path) -> None:
    cells = study_cases.cells(8)
    assert run_cells(cells, tmp_path / "one", workers=1) == RunReport(computed=8)
    assert run_cells(cells, tmp_path / "two", workers=2) == RunReport(computed=8)
    with ThreadPoolExecutor(3) as threads:
        assert run_cells(cells, tmp_path / "threads", executor=threads) == RunReport(computed=8)
    for i in range(1, 5):
        assert run_cells(shard(cells, f"{i}/4"), tmp_path / "shards", workers=1).computed == 2
    reference = _hashes(cells, tmp_path / "one")
    assert len(set(reference)) == 8
    for other in ("two", "threads", "shards"):
        assert _hashes(cells, tmp_path / other) == reference
        assert not list((tmp_path / other).glob("*.claim")) and not list((tmp_path / other).glob(".*"))


def test_finished_cells_are_skipped_and_corrupt_ones_computed_again(tmp_path: Path) -> None:
    cells = study_cases.cells(4, log=str(tmp_path / "log"))
    run_cells(cells, tmp_path / "out", workers=1)
    assert run_cells(cells, tmp_path / "out", workers=1) == RunReport(skipped=4)
    before = _hashes(cells, tmp_path / "out")
    for round_ in range(2):
        path = Store(tmp_path / "out").path(cells[2])
        path.write_bytes(path.read_bytes()[:-50])
        assert run_cells(cells, tmp_path / "out", workers=1) == RunReport(computed=1, skipped=3, quarantined=1), round_
    assert _hashes(cells, tmp_path / "out") == before
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "2", "2"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_defect_in_one_cell_spares_the_others(tmp_path: Path, workers: int) -> None:
    cells = [study_cases.failing("defect"), *study_cases.cells(3)]
    report = run_cells(cells, tmp_path, workers=workers)
    assert report == RunReport(computed=3, failed={"the defect one": "ZeroDivisionError: a defect"})


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("error", "words"), [("full", "no room left on the disk"), ("memory", "out of memory")])
def test_what_gives_out_stops_the_run_and_says_what_is_safe(
    tmp_path: Path, workers: int, error: str, words: str
) -> None:
    done = study_cases.cells(2)
    run_cells(done, tmp_path, workers=1)
    cells = [*done, study_cases.failing(error), *study_cases.cells(40, sleep=0.05)]
    begin = time.monotonic()
    with pytest.raises(ResourceError, match=f"{words} at the {error} one; [2-9] of 43 cells are safe in"):
        run_cells(cells, tmp_path, workers=workers)
    assert time.monotonic() - begin < 30
    assert len(_hashes(done, tmp_path)) == 2


def test_a_killed_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="a worker process died"):
        run_cells([study_cases.failing("killed"), *study_cases.cells(2)], tmp_path, workers=2)


def test_a_full_file_system(tmp_path: Path) -> None:
    """1 MB of a real file system where one may be mounted; what was stored before stays readable."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs more rights than this test has; the store's own tests simulate a full disk")
    try:
        cells = study_cases.cells(12, rows=20_000)  # about 150 kB each
        with pytest.raises(ResourceError, match=r"no room left on the disk at cell \d+; [3-6] of 12 cells are safe"):
            run_cells(cells, folder, workers=1)
        whole = sorted(folder.glob("*.parquet"))
        assert 3 <= len(whole) <= 6 and len(_hashes(cells, folder)) == len(whole)
        assert not list(folder.glob(".*.tmp")) and not list(folder.glob("*.claim"))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_cell_that_another_process_holds_is_left_to_it(tmp_path: Path) -> None:
    cells = study_cases.cells(2)
    assert Store(tmp_path).claim(cells[0])
    assert run_cells(cells, tmp_path, workers=1) == RunReport(computed=1, held=1)


def test_a_cell_finished_meanwhile_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = study_cases.cells(1, log=str(tmp_path / "log"))
    real = store_module.Store.get

    def late(self: Store, cell: Cell) -> None:
        assert real(self, cell) is None
        run_again(cells, tmp_path / "out")

    def run_again(cells: list[Cell], folder: Path) -> None:
        monkeypatch.undo()
        run_cells(cells, folder, workers=1)

    monkeypatch.setattr(store_module.Store, "get", late)
    assert run_cells(cells, tmp_path / "out", workers=1) == RunReport(skipped=1)
    assert (tmp_path / "log").read_text().split() == ["0"]


_MANY = """
import sys
from pathlib import Path
import study_cases
from creditsim.study.runner import run_cells
run_cells(study_cases.cells(100, log=sys.argv[1], rows=4), Path(sys.argv[2]), workers=1)
"""


def test_four_processes_compute_each_of_100_cells_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MANY, str(tmp_path / "log"), str(tmp_path / "out")]
    running = [subprocess.Popen(command, cwd=Path(__file__).parent) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(100))
    assert len(_hashes(study_cases.cells(100, log=str(tmp_path / "log"), rows=4), tmp_path / "out")) == 100


def test_check_then_create_would_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken twin of the test before, two threads in step: without claims a cell is computed twice."""
    log = tmp_path / "log"
    cell = study_cases.cells(1, log=str(log), sleep=0.2)
    monkeypatch.setattr(store_module.Store, "claim", lambda self, cell: True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: run_cells(cell, tmp_path / "out", workers=1), range(2)))
    assert log.read_text().split() == ["0", "0"]


@pytest.mark.parametrize("which", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_wrong_shards(which: str) -> None:
    with pytest.raises(InputError, match=r"^shard: got"):
        shard([], which)


def test_shards_cover_every_cell_once() -> None:
    cells = study_cases.cells(10)
    parts = [shard(cells, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(cell.id for part in parts for cell in part) == sorted(cell.id for cell in cells)
    assert shard(cells, None) == cells


def test_other_children_of_this_process_survive_an_ended_pool(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        with pytest.raises(ResourceError):
            run_cells([study_cases.failing("memory"), *study_cases.cells(3)], tmp_path, workers=2)
        assert bystander.poll() is None
        bystander.kill()
    assert owner().pid != bystander.pid
