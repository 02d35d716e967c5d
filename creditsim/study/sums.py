"""What a variance cell keeps while it runs, and the quantities read from it at a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditsim.jit import kernel
from creditsim.stats.moments import Moments
from creditsim.stats.sums import Summary
from creditsim.study.keysums import STREAMS, KeySums, Ratio
from creditsim.study.replicates import SCALARS, Block
from creditsim.study.setting import Setting

__all__ = ["GRADIENT_STREAMS", "Gradient", "Sums"]

GRADIENT_STREAMS = 64
"""Streams of gradients: more than those of keys, which take more room, so that the jackknife has more to go by."""

_AT = {name: i for i, name in enumerate(SCALARS)}


@dataclass(frozen=True, eq=False)
class Gradient:
    """The law of the gradient as seen so far.

    `mean` (P,) of g - exact; `trace` = tr Cov[g] with its standard error by the jackknife over streams.
    """

    mean: np.ndarray
    trace: float
    trace_error: float


class Sums:
    """Everything that is added up over replicates; one `add` per chunk, in order."""

    def __init__(self, setting: Setting) -> None:
        self.keys = KeySums(setting.n_keys)
        self.scalars = Moments((len(SCALARS),), cross=True)
        self.gradients = np.zeros((GRADIENT_STREAMS, setting.gradient.size))
        self.squares = np.zeros(GRADIENT_STREAMS)
        self.n = 0

    def add(self, block: Block) -> None:
        """Add a block; either all of it or, on an error, nothing."""
        scalars = self.scalars.add(block.scalars, block.first)
        self.keys.add(block.order, block.ends, block.key, block.value, block.target, block.weight, block.first)
        _add_streams(
            block.gradient, block.scalars[:, _AT["gradient_error2"]], block.first, self.gradients, self.squares
        )
        self.scalars, self.n = scalars, self.n + block.scalars.shape[0]

    def summary(self) -> Summary:
        """Moments of the scalars."""
        return self.scalars.summary()

    def ratio(self, summary: Summary, numerator: str, denominator: str | None = None) -> Ratio:
        """E[numerator] / E[denominator] of scalars (the mean of the first where there is no second), delta method."""
        weights = np.zeros(len(SCALARS))
        weights[_AT[numerator]] = 1.0
        scale = 1.0
        if denominator is not None:
            scale = float(summary.mean[_AT[denominator]])
            if scale == 0.0:
                return Ratio(np.array(np.nan), np.array(np.nan))
            weights[_AT[denominator]] = -float(summary.mean[_AT[numerator]]) / scale
        spread = np.einsum("i,ij,j->", weights, summary.covariance(), weights, optimize=False)
        value = float(summary.mean[_AT[numerator]]) / scale
        return Ratio(np.array(value), np.sqrt(np.maximum(spread, 0.0) / summary.n) / abs(scale))

    def efficiency(self, summary: Summary, square: float) -> Ratio:
        """E<g, d>^2 / (|d|^2 E|g|^2), d the exact gradient with |d|^2 = `square`, signed as E<g, d>; delta method.

        From a = E<g, d> / |d|^2 and e = E|g - d|^2: a |a| |d|^2 / (e + (2 a - 1) |d|^2). NaN where d = 0 or g = 0.
        """
        along, error = (float(summary.mean[_AT[name]]) for name in ("along", "gradient_error2"))
        length = error + (2.0 * along - 1.0) * square
        if square == 0.0 or not length > 0.0:
            return Ratio(np.array(np.nan), np.array(np.nan))
        weights = np.zeros(len(SCALARS))
        weights[_AT["along"]] = 2.0 * abs(along) * square * (length - abs(along) * np.sign(along) * square) / length**2
        weights[_AT["gradient_error2"]] = -along * abs(along) * square / length**2
        spread = np.einsum("i,ij,j->", weights, summary.covariance(), weights, optimize=False)
        value = along * abs(along) * square / length
        return Ratio(np.array(value), np.sqrt(np.maximum(spread, 0.0) / summary.n))

    def gradient(self) -> Gradient:
        """Mean and spread of the gradient."""
        count = (
            np.bincount(np.arange(self.n % GRADIENT_STREAMS), minlength=GRADIENT_STREAMS) + self.n // GRADIENT_STREAMS
        )
        total, square = _ordered_sum(self.gradients), float(_ordered_sum(self.squares))
        trace = _trace(total, square, self.n)
        without = [
            _trace(total - self.gradients[j], square - self.squares[j], self.n - int(count[j]))
            for j in range(min(GRADIENT_STREAMS, self.n))
        ]
        return Gradient(total / self.n, trace, jackknife_error(np.array(without)))

    def pooled(self) -> dict[str, tuple[float, float]]:
        """Mean over rows of squared bias per key, and of variance per key: estimate and jackknife standard error.

        The plug-in estimate of a squared bias is too large by the variance of the bias estimate; the jackknife takes
        this off, exactly so for equal streams and fixed row counts.
        """
        keys = self.keys.met
        streams, shift = self.keys.streams[:, keys], self.keys.shift[keys]
        total = _ordered_sum(streams)
        whole = _pooled(total, shift)
        used = min(STREAMS, self.n)
        if used < 2:
            return {name: (float(whole[i]), np.nan) for i, name in enumerate(("bias2", "variance"))}
        without = np.array([_pooled(total - streams[j], shift) for j in range(used)])
        corrected = used * whole - (used - 1) * without.mean(axis=0)
        values = (corrected[0], whole[1])
        return {
            name: (float(values[i]), jackknife_error(without[:, i])) for i, name in enumerate(("bias2", "variance"))
        }


def jackknife_error(without: np.ndarray) -> float:
    """Standard error from the J estimates that leave one stream out: sqrt((J-1)/J sum (t_j - mean)^2)."""
    j = without.size
    if j < 2 or not np.isfinite(without).all():
        return float("nan")
    return float(np.sqrt((j - 1) / j * np.square(without - without.mean()).sum()))


def _pooled(sums: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """(2,) mean over rows of bias(key)^2 and of variance(key), from (K', 4) sums of rows, d, A, d^2."""
    met = sums[:, 0] > 0
    if not met.any():
        return np.full(2, np.nan)
    rows, value, target, square = sums[met].T
    bias = shift[met] + (value - target) / rows
    variance = np.maximum(square / rows - (value / rows) ** 2, 0.0)
    return np.array([(rows * bias**2).sum(), (rows * variance).sum()]) / rows.sum()


def _trace(total: np.ndarray, square: float, n: int) -> float:
    """Tr Cov from sums over n replicates of g - c and of |g - c|^2, divisor n - 1."""
    if n < 2:
        return float("nan")
    return max(square - float(np.square(total).sum()) / n, 0.0) / (n - 1)


def _ordered_sum(streams: np.ndarray) -> np.ndarray:
    total = streams[0].copy() if streams.ndim > 1 else streams[0]
    for part in streams[1:]:
        total = total + part
    return total


@kernel
def _add_streams(
    gradient: np.ndarray, square: np.ndarray, first: int, gradients: np.ndarray, squares: np.ndarray
) -> None:
    for i in range(gradient.shape[0]):
        stream = (first + i) % squares.shape[0]
        squares[stream] += square[i]
        for p in range(gradient.shape[1]):
            gradients[stream, p] += gradient[i, p]
