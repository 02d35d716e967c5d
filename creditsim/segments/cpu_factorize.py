"""CPU interning of integer keys: dense ids in order of first appearance, without a sort.

Several keys are folded into one by mixed radix; a key too wide for that is interned first. The one key left is looked
up in a plain table where its values are dense, and otherwise by open addressing. Two keys of which the first comes in
runs (rows sorted by group) need neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.segments.cpu_inputs import integers

__all__ = ["factorize"]

_WIDEST = 1 << 62
_FIRST_BITS = 12
_CACHED_BITS = 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_MIXER = np.uint64(0xBF58476D1CE4E5B9)


@kernel
def _range(key: np.ndarray) -> tuple[int, int]:
    low = high = key[0]
    for i in range(key.size):
        low = min(low, key[i])
        high = max(high, key[i])
    return low, high


@kernel
def _fold(a: np.ndarray, low_a: int, b: np.ndarray, low_b: int, width_b: int, out: np.ndarray) -> None:
    for i in range(a.size):
        out[i] = (a[i] - low_a) * width_b + (b[i] - low_b)


@kernel
def _direct(key: np.ndarray, low: int, table: np.ndarray, ids: np.ndarray) -> int:
    count = 0
    for i in range(key.size):
        slot = np.uint64(key[i] - low)
        j = table[slot]
        if j < 0:
            j = count
            table[slot] = j
            count += 1
        ids[i] = j
    return count


@kernel
def _direct_pair(
    a: np.ndarray, low_a: int, b: np.ndarray, low_b: int, width_b: int, table: np.ndarray, ids: np.ndarray
) -> int:
    """`_fold` and `_direct` in one pass."""
    count = 0
    for i in range(a.size):
        slot = np.uint64((a[i] - low_a) * width_b + (b[i] - low_b))
        j = table[slot]
        if j < 0:
            j = count
            table[slot] = j
            count += 1
        ids[i] = j
    return count


@kernel
def _runs(
    a: np.ndarray, low_a: int, met: np.ndarray, b: np.ndarray, low_b: int, table: np.ndarray, ids: np.ndarray
) -> int:
    """Intern pairs whose first key comes in runs, each value in one run only; -1 as soon as a value comes back.

    One table over the second key is enough: an id in it from before the run began belongs to another first key.
    """
    count = 0
    begun = 0
    current = a[0] - 1
    for i in range(a.size):
        if a[i] != current:
            current = a[i]
            if met[current - low_a]:
                return -1
            met[current - low_a] = True
            begun = count
        slot = b[i] - low_b
        j = table[slot]
        if j < begun:
            j = count
            table[slot] = j
            count += 1
        ids[i] = j
    return count


@kernel(inline=True)
def _place(key: int, down: np.uint64) -> np.uint64:
    # Two rounds of multiply and fold: structured keys (a group times a width plus an observation) spread evenly.
    h = np.uint64(key)
    h = (h ^ (h >> np.uint64(32))) * _MULTIPLIER
    h = (h ^ (h >> np.uint64(29))) * _MIXER
    return h >> down


@kernel
def _look_up(
    key: np.ndarray, start: int, count: int, table: np.ndarray, bits: int, seen: np.ndarray, ids: np.ndarray
) -> tuple[int, int]:
    """Intern rows from `start` on until `seen` is full; return the row to go on at and the number of ids.

    The table (2^bits,) holds ids only, -1 where free, and `seen` the key of each id, so that both stay small.
    """
    one = np.uint64(1)
    mask = np.uint64(table.size - 1)
    down = np.uint64(64 - bits)
    full = seen.size
    for i in range(start, key.size):
        k = key[i]
        h = _place(k, down)
        j = table[h]
        while j >= 0 and seen[j] != k:
            h = (h + one) & mask
            j = table[h]
        if j < 0:
            if count == full:
                return i, count
            j = count
            table[h] = j
            seen[j] = k
            count += 1
        ids[i] = j
    return key.size, count


@kernel
def _refill(seen: np.ndarray, count: int, table: np.ndarray, bits: int) -> None:
    one = np.uint64(1)
    mask = np.uint64(table.size - 1)
    down = np.uint64(64 - bits)
    for j in range(count):
        h = _place(seen[j], down)
        while table[h] >= 0:
            h = (h + one) & mask
        table[h] = j


def _hashed(key: np.ndarray, ids: np.ndarray) -> int:
    row = count = 0
    bits = _FIRST_BITS
    seen = np.empty(0, np.int64)
    while True:
        # One in eight slots is used while the table fits a cache: collisions cost more there than memory.
        more = np.empty(1 << (bits - 3 if bits <= _CACHED_BITS else bits - 1), np.int64)
        more[:count] = seen[:count]
        seen = more
        table = np.full(1 << bits, -1, np.int32)
        _refill(seen, count, table, bits)
        row, count = _look_up(key, row, count, table, bits, seen, ids)
        if row == key.shape[0]:
            return count
        bits += 2


def _fits_table(width: int, m: int) -> bool:
    return width <= 2 * m + 1024


def _dense(key: np.ndarray, low: int, width: int) -> tuple[np.ndarray, int]:
    ids = np.empty(key.shape[0], np.int64)
    if _fits_table(width, key.shape[0]):
        return ids, _direct(key, low, np.full(width, -1, np.int32), ids)
    return ids, _hashed(key, ids)


def factorize(*keys: Any) -> tuple[np.ndarray, int]:
    """Give rows (M,) with equal keys the same id, and return the ids and their number."""
    if not keys:
        raise InputError("keys", "none", "at least one array of integers")
    arrays = [integers(key, f"key {i}") for i, key in enumerate(keys)]
    m = arrays[0].shape[0]
    for i, array in enumerate(arrays):
        if array.shape[0] != m:
            raise InputError(f"key {i}", f"{array.shape[0]} entries", f"{m}, as many as key 0")
    if m >= 2**31:
        raise InputError("key 0", f"{m} rows", "fewer than 2^31 rows")
    if m == 0:
        return np.zeros(0, np.int64), 0
    folded = _ranged(arrays[0])
    for array in arrays[1:-1]:
        folded = _folded(folded, _ranged(array))
    if len(arrays) == 1:
        return _dense(*folded)
    last = _ranged(arrays[-1])
    width = folded[2] * last[2]
    if _fits_table(width, m):
        ids = np.empty(m, np.int64)
        return ids, _direct_pair(*folded[:2], *last, np.full(width, -1, np.int32), ids)
    return _paired(folded, last) or _dense(*_folded(folded, last))


_Key = tuple[np.ndarray, int, int]
"""A key (M,), its smallest value and the number of values from there to its largest."""


def _ranged(key: np.ndarray) -> _Key:
    low, high = _range(key)
    return key, low, high - low + 1


def _narrowed(key: _Key) -> _Key:
    ids, n = _dense(*key)
    return ids, 0, n


def _folded(a: _Key, b: _Key) -> _Key:
    if a[2] * b[2] > _WIDEST:
        a, b = _narrowed(a), _narrowed(b)
    out = np.empty(a[0].shape[0], np.int64)
    _fold(a[0], a[1], b[0], b[1], b[2], out)
    return out, 0, a[2] * b[2]


def _paired(a: _Key, b: _Key) -> tuple[np.ndarray, int] | None:
    m = a[0].shape[0]
    if not (_fits_table(a[2], m) and _fits_table(b[2], m)):
        return None
    ids = np.empty(m, np.int64)
    count = _runs(a[0], a[1], np.zeros(a[2], np.bool_), b[0], b[1], np.full(b[2], -1, np.int32), ids)
    return None if count < 0 else (ids, count)
