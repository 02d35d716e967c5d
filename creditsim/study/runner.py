"""Run cells through any `concurrent.futures.Executor`; interruptible, resumable, with progress."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from creditsim.errors import CreditsimError
from creditsim.study.cells import Cell, CellResult
from creditsim.study.store import Store

__all__ = ["RunReport", "process_pool", "run_cells", "shard"]


@dataclass
class RunReport:
    """What a run did: cells computed, cells found finished, cells another process holds, and failures by cell title."""

    computed: int = 0
    skipped: int = 0
    held: int = 0
    quarantined: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def shard(cells: Sequence[Cell], which: str | None) -> list[Cell]:
    """Take every n-th cell from the i-th on, for `i/n` counted from 1; all of them for None."""
    if which is None:
        return list(cells)
    from creditsim.errors import InputError

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
    os.environ.setdefault("NUMBA_NUM_THREADS", str(threads))


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """A pool of fresh processes (forkserver where there is one): a fork after a parallel kernel would die."""
    workers = workers or os.cpu_count() or 1
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_initialise, initargs=(threads,))


def compute_and_store(cell: Cell, folder: str) -> str:
    """Compute one cell and store it; returns "computed", "skipped" or "held"."""
    store = Store(Path(folder))
    if not store.claim(cell):
        return "held"
    try:
        if store.path(cell).exists():
            return "skipped"
        start = time.perf_counter()
        result: CellResult = cell.compute()
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
    workers at once and raises KeyboardInterrupt; what was stored stays, and the next run goes on from there.
    """
    from tqdm import tqdm

    store, report = Store(folder), RunReport()
    store.sweep()
    waiting = []
    for cell in cells:
        bad_before = store.path(cell).with_suffix(".bad").exists()
        if store.get(cell) is not None:
            report.skipped += 1
        else:
            report.quarantined += store.path(cell).with_suffix(".bad").exists() and not bad_before
            waiting.append(cell)
    show = sys.stderr.isatty() if progress is None else progress
    bar = tqdm(total=len(cells), initial=report.skipped, desc=label, unit="cell", disable=not show)
    own = executor is None and workers != 1
    pool = process_pool(min(workers or os.cpu_count() or 1, max(len(waiting), 1))) if own and waiting else executor
    try:
        for cell, outcome, error in _outcomes(waiting, folder, pool):
            if error is not None:
                report.failed[cell.title or cell.id] = error
            else:
                setattr(report, outcome, getattr(report, outcome) + 1)
            bar.update()
            bar.set_postfix_str(cell.title, refresh=False)
            if on_done is not None:
                on_done(cell)
    except KeyboardInterrupt:
        if own and pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
        raise
    finally:
        bar.close()
    if own and pool is not None:
        pool.shutdown()
    return report


def _outcomes(cells: Sequence[Cell], folder: Path, pool: Executor | None) -> Iterator[tuple[Cell, str, str | None]]:
    if pool is None:
        for cell in cells:
            yield _judge(cell, lambda cell=cell: compute_and_store(cell, str(folder)))
        return
    futures: dict[Future[str], Cell] = {pool.submit(compute_and_store, cell, str(folder)): cell for cell in cells}
    while futures:
        done, _ = wait(futures, return_when=FIRST_COMPLETED)
        for future in done:
            cell = futures.pop(future)
            yield _judge(cell, future.result)


def _judge(cell: Cell, result: Callable[[], str]) -> tuple[Cell, str, str | None]:
    try:
        return cell, result(), None
    except CreditsimError as error:
        return cell, "", str(error)
    except MemoryError:
        raise
    except Exception as error:  # a defect in one cell must not lose the others
        return cell, "", f"{type(error).__name__}: {error}"
