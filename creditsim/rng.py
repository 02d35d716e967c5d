"""Random numbers by counting: Philox4x32-10, the same bits on any thread count, chunk size, lane width and device.

`philox4x32` is plain Python source. It is compiled here for the CPU and by `creditsim.sampling.gpu` for CUDA, and it
runs uncompiled as its own reference. Words travel as 64-bit integers below 2^32 and every sum is masked: in compiled
code `uint32 + uint32` would silently widen to 64 bits.

A draw is named, not remembered: key = seed, counter = (episode, block of decisions, stream, purpose). Nothing has a
state that two callers could share, so any draw can be made again alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel

__all__ = ["Purpose", "derive_seed", "key_words", "normals", "philox", "philox4x32", "uniforms", "words"]

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_HIGH_DROPPED, _LOW_DROPPED, _LOW_BITS = np.uint64(5), np.uint64(6), np.uint64(26)
_ULP = 2.0**-53


class Purpose(IntEnum):
    """What a draw is for: streams of different purpose never share a block."""

    START = 0
    """Start state of a group."""
    STEP = 1
    """Decisions of an episode."""
    DATA = 2
    """Inputs of a simulation: rewards, feature values, tables."""
    NOISE = 3
    """Noise added to a quantity that is otherwise computed."""
    BANDIT = 4
    """Rewards of bandit arms."""
    ALLOCATION = 5
    """A randomised rule's own choices (Thompson draws, tie breaks)."""
    RESAMPLE = 6
    """Bootstrap indices and permutations."""
    INIT = 7
    """Initial parameters."""


def philox4x32(c0, c1, c2, c3, k0, k1):
    """Return the four words of one Philox4x32-10 block; every argument and word is a uint64 below 2^32.

    Round: (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)), then the key moves on
    by (W0, W1) modulo 2^32. Source: Salmon et al., SC 2011 (evidence: paper), with Random123's known answers as tests.
    """
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _HALF) ^ c1 ^ k0
        c1 = p1 & _MASK
        c2 = (p0 >> _HALF) ^ c3 ^ k1
        c3 = p0 & _MASK
        k0 = (k0 + _W0) & _MASK
        k1 = (k1 + _W1) & _MASK
    return c0, c1, c2, c3


def uniform53(high, low):
    """Return a double in [0, 1) from two words: 53 bits, so 1.0 is never reached."""
    return np.float64(((high >> _HIGH_DROPPED) << _LOW_BITS) | (low >> _LOW_DROPPED)) * _ULP


philox = kernel(philox4x32, inline=True)
_uniform53 = kernel(uniform53, inline=True)


def key_words(seed: int) -> tuple[np.uint64, np.uint64]:
    """Split a seed (any integer, taken modulo 2^64) into the two key words."""
    seed = int(seed) & 0xFFFFFFFFFFFFFFFF
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)


