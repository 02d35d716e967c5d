"""Sums per key over replicates, from which bias, variance and error of pooled rows get their standard errors.

Rows of one replicate are not independent, replicates are. Each replicate therefore gives every key one vector: rows,
advantages, exact advantages, squares, squared errors; and what is kept are sums and sums of products of these.
Replicates are added one after the other, so the bits do not depend on how they were cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditsim.jit import kernel

__all__ = ["STREAMS", "KeySums", "Ratio"]

STREAMS = 16
"""Replicate r also adds to stream r mod 16; the spread between streams gives intervals of what has no delta method."""

_VALUES = 5
ROWS, VALUE, TARGET, SQUARE, ERROR = range(_VALUES)
"""Per replicate and key: sums over its rows of 1, d, A, d^2 and (advantage - A)^2, each times the row's weight. d is
the advantage less the first one met at the key, so that equal advantages have variance exactly zero."""


@dataclass(frozen=True, eq=False)
class Ratio:
    """An estimate and its standard error, per key or single; the error is NaN where one replicate is all there is."""

    value: np.ndarray
    standard_error: np.ndarray


class KeySums:
    """Running sums of K keys."""

    def __init__(self, n_keys: int) -> None:
        self.n_keys = n_keys
        self.sums = np.zeros((n_keys, _VALUES))
        self.products = np.zeros((n_keys, _VALUES, _VALUES))
        self.replicates = np.zeros(n_keys, np.int64)
        self.shift = np.zeros(n_keys)
        self.streams = np.zeros((STREAMS, n_keys, _VALUES - 1))
        self.seen = np.zeros(n_keys, bool)
        self._scratch = np.zeros((n_keys, _VALUES))
        self._touched = np.empty(n_keys, np.int64)

    def add(
        self,
        order: np.ndarray,
        ends: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
        target: np.ndarray,
        weight: np.ndarray,
        first: int,
    ) -> None:
        """Add the replicates `first` + i, whose rows are `order[ends[i]:ends[i + 1]]`; allocates nothing."""
        _add(
            order, ends, key, value, target, weight, first, self.sums, self.products, self.replicates, self.shift,
            self.seen, self.streams, self._scratch, self._touched,
        )  # fmt: skip

    @property
    def met(self) -> np.ndarray:
        """(K',) keys that some row had."""
        return np.flatnonzero(self.sums[:, ROWS] > 0)

    def combination(self, keys: np.ndarray, numerator: np.ndarray) -> Ratio:
        """Per key: sum over replicates of `numerator` . values per sum of rows; `numerator` (K', 5) or (5,).

        With x the numerator and y the rows of a replicate, r = sum x / sum y. Its standard error is the delta method
        over the m replicates that met the key: se^2 = m/(m-1) sum (x - r y)^2 / (sum y)^2.
        """
        c = np.broadcast_to(numerator, (keys.size, _VALUES))
        rows = self.sums[keys, ROWS]
        r = np.einsum("kv,kv->k", c, self.sums[keys]) / rows
        residual = c.copy()
        residual[:, ROWS] -= r
        return Ratio(r, self._error(keys, residual))

    def linear_error(self, keys: np.ndarray, influence: np.ndarray) -> np.ndarray:
        """(K',) standard error of a quantity whose derivative by sum / rows is `influence` (K', 5), mean zero."""
        return self._error(keys, influence)

    def _error(self, keys: np.ndarray, c: np.ndarray) -> np.ndarray:
        m, rows = self.replicates[keys], self.sums[keys, ROWS]
        square = np.einsum("kv,kvw,kw->k", c, self.products[keys], c)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt(np.where(m > 1, np.maximum(square, 0.0) * m / (m - 1), np.nan)) / rows

    def moments(self, keys: np.ndarray) -> dict[str, Ratio]:
        """Mean, bias, variance and mean squared error per key, pooled over rows: E[sum over rows] / E[rows]."""
        unit = np.eye(_VALUES)
        mean = self.combination(keys, unit[VALUE])
        bias = self.combination(keys, unit[VALUE] - unit[TARGET])
        square = self.combination(keys, unit[SQUARE])
        variance = np.maximum(square.value - mean.value**2, 0.0)
        # d(variance): d(square) - 2 mean d(mean), each a ratio by rows.
        influence = np.zeros((keys.size, _VALUES))
        influence[:, SQUARE] = 1.0
        influence[:, VALUE] = -2.0 * mean.value
        influence[:, ROWS] = mean.value**2 - variance
        shift = self.shift[keys]
        return {
            "mean": Ratio(shift + mean.value, mean.standard_error),
            "bias": Ratio(shift + bias.value, bias.standard_error),
            "variance": Ratio(variance, self.linear_error(keys, influence)),
            "mse": self.combination(keys, unit[ERROR]),
        }

    def rows(self, keys: np.ndarray, replicates: int) -> Ratio:
        """Expected rows per replicate."""
        mean = self.sums[keys, ROWS] / replicates
        if replicates < 2:
            return Ratio(mean, np.full(keys.size, np.nan))
        square = self.products[keys, ROWS, ROWS] - replicates * mean**2
        return Ratio(mean, np.sqrt(np.maximum(square, 0.0) / (replicates - 1) / replicates))


@kernel
def _add(
    order: np.ndarray, ends: np.ndarray, key: np.ndarray, value: np.ndarray, target: np.ndarray, weight: np.ndarray,
    first: int, sums: np.ndarray, products: np.ndarray, replicates: np.ndarray, shift: np.ndarray, seen: np.ndarray,
    streams: np.ndarray, scratch: np.ndarray, touched: np.ndarray,
) -> None:  # fmt: skip
    for i in range(ends.size - 1):
        stream = (first + i) % streams.shape[0]
        n = 0
        for at in range(ends[i], ends[i + 1]):
            row = order[at]
            w, k = weight[row], key[row]
            if w == 0.0:
                continue
            if not seen[k]:
                seen[k], shift[k] = True, value[row]
            if scratch[k, 0] == 0.0:
                touched[n] = k
                n += 1
            away, error = value[row] - shift[k], value[row] - target[row]
            scratch[k, 0] += w
            scratch[k, 1] += w * away
            scratch[k, 2] += w * target[row]
            scratch[k, 3] += w * away * away
            scratch[k, 4] += w * error * error
        for t in range(n):
            k = touched[t]
            replicates[k] += 1
            for v in range(scratch.shape[1]):
                sums[k, v] += scratch[k, v]
                for u in range(scratch.shape[1]):
                    products[k, v, u] += scratch[k, v] * scratch[k, u]
            for v in range(streams.shape[2]):
                streams[stream, k, v] += scratch[k, v]
            for v in range(scratch.shape[1]):
                scratch[k, v] = 0.0
