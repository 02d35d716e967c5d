"""Run cells through any `concurrent.futures.Executor`; interruptible, resumable, with progress."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from creditsim.errors import CreditsimError, InputError, ResourceError
from creditsim.study.cells import Cell
from creditsim.study.files import FULL
from creditsim.study.store import Store

__all__ = ["RunReport", "compute_and_store", "cpus", "process_pool", "run_cells", "shard"]

_PATIENCE = 0.7
"""Seconds that ended workers are given before they are killed."""


@dataclass
class RunReport:
    """What a run did: cells computed, cells found finished, cells another process holds, and failures by cell title.

    `quarantined` counts corrupt files that were put aside; their cells are among those computed.
    """

    computed: int = 0
    skipped: int = 0
    held: int = 0
    quarantined: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def cpus() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shard(cells: Sequence[Cell], which: str | None) -> list[Cell]:
    """Take every n-th cell from the i-th on, for `i/n` counted from 1; all of them for None."""
    if which is None:
        return list(cells)
    try:
        i, n = (int(part) for part in which.split("/"))
        if not 1 <= i <= n:
            raise ValueError
    except ValueError:
        raise InputError("shard", repr(which), "i/n with 1 <= i <= n") from None
    return list(cells)[i - 1 :: n]


def _initialise(threads: int) -> None:
    # The parent handles Ctrl-C and ends its workers; a worker that also printed a traceback would only confuse.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))


_leaving = threading.Event()


def _leave(*_: Any) -> None:
    # An exception, not death: the claim is given back, temporary files and semaphores are removed on the way out. The
    # pool's worker takes any exception for the result of its task and goes on to the next one, which `_leaving` ends.
    _leaving.set()
    raise SystemExit(128 + signal.SIGTERM)


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """A pool of fresh processes (forkserver where there is one): a fork after a parallel kernel would die."""
    workers = workers or cpus()
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    threads = max(1, cpus() // workers)
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise, initargs=(threads,))


def compute_and_store(cell: Cell, folder: str) -> str:
    """Compute one cell and store it; returns "computed", "skipped" or "held"."""
    if _leaving.is_set():
        raise SystemExit(128 + signal.SIGTERM)
    cell.check_sources()
    store = Store(Path(folder))
    if not store.claim(cell):
        return "held"
    try:
        if store.path(cell).exists():
            return "skipped"
        start = time.perf_counter()
        result = cell.compute()
        store.put(cell, result, time.perf_counter() - start)
        return "computed"
    finally:
        store.release(cell)


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    label: str = "cells",
    on_done: Callable[[Cell], None] | None = None,
) -> RunReport:
    """Compute every cell that is not finished yet.

    `executor` None makes a process pool of `workers` (1: in this process). `progress` None shows a bar with the time
    left when standard error is a terminal. A cell that fails is reported and does not stop the others. Ctrl-C ends
    workers at once and raises KeyboardInterrupt, a second one ends this process; what was stored stays, and the next
    run goes on from there. Errors: ResourceError, with what is safe, where disk or memory gave out or a worker died.
    """
    from tqdm import tqdm

    store, report = Store(folder), RunReport()
    store.sweep()
    waiting = [cell for cell in cells if store.get(cell) is None]
    report.skipped, report.quarantined = len(cells) - len(waiting), len(store.quarantined)
    show = sys.stderr.isatty() if progress is None else progress
    bar = tqdm(total=len(cells), initial=report.skipped, desc=label, unit="cell", disable=not show)
    with bar, _executor(executor, workers, len(waiting)) as pool:
        for cell, outcome, error in _outcomes(waiting, folder, pool):
            if error is None:
                setattr(report, outcome, getattr(report, outcome) + 1)
            elif isinstance(error, CreditsimError):
                report.failed[cell.title or cell.id] = str(error)
            elif (what := _given_out(error)) is not None:
                safe = report.computed + report.skipped
                raise ResourceError(
                    f"{what} at {cell.title or cell.id}; {safe} of {len(cells)} cells are safe in {folder}, "
                    "the next run goes on from there"
                )
            else:  # a defect in one cell must not lose the others
                report.failed[cell.title or cell.id] = f"{type(error).__name__}: {error}"
            bar.update()
            bar.set_postfix_str(cell.title, refresh=False)
            if on_done is not None:
                on_done(cell)
    return report


def _given_out(error: Exception) -> str | None:
    """Which resource an error says is exhausted; None for any other error."""
    if isinstance(error, OSError) and error.errno in FULL:
        return "no room left on the disk"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, BrokenExecutor):
        return "a worker process died (killed, perhaps for want of memory)"
    return None


@contextmanager
def _executor(given: Executor | None, workers: int | None, tasks: int) -> Iterator[Executor | None]:
    """The executor to use: the caller's own; a pool that is gone afterwards, whatever happens; None: this process."""
    if given is not None or workers == 1 or tasks == 0:
        yield given
        return
    before = set(multiprocessing.active_children())
    pool = process_pool(min(workers or cpus(), tasks))
    try:
        yield pool
    except BaseException:
        _end(pool, before)
        raise
    pool.shutdown()


def _end(pool: ProcessPoolExecutor, before: set[Any]) -> None:
    """End a pool at once; a second Ctrl-C while this goes on ends this process too."""
    with _default_interrupt():
        pool.shutdown(wait=False, cancel_futures=True)
        workers = [child for child in multiprocessing.active_children() if child not in before]
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + _PATIENCE
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()


@contextmanager
def _default_interrupt() -> Iterator[None]:
    # Handlers can be changed in the main thread only; elsewhere Ctrl-C does not arrive anyway.
    handler = None
    with suppress(ValueError):
        handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _outcomes(
    cells: Sequence[Cell], folder: Path, pool: Executor | None
) -> Iterator[tuple[Cell, str, Exception | None]]:
    if pool is None:
        for cell in cells:
            yield _judge(cell, lambda cell=cell: compute_and_store(cell, str(folder)))
        return
    futures: dict[Future[str], Cell] = {}
    try:
        for cell in cells:
            try:
                futures[pool.submit(compute_and_store, cell, str(folder))] = cell
            except BrokenExecutor as error:
                yield cell, "", error
        while futures:
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                yield _judge(futures.pop(future), future.result)
    finally:
        for future in futures:
            future.cancel()


def _judge(cell: Cell, result: Callable[[], str]) -> tuple[Cell, str, Exception | None]:
    try:
        return cell, result(), None
    except Exception as error:  # sorted out by the caller, who must not lose the other cells
        return cell, "", error
