"""A folder of finished cells: whole or absent, checked on reading, claimed by one process at a time."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

from creditsim.errors import CorruptFileError, InputError
from creditsim.study.cells import SCHEMA, Cell, CellResult, canonical
from creditsim.study.files import FULL, read_file, write_bytes, write_file
from creditsim.study.owners import Owner, abandoned, owner
from creditsim.study.provenance import provenance

__all__ = ["Store", "read_file", "write_file"]

_MARK = "creditsim-results.json"
_WRITING_SECONDS = 10.0
"""Between creating a claim and writing it there is a moment with an empty file."""


class Store:
    """A folder of finished cells; the folder is the truth, there is no index to corrupt.

    Making one makes the folder and marks it with the schema of its results. `quarantined` lists the corrupt files put
    aside by this object. Errors: InputError for a folder that cannot be made or written, or holds a newer schema.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.quarantined: list[Path] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe.{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
            self._mark()
        except (OSError, ValueError) as error:
            if isinstance(error, InputError) or getattr(error, "errno", None) in FULL:
                raise
            what = getattr(error, "strerror", None) or str(error)
            raise InputError("output folder", f"{self.folder} ({what})", "a folder that can be written") from None

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
            # Another process may have put it aside, or even replaced it, in the meantime.
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".bad"))
                self.quarantined.append(path.with_suffix(".bad"))
            return None

    def put(self, cell: Cell, result: CellResult, seconds: float) -> None:
        """Store a result with the cell's spec, seed and provenance."""
        facts = {"function": cell.function, "spec": dict(cell.spec), "seed": cell.seed, "seconds": round(seconds, 3)}
        write_file(self.path(cell), result, {**facts, "provenance": provenance()})

    def claim(self, cell: Cell) -> bool:
        """Claim a cell for this process; False while a live process holds it."""
        lock = self._lock(cell)
        for _ in range(2):
            if self._make(lock):
                return True
            holder = self._holder(lock)
            if holder is not None and not abandoned(*holder):
                return False
            self._take_away(lock, holder)
        return False

    def release(self, cell: Cell) -> None:
        """Give a claim back."""
        self._lock(cell).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Delete temporary files and claims of dead processes; returns how many."""
        gone = 0
        for path in self.folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):
                if abandoned(_writer(path), path.stat().st_mtime):
                    path.unlink()
                    gone += 1
        for lock in self.folder.glob("*.claim*"):
            with suppress(FileNotFoundError):
                holder = self._holder(lock)
                if holder is not None and abandoned(*holder):
                    gone += self._take_away(lock, holder)
        return gone

    def _lock(self, cell: Cell) -> Path:
        return self.folder / f"{cell.id}.claim"

    def _make(self, lock: Path) -> bool:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(canonical([*owner(), time.time()]).encode())
        except BaseException:
            lock.unlink(missing_ok=True)
            raise
        return True

    def _holder(self, lock: Path) -> tuple[Owner, float] | None:
        """Who holds a claim since when; None where it is gone or was never finished."""
        try:
            host, pid, started, since = json.loads(lock.read_text())
            return Owner(host, pid, started), since
        except FileNotFoundError:
            return None
        except ValueError:
            with suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime < _WRITING_SECONDS:
                    return owner(), 0.0  # somebody who is at work
            return None

    def _take_away(self, lock: Path, judged: tuple[Owner, float] | None) -> bool:
        """Remove the claim that was judged, and no newer one: moved aside, looked at again, put back if it is another.

        Two processes that find the same dead claim would otherwise remove each other's new ones.
        """
        aside = lock.with_name(f"{lock.name}.{uuid.uuid4().hex}")
        try:
            lock.rename(aside)
        except FileNotFoundError:
            return False
        same = self._holder(aside) == judged
        if not same:
            with suppress(FileExistsError):
                os.link(aside, lock)
        aside.unlink(missing_ok=True)
        return same

    def _mark(self) -> None:
        mark = self.folder / _MARK
        try:
            schema = int(json.loads(mark.read_text())["schema"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            write_bytes(mark, canonical({"schema": SCHEMA}).encode())
            return
        if schema > SCHEMA:
            allowed = f"schema {SCHEMA} or older; update creditsim or use another folder"
            raise InputError("output folder", f"{self.folder} with results of schema {schema}", allowed)


def _writer(temporary: Path) -> Owner:
    """The process named by a temporary file; one whose name tells nobody is nobody's."""
    try:
        _, host, pid, started, _ = temporary.name.rsplit("~", 4)
        return Owner(host, int(pid), int(started))
    except ValueError:
        return Owner("", 0, 0)
