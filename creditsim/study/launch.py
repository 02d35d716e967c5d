"""What `creditsim study` does between its options and its printout: check, predict, run, keep the settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from creditsim.configs import dump
from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.study.cells import Cell
from creditsim.study.exploration import exploration_cells
from creditsim.study.files import write_bytes
from creditsim.study.grid import fit_memory, learning_cells, try_out, variance_cells
from creditsim.study.regret import regret_cells
from creditsim.study.runner import RunReport, cpus, run_cells, shard
from creditsim.study.spec import ExplorationStudy, LearningStudy, RegretStudy, Study, VarianceStudy
from creditsim.study.store import Store

__all__ = ["How", "Outlook", "launch"]

_CELLS: dict[type, Callable[..., list[Cell]]] = {
    VarianceStudy: variance_cells,
    LearningStudy: learning_cells,
    RegretStudy: regret_cells,
    ExplorationStudy: exploration_cells,
}
_EXECUTORS = ("processes", "serial", "dask=ADDRESS")


@dataclass(frozen=True)
class How:
    """How to run a study: nothing here changes a result."""

    out: Path
    workers: int | None = None
    shard: str | None = None
    executor: str = "processes"
    memory: int = 512
    """MiB of arrays that one worker may hold."""

    def check(self) -> None:
        """Raise an InputError for what no run can have."""
        for field in ("workers", "memory"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise InputError(field, value, "a whole number >= 1")
        if self.executor.partition("=")[0] not in ("processes", "serial", "dask"):
            known = " | ".join(_EXECUTORS)
            raise UnknownNameError("executor", repr(self.executor), known, nearest(self.executor, _EXECUTORS))
        if self.executor.startswith("dask") and not self.executor.partition("=")[2]:
            raise InputError("executor", repr(self.executor), "dask=ADDRESS, as in dask=tcp://127.0.0.1:8786")


@dataclass(frozen=True)
class Outlook:
    """What is known before the first cell runs."""

    cells: int
    waiting: int
    workers: int
    bytes_per_worker: int | None

    def __str__(self) -> str:
        if self.waiting == 0:
            return f"{self.cells} cells, all of them finished before"
        text = f"{self.cells} cells, {self.cells - self.waiting} of them finished before, {self.workers} at a time"
        if self.bytes_per_worker is None:
            return text
        each = self.bytes_per_worker / 2**20
        return f"{text}; predicted memory {each:.0f} MiB of arrays each, beside Python and its libraries"


def launch(
    study: Study, how: How, tell: Callable[[Outlook], None] = lambda outlook: None
) -> tuple[list[Cell], Store, RunReport]:
    """Check every cell, tell what is to come, run what is not finished, and return the cells with their store.

    Nothing is written before all is checked. The settings are kept as `NAME.toml` beside the cells. Errors: those of
    the checks and of `run_cells`.
    """
    how.check()
    cells = shard(_CELLS[type(study)](study), how.shard)
    waiting = [cell for cell in cells if not (how.out / f"{cell.id}.parquet").exists()]
    workers, most = max(1, min(how.workers or cpus(), len(waiting))), None
    if how.executor == "serial":
        workers = 1
    if isinstance(study, VarianceStudy):
        fitted, most = fit_memory(waiting, try_out(waiting), how.memory << 20)
        by_id = {cell.id: cell for cell in fitted}
        cells = [by_id.get(cell.id, cell) for cell in cells]
    with _executor(how) as executor:
        store = Store(how.out)
        tell(Outlook(len(cells), len(waiting), workers, most))
        write_bytes(how.out / f"{study.name}.toml", dump(study).encode())
        report = run_cells(cells, how.out, executor=executor, workers=workers, label=study.name)
    return cells, store, report


@contextmanager
def _executor(how: How) -> Iterator[Executor | None]:
    """The executor asked for; None where `run_cells` makes its own."""
    kind, _, address = how.executor.partition("=")
    if kind != "dask":
        yield None
        return
    try:
        client_of = importlib.import_module("distributed").Client
    except ImportError:
        raise InputError("executor", repr(how.executor), "an installed scheduler: pip install distributed") from None
    try:
        client = client_of(address, timeout="10s")
    except Exception as error:
        raise InputError("executor", repr(how.executor), f"a scheduler that answers ({error})") from None
    with client:
        yield client.get_executor()
