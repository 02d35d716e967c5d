"""Result files and their folder: whole or absent, never wrong, one owner at a time."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import study_cases

from creditsim.errors import CorruptFileError, InputError
from creditsim.study import files
from creditsim.study.cells import Cell, CellResult, canonical, source_hash, table_hash
from creditsim.study.files import read_file, write_bytes, write_file
from creditsim.study.owners import LEASE_SECONDS, Owner, abandoned, owner
from creditsim.study.store import Store

CELL = study_cases.cells(1)[0]


def _result() -> CellResult:
    return CELL.compute()


def _stored(folder: Path) -> tuple[Store, Path]:
    store = Store(folder)
    store.put(CELL, _result(), 0.5)
    return store, store.path(CELL)


def test_a_result_comes_back_with_its_facts(tmp_path: Path) -> None:
    store, path = _stored(tmp_path)
    found = store.get(CELL)
    assert found is not None
    assert table_hash(found.table) == table_hash(_result().table)
    _, facts = read_file(path)
    assert facts["spec"] == {"number": 0} and facts["seed"] == 7 and facts["rows"] == 50
    assert facts["table"] == table_hash(_result().table)
    assert {"versions", "python", "machine"} <= set(facts["provenance"])


def test_other_tools_read_the_file(tmp_path: Path) -> None:
    _, path = _stored(tmp_path)
    table = pq.ParquetFile(path).read(use_threads=False)
    assert table.column_names == ["x", "name"] and table.num_rows == 50


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"a": np.zeros(0)},
        {"a": np.array([np.nan, np.inf]), "b": np.array([True, False])},
        {"s": np.array(["", "é", "x" * 300]), "i": np.arange(3, dtype=np.int32)},
        {"none": np.array([], object)},
    ],
)
def test_odd_tables_come_back(tmp_path: Path, table: dict[str, np.ndarray]) -> None:
    write_file(tmp_path / "a.parquet", CellResult(table), {})
    found, _ = read_file(tmp_path / "a.parquet")
    assert list(found.table) == list(table)
    for name, values in table.items():
        np.testing.assert_array_equal(found.table[name], values)


def test_columns_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lengths"):
        write_file(tmp_path / "a.parquet", CellResult({"a": np.zeros(1), "b": np.zeros(2)}), {})
    assert list(tmp_path.iterdir()) == []


def test_every_flip_and_truncation_is_detected(tmp_path: Path) -> None:
    """200 damages: 100 of one bit anywhere, 50 cuts, 50 of a run of bytes. None may be read."""
    _, path = _stored(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    damaged = []
    for _ in range(100):
        content = bytearray(whole)
        content[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(content))
    damaged += [whole[: rng.integers(len(whole))] for _ in range(50)]
    for _ in range(50):
        at = int(rng.integers(len(whole) - 8))
        damaged.append(whole[:at] + rng.bytes(8) + whole[at + 8 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CorruptFileError):
            read_file(path)
    path.write_bytes(whole)
    read_file(path)


def test_without_the_seal_damage_would_pass(tmp_path: Path) -> None:
    """The broken twin: what Parquet itself notices of the same kind of damage is not all of it."""
    _, path = _stored(tmp_path)
    whole, table = path.read_bytes(), pq.ParquetFile(path).read(use_threads=False)
    rng, passed = np.random.default_rng(1), 0
    for _ in range(100):
        content = bytearray(whole)
        content[rng.integers(4, len(whole) // 3)] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        try:
            passed += not pq.ParquetFile(path).read(use_threads=False).equals(table)
        except (OSError, ValueError, UnicodeDecodeError):
            continue
    assert passed > 0


def test_a_corrupt_file_is_put_aside(tmp_path: Path) -> None:
    store, path = _stored(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    assert store.get(CELL) is None
    assert store.quarantined == [path.with_suffix(".bad")]
    assert not path.exists() and path.with_suffix(".bad").exists()
    assert store.get(CELL) is None  # nothing there now, and nothing more to put aside
    assert len(store.quarantined) == 1


def test_a_foreign_parquet_file_is_no_result(tmp_path: Path) -> None:
    import pyarrow as pa

    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(CorruptFileError):
        read_file(tmp_path / "a.parquet")


def test_a_file_that_cannot_be_read_is_not_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / f"{CELL.id}.parquet").mkdir(parents=True)
    with pytest.raises(InputError, match="directory"):
        Store(tmp_path).get(CELL)
    assert (tmp_path / f"{CELL.id}.parquet").exists()


def test_newer_schemas_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(files, "SCHEMA", 99)
    store.put(CELL, _result(), 0.0)
    monkeypatch.undo()
    with pytest.raises(InputError, match="schema 99"):
        store.get(CELL)
    assert store.path(CELL).exists()
    (tmp_path / "creditsim-results.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(InputError, match="schema 99"):
        Store(tmp_path)


@pytest.mark.parametrize("bad", ["file/below", "nul\0byte", "x" * 300])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, bad: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^output folder: got"):
        Store(tmp_path / bad)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    write_bytes(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


_WRITER = """
import sys
from pathlib import Path
import numpy as np
from creditsim.study.cells import CellResult
from creditsim.study.files import write_file
folder, i = Path(sys.argv[1]), 0
print("ready", flush=True)
while True:
    write_file(folder / f"{i % 5}.parquet", CellResult({"x": np.full(2000, float(i))}), {})
    i += 1
