"""How many threads a kernel call gets: waking a thread costs more than short work is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from numba import config

__all__ = ["limited_threads"]

_SERIAL_ITEMS = 500_000


@contextmanager
def limited_threads(threads: int | None, items: int) -> Iterator[None]:
    """Run kernels on at most `threads` threads; None: on one for fewer than 500,000 `items`, else on all there are."""
    before = numba.get_num_threads()
    most: int = config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue] # set when Numba is imported
    wanted = (before if items >= _SERIAL_ITEMS else 1) if threads is None else min(threads, most)
    numba.set_num_threads(wanted)
    try:
        yield
    finally:
        numba.set_num_threads(before)