def derive_seed(seed: int, *labels: int | str) -> int:
    """Return a 64-bit seed for the part of an experiment that `labels` name.

    It is a hash (BLAKE2b) of seed and labels, so that parts are independent whatever their order or number.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in (int(seed), *labels):
        text = part if isinstance(part, str) else int(part)
        digest.update(f"{type(text).__name__}:{text};".encode())
    return int.from_bytes(digest.digest(), "little")


@kernel(inline=True)
def _fill_lanes(lanes, first_block, stream, purpose, k0, k1):
    # Blocks side by side in a buffer: the compiler turns this loop, and only this loop, into vector instructions.
    for lane in range(lanes.shape[1]):
        block = first_block + np.uint64(lane)
        w0, w1, w2, w3 = philox(block & _MASK, block >> _HALF, stream, purpose, k0, k1)
        lanes[0, lane] = w0
        lanes[1, lane] = w1
        lanes[2, lane] = w2
        lanes[3, lane] = w3


@kernel
def _fill_words(out, lanes, first_block, streams, purpose, k0, k1):
    for row in range(out.shape[0]):
        stream = np.uint64(streams[row]) & _MASK
        for low in range(0, out.shape[1], lanes.shape[1]):
            _fill_lanes(lanes, np.uint64(first_block + low), stream, purpose, k0, k1)
            for lane in range(min(lanes.shape[1], out.shape[1] - low)):
                for j in range(4):
                    out[row, low + lane, j] = lanes[j, lane]


@kernel
def _fill_uniforms(out, lanes, first_block, streams, purpose, k0, k1):
    for row in range(out.shape[0]):
        stream = np.uint64(streams[row]) & _MASK
        for low in range(0, out.shape[1], lanes.shape[1]):
            _fill_lanes(lanes, np.uint64(first_block + low), stream, purpose, k0, k1)
            for lane in range(min(lanes.shape[1], out.shape[1] - low)):
                out[row, low + lane, 0] = _uniform53(lanes[0, lane], lanes[1, lane])
                out[row, low + lane, 1] = _uniform53(lanes[2, lane], lanes[3, lane])


@kernel
def _uniforms_to_normals(out):
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            radius = np.sqrt(-2.0 * np.log(1.0 - out[row, i, 0]))
            angle = 2.0 * np.pi * out[row, i, 1]
            out[row, i, 0] = radius * np.cos(angle)
            out[row, i, 1] = radius * np.sin(angle)


def words(
    seed: int, stream: int | Sequence[int] | np.ndarray, purpose: int, shape: int | tuple[int, ...], *, first: int = 0
) -> np.ndarray:
    """Return uint32 words `shape`; element i of a stream (in C order, from `first`) is word i mod 4 of block i // 4."""
    blocks, cut = _blocks(4, np.uint32, stream, purpose, shape, first)
    _fill_words(blocks, _lanes(), first // 4, _streams(stream), np.uint64(int(purpose)), *key_words(seed))
    return cut(blocks)


def uniforms(
    seed: int, stream: int | Sequence[int] | np.ndarray, purpose: int, shape: int | tuple[int, ...], *, first: int = 0
) -> np.ndarray:
    """Return doubles in [0, 1) with 53 random bits each.

    Parameters: `seed` any integer; `stream` an integer below 2^32, or several (R,), and then the result is
    (R, *shape); `purpose` below 256 (see Purpose); `first` the index of the first element in its stream. Element i of a
    stream is a function of (seed, stream, purpose, i) alone: `uniforms(..., 6)` is
    `uniforms(..., 4)` followed by `uniforms(..., 2, first=4)`.
    Errors: InputError for a stream, purpose or index out of range.
    """
    blocks, cut = _blocks(2, np.float64, stream, purpose, shape, first)
    _fill_uniforms(blocks, _lanes(), first // 2, _streams(stream), np.uint64(int(purpose)), *key_words(seed))
    return cut(blocks)


def normals(
    seed: int, stream: int | Sequence[int] | np.ndarray, purpose: int, shape: int | tuple[int, ...], *, first: int = 0
) -> np.ndarray:
    """Return standard normal doubles by Box-Muller; parameters and independence of chunks as in `uniforms`.

    Elements 2j and 2j+1 are sqrt(-2 log(1 - u)) times the cosine and the sine of 2 pi v, with u, v from block j. The
    largest magnitude possible is sqrt(106 log 2) = 8.57.
    """
    blocks, cut = _blocks(2, np.float64, stream, purpose, shape, first)
    _fill_uniforms(blocks, _lanes(), first // 2, _streams(stream), np.uint64(int(purpose)), *key_words(seed))
    _uniforms_to_normals(blocks)
    return cut(blocks)


def _lanes() -> np.ndarray:
    return np.empty((4, 64), np.uint64)


def _streams(stream: int | Sequence[int] | np.ndarray) -> np.ndarray:
    return np.asarray(stream, np.int64).reshape(-1)


def _blocks(
    per_block: int,
    dtype: type,
    stream: int | Sequence[int] | np.ndarray,
    purpose: int,
    shape: int | tuple[int, ...],
    first: int,
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Check the request; return whole blocks (R, n, per_block) to fill and the function that cuts the request out."""
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
    streams = np.asarray(stream, np.int64)
    if streams.ndim > 1 or (streams.size and (streams.min() < 0 or streams.max() > 0xFFFFFFFF)):
        raise InputError("stream", stream, "an integer from 0 to 2^32 - 1, or a list of them")
    if not 0 <= int(purpose) < 256:
        raise InputError("purpose", int(purpose), "0..255")
    if first < 0:
        raise InputError("first", first, "an index >= 0")
    if min(shape, default=1) < 0:
        raise InputError("shape", shape, "lengths >= 0")
    size, skip = math.prod(shape), first % per_block
    blocks = np.empty((streams.size, -(-(skip + size) // per_block), per_block), dtype)

    def cut(filled: np.ndarray) -> np.ndarray:
        flat = filled.reshape(streams.size, filled.shape[1] * per_block)
        return flat[:, skip : skip + size].reshape(streams.shape + shape)

    return blocks, cut