"""


@pytest.mark.slow
def test_kill_9_in_a_write_loop(tmp_path: Path) -> None:
    """20 kills at random moments of a writer that never rests: no unreadable file, no leftover after the next start."""
    rng, leftovers = np.random.default_rng(3), 0
    Store(tmp_path)
    for _ in range(20):
        command = [sys.executable, "-c", _WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(float(rng.uniform(0.005, 0.08)))
            process.send_signal(signal.SIGKILL)
        leftovers += len(list(tmp_path.glob(".*.tmp")))
        for path in tmp_path.glob("*.parquet"):
            result, _ = read_file(path)
            assert np.ptp(result.table["x"]) == 0.0 and result.n_rows == 2000
        Store(tmp_path).sweep()
        assert list(tmp_path.glob(".*.tmp")) == []


def test_sweep_spares_the_living_and_other_hosts(tmp_path: Path) -> None:
    me, store = owner(), Store(tmp_path)
    mine = tmp_path / f".a.parquet~{me.host}~{me.pid}~{me.started}~1.tmp"
    reused = tmp_path / f".a.parquet~{me.host}~{me.pid}~{me.started + 1}~1.tmp"
    foreign = tmp_path / ".a.parquet~elsewhere~1~1~1.tmp"
    nameless = tmp_path / ".old.tmp"
    for path in (mine, reused, foreign, nameless):
        path.touch()
    store.sweep()
    assert mine.exists() and foreign.exists() and nameless.exists() and reused.exists() == (me.started == 0)
    os.utime(foreign, (0, 0))
    os.utime(nameless, (0, 0))
    store.sweep()
    assert mine.exists() and not foreign.exists() and not nameless.exists()


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_owners() -> None:
    me, now = owner(), time.time()
    assert not abandoned(me, now)
    assert not abandoned(me, 0.0)  # a living process on this host keeps its claim however old
    assert abandoned(Owner(me.host, _dead_pid(), 0), now)
    assert abandoned(Owner(me.host, me.pid, 1), now) == (me.started != 0)
    assert not abandoned(Owner("elsewhere", 1, 1), now)
    assert abandoned(Owner("elsewhere", 1, 1), now - LEASE_SECONDS - 1)


def _claim(store: Store, holder: Owner) -> Path:
    lock = store.folder / f"{CELL.id}.claim"
    lock.write_text(canonical([*holder, time.time()]))
    return lock


def test_claims(tmp_path: Path) -> None:
    one, two = Store(tmp_path), Store(tmp_path)
    assert one.claim(CELL) and not two.claim(CELL)
    one.release(CELL)
    assert two.claim(CELL)
    two.release(CELL)
    lock = _claim(one, Owner(owner().host, _dead_pid(), 0))
    assert two.claim(CELL)  # taken from the dead
    assert json.loads(lock.read_text())[1] == os.getpid()
    two.release(CELL)
    _claim(one, Owner("elsewhere", 1, 1))
    assert not two.claim(CELL)


def test_an_unfinished_claim_is_respected_for_a_while(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = tmp_path / f"{CELL.id}.claim"
    lock.touch()
    assert not store.claim(CELL)
    os.utime(lock, (0, 0))
    assert store.claim(CELL)


def test_taking_a_dead_claim_away_spares_a_new_one(tmp_path: Path) -> None:
    """Between judging and removing, somebody else may have taken the cell: their claim must stay."""
    store = Store(tmp_path)
    dead = (Owner(owner().host, _dead_pid(), 0), 0.0)
    assert store.claim(CELL)
    lock = tmp_path / f"{CELL.id}.claim"
    content = lock.read_text()
    assert not store._take_away(lock, dead)
    assert lock.read_text() == content
    assert [p.name for p in tmp_path.glob("*.claim*")] == [lock.name]


def test_sweep_removes_claims_of_the_dead(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = _claim(store, Owner(owner().host, _dead_pid(), 0))
    assert store.sweep() == 1 and not lock.exists()
    lock = _claim(store, owner())
    assert store.sweep() == 0 and lock.exists()


def _ids(**environment: str) -> str:
    code = (
        "from creditsim.study.grid import variance_cells; from creditsim.study.spec import VarianceStudy;"
        "from creditsim.study.cells import table_hash;"
        "cells = variance_cells(VarianceStudy(environments=('chain@tiny(slip=0.1)',), replicates=20));"
        "print(*[c.id for c in cells], table_hash(cells[-1].compute().table))"
    )
    given = {**os.environ, **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=given, cwd="/").stdout


def test_ids_and_bits_do_not_depend_on_hash_seed_locale_zone_or_folder() -> None:
    first = _ids(PYTHONHASHSEED="0", LC_ALL="C", TZ="UTC")
    assert first == _ids(PYTHONHASHSEED="1", LC_ALL="C.UTF-8", TZ="Asia/Tokyo")
    assert len(first.split()) == 5


def test_an_id_is_of_what_is_computed() -> None:
    base = Cell("m:f", {"a": 1, "b": [1.5, None]}, 0)
    assert base.id == Cell("m:f", {"b": [1.5, None], "a": 1}, 0, title="t", options={"chunk": 3}).id
    others: list[Any] = [
        Cell("m:g", base.spec, 0), Cell("m:f", {"a": 2, "b": [1.5, None]}, 0), Cell("m:f", base.spec, 1),
        Cell("m:f", base.spec, 0, sources=("study_cases",)),
    ]  # fmt: skip
    assert len({base.id, *(cell.id for cell in others)}) == 5


def test_an_edit_of_a_users_module_is_a_new_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edited_estimator.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    cell = Cell("m:f", {}, 0, sources=("edited_estimator",))
    cell.check_sources()
    before = cell.id
    (tmp_path / "edited_estimator.py").write_text("x = 2\n")
    source_hash.cache_clear()
    assert Cell("m:f", {}, 0, sources=("edited_estimator",)).id != before
    with pytest.raises(InputError, match=r"^sources: got files that are not those"):
        cell.check_sources()


_LIGHT = """
import sys
from pathlib import Path
import numpy as np
from creditsim.study.cells import CellResult
from creditsim.study.files import read_file, write_file
path = Path(sys.argv[1])
write_file(path, CellResult({"x": np.arange(3.0), "s": np.array(["a", "b", "c"])}), {})
read_file(path)
print(*[name for name in ("pandas", "pyarrow.dataset", "numba", "scipy.stats") if name in sys.modules])
"""


def test_files_need_neither_pandas_nor_the_reader_whose_threads_abort_at_exit(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIGHT, str(tmp_path / "a.parquet")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == []
