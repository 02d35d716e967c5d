"""The CUDA twin: one thread per replication, compiled from the sources that the CPU runs.

Draws and arithmetic are those of the CPU; logarithms and exponentials of a device may differ in their last bit. Under
NUMBA_ENABLE_CUDASIM=1 (set before Numba is imported) the same kernels run in Numba's simulator, without a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from creditsim.bandits.batches import walk_batches
from creditsim.bandits.rules.base import Rule
from creditsim.bandits.walk import keep, settle, walk
from creditsim.errors import InputError

__all__ = ["index_step", "run_on_gpu"]

_THREADS = 128
_device = cuda.jit(device=True)


def index_step(terms: Callable[..., Any], growth: Callable[..., Any]) -> Callable[..., int]:
    """An index rule as `walk` takes rules: the index of every arm, one by one, the first of the highest."""

    def step(count, total, t, params, memory, words, where):
        chosen, top = 0, -math.inf
        g = growth(t, params)
        for k in range(count.shape[0]):
            location, width = terms(count[k], total[k], params)
            if location + width * g > top:
                top, chosen = location + width * g, k
        return chosen

    return step


@cache
def _compiled(step: Any, kind: str) -> Any:
    one = _device(walk_batches if kind == "batch" else walk)
    choose = _device(index_step(*step) if kind == "index" else step)
    settled, kept = _device(settle), _device(keep)

    @cuda.jit
    def run(out, arms, plan, params, state, memory, words):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue] # a stub that counts a self
        if i < out[6].shape[0]:
            one(choose, settled, kept, i, out, arms, plan, params, state[i], memory[i], words[i])

    return run


def run_on_gpu(part: Rule, out: Any, arms: Any, plan: Any, packed: tuple[float, ...]) -> None:
    """Fill `out` as the CPU does, on the device. Error: InputError where there is none."""
    if not cuda.is_available():
        raise InputError("device", "cuda", "cpu; Numba finds no CUDA device here")
    n, k = out[-1].shape
    state, memory = np.zeros((n, 4, k)), np.zeros((n, max(part.memory(k), k)))
    words = np.zeros((n, 4, max(part.words(k), 1)), np.uint64)
    on_device = tuple(cuda.to_device(array) for array in out)
    start, final, over, deviation = arms
    given = (cuda.to_device(start), cuda.to_device(final), over, deviation)
    work = (cuda.to_device(state), cuda.to_device(memory), cuda.to_device(words))
    kernel: Any = _compiled(part.step, part.walk)
    kernel[-(-n // _THREADS), min(n, _THREADS)](on_device, given, plan, packed, *work)
    for array, held in zip(out, on_device, strict=True):
        if array.size:
            array[...] = held.copy_to_host()
