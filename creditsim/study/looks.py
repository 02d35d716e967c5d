"""When a variance cell looks at its numbers, and how wide its intervals must be for that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from creditsim.stats.intervals import normal_quantile, t_quantile
from creditsim.stats.sequences import asymptotic_mixture

__all__ = ["Width", "looks"]

_BLOCK = 256
_FIRST = 1024
_GROWTH = 1.25


def looks(replicates: int, sequential: bool) -> Iterator[int]:
    """Numbers of replicates at which to look, the last being `replicates`; only that one if not sequential.

    They are fixed beforehand, so that where a cell stops does not depend on chunks. The first is late (1024), because
    the sequence estimates the spread; each is a quarter more than the one before.
    """
    at = _FIRST
    while sequential and at < replicates:
        yield at
        at = math.ceil(at * _GROWTH / _BLOCK) * _BLOCK
    yield replicates


@dataclass(frozen=True)
class Width:
    """Half-widths of intervals in standard errors, after n replicates.

    Looked at once: Student's t. Looked at again and again (`sequential`): the normal mixture with estimated variance,
    best at a quarter of the budget; each interval then covers at all looks at once.
    """

    n: int
    budget: int
    alpha: float
    sequential: bool

    @property
    def method(self) -> str:
        """How the intervals were made, for the record."""
        return "normal mixture, estimated variance" if self.sequential else "t"

    def mean(self, df: np.ndarray | int | None = None) -> np.ndarray:
        """For a mean, or a smooth function of means, with `df` degrees of freedom (default n - 1)."""
        df = np.asarray(self.n - 1 if df is None else df)
        quantile = np.asarray(t_quantile(self.alpha, df))
        return np.maximum(quantile, self._mixture()) if self.sequential else quantile

    def ball(self, dimensions: int) -> float:
        """For the length of a vector mean, in units of sqrt(tr Cov / n).

        Once: P(|error|^2 > c tr Cov / n) is largest when all spread lies in one direction, for c above 1.54 (Szekely
        and Bakirov 2003), so the quantile of one normal coordinate serves in any number. In sequence: the mixture over
        directions, exp(l S - l Cov l n / 2) with l ~ N(0, I / (rho tr Cov)), gives |S|^2 <= tr Cov (n + rho)
        (2 ln(1/alpha) + ln det) at all n, with ln det <= P ln(1 + n / (rho P)). Evidence: notes, derived here.
        """
        if not self.sequential:
            return float(t_quantile(self.alpha, self.n - 1))
        price = 2.0 * math.log(1.0 / self.alpha)
        rho = self._optimum() / (price + math.log1p(price))
        grown = price + dimensions * math.log1p(self.n / (rho * dimensions))
        return math.sqrt((self.n + rho) / self.n * grown)

    def jackknife(self, streams: int) -> float:
        """For a quantity with a jackknife standard error over `streams` streams."""
        student = float(t_quantile(self.alpha, streams - 1))
        if not self.sequential:
            return student
        return student * self._mixture() / float(normal_quantile(self.alpha))

    def halved(self) -> Width:
        """At half the error level, for one of two parts of a statement."""
        return Width(self.n, self.budget, self.alpha / 2.0, self.sequential)

    def _optimum(self) -> float:
        return max(_FIRST, self.budget / 4)

    def _mixture(self) -> float:
        one = asymptotic_mixture(self.n, 0.0, 1.0, alpha=self.alpha, optimal_n=self._optimum())
        return float(one.high) * math.sqrt(self.n)
