"""Sums of powers of deviations: of one block, of two sets joined, and what is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from creditsim.errors import InputError

__all__ = ["Summary", "Sums", "combine", "joined", "leaves"]

_ROWS = 8
"""Rows whose outer products are held at once when cross-moments are summed."""


class Sums(NamedTuple):
    """Of L nodes: `n` (L,) replicates, `mean` (L,K), and sums of powers of deviations `m2`, `m3`, `m4` (L,K).

    `cross` (L,K,K) holds the sums of products of deviations; (L,0,0) without cross-moments.
    """

    n: np.ndarray
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    cross: np.ndarray

    def part(self, which: slice) -> Sums:
        """The nodes of a slice."""
        return Sums(*(values[which] for values in self))

    def copied(self, node: int) -> Sums:
        """One node alone, holding no memory of the others."""
        return Sums(*(values[[node]] for values in self))


def _add_rows(x: np.ndarray) -> np.ndarray:
    """Sum (L,R,...) over R, a power of two, in adjacent pairs: a fixed tree of elementwise additions."""
    while x.shape[1] > 1:
        x = x[:, 0::2] + x[:, 1::2]
    return x[:, 0]


def _add_outer(d: np.ndarray) -> np.ndarray:
    """Sum of outer products (L,K,K) of rows (L,R,K), by the same tree as `_add_rows`, so its diagonal is m2's bits."""
    rows = d.shape[1]
    if rows <= _ROWS:
        return _add_rows(d[:, :, :, None] * d[:, :, None, :])
    return _add_outer(d[:, : rows // 2]) + _add_outer(d[:, rows // 2 :])


def leaves(values: np.ndarray, mask: np.ndarray | None, cross: bool) -> Sums:
    """Sums of blocks (L,R,K), R a power of two; `mask` (L,R) tells which rows are there (each block has one).

    Deviations are taken from the first row before the mean is formed: equal rows give exactly zero at any magnitude,
    and an offset far larger than the spread costs no digits inside the block.
    """
    blocks, rows = values.shape[:2]
    if mask is None:
        count, origin = np.full(blocks, rows, np.int64), values[:, 0]
    else:
        count, origin = mask.sum(axis=1), values[np.arange(blocks), mask.argmax(axis=1)]
    shifted = values - origin[:, None]
    if mask is not None:
        shifted = np.where(mask[:, :, None], shifted, 0.0)
    offset = _add_rows(shifted) / count[:, None]
    d = shifted - offset[:, None]
    if mask is not None:
        d = np.where(mask[:, :, None], d, 0.0)
    square = d * d
    outer = _add_outer(d) if cross else np.zeros((blocks, 0, 0))
    return Sums(count, origin + offset, _add_rows(square), _add_rows(square * d), _add_rows(square * square), outer)


def combine(a: Sums, b: Sums) -> Sums:
    """Sums of the union of disjoint sets a and b, node by node (pairwise update of central moments up to order four).

    With D = mean_b - mean_a and shares p = n_a/n, q = n_b/n:
    M2 = M2a + M2b + D^2 n p q;  M3 = M3a + M3b + D^3 n p q (p-q) + 3 D (p M2b - q M2a);
    M4 = M4a + M4b + D^4 n p q (p^2 - pq + q^2) + 6 D^2 (p^2 M2b + q^2 M2a) + 4 D (p M3b - q M3a).
    """
    count = a.n + b.n
    n = count.astype(np.float64)[:, None]
    p, q = a.n[:, None] / n, b.n[:, None] / n
    d = b.mean - a.mean
    d2, npq = d * d, n * p * q
    m2 = a.m2 + b.m2 + d2 * npq
    m3 = a.m3 + b.m3 + d2 * d * npq * (p - q) + 3.0 * d * (p * b.m2 - q * a.m2)
    m4 = (
        a.m4 + b.m4 + d2 * d2 * npq * (p * p - p * q + q * q)
        + 6.0 * d2 * (p * p * b.m2 + q * q * a.m2) + 4.0 * d * (p * b.m3 - q * a.m3)
    )  # fmt: skip
    cross = a.cross + b.cross
    if cross.shape[1]:
        cross = cross + d[:, :, None] * d[:, None, :] * npq[:, :, None]
    return Sums(count, a.mean + d * q, m2, m3, m4, cross)


def joined(parts: Sequence[Sums], size: int, cross: bool) -> Sums:
    """One Sums with the nodes of all parts; of none, L = 0."""
    k = size if cross else 0
    empty = np.zeros((0, size))
    none = Sums(np.zeros(0, np.int64), empty, empty, empty, empty, np.zeros((0, k, k)))
    return Sums(*(np.concatenate(column) for column in zip(none, *parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Summary:
    """Moments of n replicates: `mean` and the sums of powers of deviations `m2`, `m3`, `m4`, all of `shape`.

    `cross` (*shape, *shape) holds the sums of products of deviations, None where they were not asked for.
    """

    n: int
    mean: np.ndarray
    m2: np.ndarray
    m3: np.ndarray
    m4: np.ndarray
    cross: np.ndarray | None = None

    @classmethod
    def of(cls, sums: Sums, shape: tuple[int, ...], cross: bool) -> Summary:
        """Read one node's sums in the shape of a replicate's value."""
        mean, m2, m3, m4 = (values[0].reshape(shape) for values in sums[1:5])
        return cls(int(sums.n[0]), mean, m2, m3, m4, sums.cross[0].reshape(shape + shape) if cross else None)

    @classmethod
    def empty(cls, shape: tuple[int, ...], cross: bool) -> Summary:
        """No replicate: n = 0, mean NaN, sums zero."""
        zero = np.zeros(shape)
        return cls(0, np.full(shape, np.nan), zero, zero, zero, np.zeros(shape + shape) if cross else None)

    def variance(self, ddof: int = 1) -> np.ndarray:
        """M2 / (n - ddof); NaN where n <= ddof."""
        return self.m2 / (self.n - ddof) if self.n > ddof else np.full_like(self.m2, np.nan)

    def standard_error(self) -> np.ndarray:
        """Of the mean: sqrt(s^2 / n)."""
        return np.sqrt(self.variance() / max(self.n, 1))

    def covariance(self, ddof: int = 1) -> np.ndarray:
        """(*shape, *shape) sums of products over n - ddof; NaN where n <= ddof. Error: no cross-moments kept."""
        if self.cross is None:
            raise InputError("covariance", "moments without cross-moments", "Moments(shape, cross=True)")
        return self.cross / (self.n - ddof) if self.n > ddof else np.full_like(self.cross, np.nan)

    def skewness(self) -> np.ndarray:
        """sqrt(n) M3 / M2^1.5; NaN for equal values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.n) * self.m3 / self.m2**1.5

    def kurtosis(self) -> np.ndarray:
        """N M4 / M2^2 (3 for a normal law); NaN for equal values."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.n * self.m4 / self.m2**2

    def variance_standard_error(self) -> np.ndarray:
        """Of s^2, any law with four moments: Var(s^2) = (mu4 - sigma^4 (n-3)/(n-1)) / n with plug-in moments."""
        if self.n < 2:
            return np.full_like(self.m2, np.nan)
        s2 = self.variance()
        # Positive in exact arithmetic; for a symmetric two-point law the terms cancel to a few parts in n^2.
        return np.sqrt(np.maximum(self.m4 / self.n - s2 * s2 * (self.n - 3) / (self.n - 1), 0.0) / self.n)
