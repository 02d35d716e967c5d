"""Alias tables in integers: one look-up per draw from any discrete law, and a law that is known to the last unit.

A table has K = 2^k buckets of 2^28 units. Probabilities are rounded once to whole units (2^-(28+k) each, so finer than
2^-28), and from there on everything is exact: the units of an outcome in the table are its rounded probability. An
outcome of probability zero has no unit; one rarer than a unit may have none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import prange

from creditsim.errors import TooLargeError
from creditsim.jit import kernel
from creditsim.threads import limited_threads

__all__ = ["LEVEL_BITS", "AliasTables", "alias_tables", "draw"]

LEVEL_BITS = 28
_CAPACITY = 1 << LEVEL_BITS
_MOST_BUCKETS = 1 << 20
_CHUNKS = 16
_ONE = np.uint64(1)


def draw(row, bucket, level, threshold):
    """Return the slot 2 (row + bucket) + side: 0 (the bucket's own outcome) below the threshold, 1 (alias) from it.

    All uint64: `row` is the index of the table's first bucket, `level` lies in 0..2^28-1, thresholds in 0..2^28.
    """
    index = row + bucket
    return (index << _ONE) | np.uint64(level >= threshold[index])


@dataclass(frozen=True, eq=False)
class AliasTables:
    """Alias tables of R laws over n outcomes, K = 2^k >= n buckets each.

    `threshold` (R, K) uint32 in 0..2^28; `alias` (R, K) int32, the outcome from the threshold on. Bucket j's own
    outcome is j; buckets from n on have threshold 0.
    """

    threshold: np.ndarray
    alias: np.ndarray
    n_outcomes: int

    @property
    def n_buckets(self) -> int:
        """K."""
        return self.threshold.shape[1]

    @property
    def slot_outcome(self) -> np.ndarray:
        """(2 R K,) outcome of each slot that `draw` can return; slots that cannot be drawn say 0."""
        own = np.arange(self.n_buckets, dtype=np.int32)
        own = np.where(own < self.n_outcomes, own, 0)
        return np.stack([np.broadcast_to(own, self.alias.shape), self.alias], axis=-1).reshape(-1)

    def law(self) -> np.ndarray:
        """(R, n) the law that the table draws from, exactly: multiples of 2^-(28+k)."""
        rows = self.threshold.shape[0]
        units = np.zeros((rows, self.n_buckets), np.int64)
        np.add.at(units, (np.arange(rows)[:, None], self.alias), _CAPACITY - self.threshold.astype(np.int64))
        units += self.threshold
        return units[:, : self.n_outcomes] / float(_CAPACITY * self.n_buckets)


def alias_tables(probability: np.ndarray) -> AliasTables:
    """Build alias tables for laws (R, n), rows summing to 1.

    The cumulative law is rounded to units, so every outcome is off by less than one unit and every row sums to 1
    exactly. Degenerate rows (one outcome) get it always. Errors: TooLargeError past 2^20 outcomes.
    """
    p = np.ascontiguousarray(probability, np.float64)
    rows, n = p.shape
    if n > _MOST_BUCKETS:
        raise TooLargeError("alias table", f"{n} outcomes", f"at most {_MOST_BUCKETS} outcomes per state")
    buckets = 1 << max(0, math.ceil(math.log2(n)))
    threshold = np.empty((rows, buckets), np.uint32)
    alias = np.empty((rows, buckets), np.int32)
    with limited_threads(None, rows * buckets):
        _build(p, threshold, alias, np.empty((_CHUNKS, buckets), np.int64))
    return AliasTables(threshold, alias, n)


@kernel(parallel=True)
def _build(p, threshold, alias, scratch):
    rows = p.shape[0]
    chunks = scratch.shape[0]
    for chunk in prange(chunks):
        for row in range(rows * chunk // chunks, rows * (chunk + 1) // chunks):
            _build_row(p[row], threshold[row], alias[row], scratch[chunk])


@kernel
def _build_row(p, threshold, alias, units):
    n, buckets = p.shape[0], threshold.shape[0]
    total = 0.0
    for j in range(n):
        total += p[j]
    cumulative, before = 0.0, np.int64(0)
    whole = np.float64(_CAPACITY) * buckets
    for j in range(buckets):
        units[j] = 0
        if j < n:
            cumulative += p[j]
            upto = np.int64(np.floor(cumulative / total * whole + 0.5))
            units[j] = upto - before
            before = upto
        alias[j] = 0
    _pair(units, threshold, alias)


@kernel
def _pair(units, threshold, alias):
    # Each bucket short of units is filled up by one that has too many; a donor that falls short is next to be filled.
    buckets = units.shape[0]
    donor = 0
    scan = 0
    short = -1
    while True:
        if short < 0:
            while scan < buckets and units[scan] >= _CAPACITY:
                scan += 1
            if scan == buckets:
                break
            short = scan
            scan += 1
        while donor < buckets and units[donor] <= _CAPACITY:
            donor += 1
        if donor == buckets:
            break
        threshold[short] = units[short]
        alias[short] = donor
        units[donor] -= _CAPACITY - units[short]
        units[short] = -1
        short = donor if units[donor] < _CAPACITY and donor < scan else -1
    for j in range(buckets):
        if units[j] >= 0:
            threshold[j] = _CAPACITY
