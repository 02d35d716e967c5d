"""How many threads work gets: kernels on few or many, and whole pieces of Python work side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numba import prange

from creditsim.jit import kernel

__all__ = ["limited_threads", "side_by_side", "workers"]

_SERIAL_ITEMS = 500_000


@contextmanager
def limited_threads(threads: int | None, items: int) -> Iterator[None]:
    """Run kernels on at most `threads` threads; None: on one for fewer than 500,000 `items`, else on all there are.

    Waking a thread costs more than short work is worth. Work that runs `side_by_side` keeps to its one thread.
    """
    before = numba.get_num_threads()
    wanted = (before if items >= _SERIAL_ITEMS else 1) if threads is None else min(threads, before)
    if wanted == before:
        yield
        return
    numba.set_num_threads(wanted)
    try:
        yield
    finally:
        numba.set_num_threads(before)


@contextmanager
def side_by_side(threads: int | None, pieces: int) -> Iterator[Callable[[Callable[[Any], None], Sequence[Any]], None]]:
    """Give `run(work, items)`: work on each item, on up to `threads` (None: all) Python threads for `pieces` items.

    NumPy and kernels release the interpreter while they compute, so pieces of some milliseconds gain by it; each has
    one thread for its kernels. One after another where there is one thread or one piece, and on Numba's workqueue,
    which allows no two kernels at once. The error of the first item that failed is raised, once all have ended.
    """
    number = min(pieces, workers(threads))
    if number < 2:
        yield _one_by_one
        return
    with ThreadPoolExecutor(number, "creditsim", numba.set_num_threads, (1,)) as pool:

        def run(work: Callable[[Any], None], items: Sequence[Any]) -> None:
            waiting = [pool.submit(work, item) for item in items]
            wait(waiting)
            for done in waiting:
                done.result()

        yield run


def workers(threads: int | None) -> int:
    """How many pieces of work may run `side_by_side`, given the most threads to use (None: all)."""
    most = numba.get_num_threads() if threads is None else min(threads, numba.get_num_threads())
    return 1 if most < 2 or _layer() == "workqueue" else most


def _one_by_one(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    for item in items:
        work(item)


def _layer() -> str:
    """Numba's threading layer, chosen at the first parallel kernel."""
    _nothing(np.zeros(1))
    return numba.threading_layer()  # pyright: ignore[reportPrivateImportUsage] # documented, not declared


@kernel(parallel=True)
def _nothing(x: np.ndarray) -> None:
    for i in prange(x.size):
        x[i] = 0.0
