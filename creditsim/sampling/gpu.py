"""The CUDA twin of the recording kernel: one thread per episode, compiled from the very functions the CPU runs.

Same words, same slots, same cuts, bit for bit. Under NUMBA_ENABLE_CUDASIM=1 (set before Numba is imported) the same
kernels run in Numba's simulator, without a device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from creditsim.errors import InputError
from creditsim.rng import key_words, philox4x32
from creditsim.sampling.alias import LEVEL_BITS, draw
from creditsim.sampling.tables import Tables, advance

__all__ = ["record_on_gpu", "require_device", "words_on_gpu"]

_THREADS = 128
_MASK, _HALF, _EIGHT = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_LEVEL_SHIFT = np.uint64(32 - LEVEL_BITS)
_ONE = np.uint64(1)

_device = cuda.jit(device=True)
_philox, _draw, _advance = _device(philox4x32), _device(draw), _device(advance)


def require_device() -> None:
    """Raise an InputError where no CUDA device can be used; nothing falls back to the CPU silently."""
    if not cuda.is_available():
        raise InputError("device", "cuda", "cpu; Numba finds no CUDA device here")


@cuda.jit
def _words_kernel(out, stream, purpose, k0, k1):
    i = cuda.grid(1)  # pyright: ignore[reportCallIssue] # a stub that counts a self
    if i < out.shape[0]:
        for block in range(out.shape[1]):
            n = np.uint64(i)
            top = purpose | ((n >> _HALF) << _EIGHT)
            w0, w1, w2, w3 = _philox(n & _MASK, np.uint64(block), stream, top, k0, k1)
            out[i, block, 0] = w0
            out[i, block, 1] = w1
            out[i, block, 2] = w2
            out[i, block, 3] = w3


@cuda.jit
def _record_kernel(
    codes, length, terminated, words, start, step, stop, first, number, stream, k0, k1, purpose, bits, pick_bits,
    wide, sink, actions, stride, threshold, move, pick_threshold, pick_action,
):  # fmt: skip
    i = cuda.grid(1)  # pyright: ignore[reportCallIssue] # a stub that counts a self
    if i >= codes.shape[0]:
        return
    place, time, at = np.int64(start[i]), step[i], 0
    n = number[i]
    top = purpose | ((n >> _HALF) << _EIGHT)
    over = False
    while place != sink and at < codes.shape[1]:
        j = (at * stride) & 3
        if j == 0:
            block = np.uint64((at * stride) >> 2)
            w0, w1, w2, w3 = _philox(n & _MASK, block, stream[i], top, k0, k1)
            words[i, 0] = w0
            words[i, 1] = w1
            words[i, 2] = w2
            words[i, 3] = w3
        row = np.uint64(place)
        if pick_threshold.shape[0] > 0:
            bucket = np.uint64(words[i, j]) & ((_ONE << pick_bits) - _ONE)
            level = np.uint64(words[i, j + wide]) >> _LEVEL_SHIFT
            table = np.uint64(first[i]) + row
            picked = _draw(table << pick_bits, bucket, level, pick_threshold)
            row = row * actions + np.uint64(pick_action[picked])
            j += 1 + wide
        bucket = np.uint64(words[i, j]) & ((_ONE << bits) - _ONE)
        level = np.uint64(words[i, j + wide]) >> _LEVEL_SHIFT
        slot = _draw(row << bits, bucket, level, threshold)
        codes[i, at] = slot
        moved = np.int64(move[slot])
        place, time = _advance(moved, time, stop[i], sink)
        over = (moved & 2) != 0
        at += 1
    length[i] = at
    terminated[i] = over


def _launch(kernel: Any, threads: int, *arguments: Any) -> None:
    kernel[-(-threads // _THREADS), _THREADS](*arguments)


def words_on_gpu(seed: int, stream: int, purpose: int, episodes: int, blocks: int) -> np.ndarray:
    """Return the words (episodes, blocks, 4) uint32 of a stream's first episodes, as computed on the device."""
    require_device()
    out = np.zeros((episodes, blocks, 4), np.uint32)
    _launch(_words_kernel, episodes, out, np.uint64(stream), np.uint64(purpose), *key_words(seed))
    return out


def record_on_gpu(
    codes: np.ndarray,
    length: np.ndarray,
    terminated: np.ndarray,
    start: np.ndarray,
    step: np.ndarray,
    stop: np.ndarray,
    first: np.ndarray,
    number: np.ndarray,
    stream: np.ndarray,
    seed: int,
    purpose: int,
    tables: Tables,
) -> None:
    """Fill `codes`, `length`, `terminated` as `creditsim.sampling.kernels.record` does, on the device."""
    require_device()
    bits, pick_bits, wide, sink, actions, stride, _ = tables.layout
    threshold, move, pick_threshold, pick_action, _ = tables.arrays
    words = np.zeros((codes.shape[0], 4), np.uint32)
    _launch(
        _record_kernel, codes.shape[0],
        codes, length, terminated, words, start, step, stop, first, number, stream, *key_words(seed),
        np.uint64(purpose), bits, pick_bits, wide, np.int64(sink), actions, stride, threshold, move, pick_threshold,
        pick_action,
    )  # fmt: skip
