"""One Parquet file per cell: whole or absent, checked on reading, claimed by one process at a time."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from creditsim.errors import CorruptFileError, InputError
from creditsim.study.cells import SCHEMA, Cell, CellResult, canonical
from creditsim.study.provenance import provenance

__all__ = ["Store", "read_file", "write_file"]

_KEY = b"creditsim"
_LEASE_SECONDS = 6 * 3600.0


def _checksum(table: pa.Table, facts: dict[str, Any]) -> str:
    digest = hashlib.sha256(canonical(facts).encode())
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        digest.update(f"{name}:{column.type}".encode())
        if pa.types.is_string(column.type):
            digest.update(json.dumps(column.to_pylist()).encode())
        else:
            digest.update(column.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()


def write_file(path: Path, result: CellResult, facts: dict[str, Any]) -> None:
    """Write a table and its facts to `path` so that a reader sees the whole file or none.

    The temporary file lies in the same folder, is flushed to disk, then renamed over `path`; the folder is flushed too.
    """
    columns = {name: np.asarray(values) for name, values in result.table.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("table", f"columns of lengths {lengths}", "columns of one length")
    table = pa.table(
        {name: pa.array(values.tolist() if values.dtype.kind in "UO" else values) for name, values in columns.items()}
    )
    facts = {**facts, "schema": SCHEMA, "rows": table.num_rows, "meta": dict(result.meta)}
    header = canonical({"facts": facts, "checksum": _checksum(table, facts)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            pq.write_table(table.replace_schema_metadata({_KEY: header.encode()}), handle, compression="zstd")
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_file(path: Path) -> tuple[CellResult, dict[str, Any]]:
    """Read a table and its facts; CorruptFileError where the file is damaged, InputError where its schema is newer."""
    try:
        table = pq.read_table(path)
        header = json.loads((table.schema.metadata or {})[_KEY])
        facts, checksum = header["facts"], header["checksum"]
        schema = facts["schema"]
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can fail anywhere inside the Parquet reader
        raise CorruptFileError(str(path), type(error).__name__, "a whole result file") from None
    if schema > SCHEMA:
        raise InputError(str(path), f"results of schema {schema}", f"schema {SCHEMA} or older; update creditsim")
    if checksum != _checksum(table, facts):
        raise CorruptFileError(str(path), "a checksum that does not match", "a whole result file")
    columns = {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}
    return CellResult(columns, facts["meta"]), facts


class Store:
    """A folder of finished cells; the folder is the truth, there is no index to corrupt."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                "output folder", f"{self.folder} ({error.strerror})", "a folder that can be written"
            ) from None

    def path(self, cell: Cell) -> Path:
        """Where the cell's file is, or will be."""
        return self.folder / f"{cell.id}.parquet"

    def get(self, cell: Cell) -> CellResult | None:
        """Return the finished result, or None; a corrupt file is put aside as `.bad` and counts as not there."""
        path = self.path(cell)
        try:
            return read_file(path)[0]
        except FileNotFoundError:
            return None
        except CorruptFileError:
            path.replace(path.with_suffix(".bad"))
            return None

    def put(self, cell: Cell, result: CellResult, seconds: float) -> None:
        """Store a result with the cell's spec, seed and provenance."""
        facts = {"function": cell.function, "spec": dict(cell.spec), "seed": cell.seed, "seconds": round(seconds, 3)}
        write_file(self.path(cell), result, {**facts, "provenance": provenance()})

    def claim(self, cell: Cell) -> bool:
        """Claim a cell for this process; False while a live process holds it."""
        lock = self._lock(cell)
        content = canonical({"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}).encode()
        for _ in range(2):
            try:
                handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not self._abandoned(lock):
                    return False
                with suppress(FileNotFoundError):
                    lock.unlink()
                continue
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            return True
        return False

    def release(self, cell: Cell) -> None:
        """Give a claim back."""
        self._lock(cell).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Delete temporary files of dead writers; returns how many."""
        gone = 0
        for path in self.folder.glob(".*.tmp"):
            owner = path.suffixes[-2].lstrip(".") if len(path.suffixes) > 1 else ""
            if not (owner.isdigit() and _alive(int(owner))):
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def _lock(self, cell: Cell) -> Path:
        return self.folder / f"{cell.id}.claim"

    def _abandoned(self, lock: Path) -> bool:
        try:
            holder = json.loads(lock.read_text())
        except FileNotFoundError:
            return True
        except json.JSONDecodeError:
            # Between creating and writing a claim there is a moment with an empty file.
            return time.time() - lock.stat().st_mtime > 10.0
        if holder["host"] == socket.gethostname():
            return not _alive(holder["pid"])
        return time.time() - holder["time"] > _LEASE_SECONDS


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
