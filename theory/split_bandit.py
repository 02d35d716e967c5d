"""A bandit whose pulls have a metric: CANON's expected gradient by quadrature, and its sampled groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from creditsim.rng import Purpose, derive_seed, normals, uniforms

__all__ = ["SplitBandit"]

LOGITS = (0.5, -0.3, 0.2, 0.0, -0.6, 0.1)
CHANCES = (0.9, 0.2, 0.6, 0.4, 0.8, 0.1)
FEATURES = (1.0, -0.5, 0.3, -1.0, 0.8, 0.0)
_REACH, _POINTS = 9.0, 6001


@dataclass(frozen=True, eq=False)
class SplitBandit:
    """Six arms with Bernoulli rewards; the metric of a pull is its arm's feature plus a standard normal.

    Quadrature is over the metric x on an even grid: `weight` (X,) steps, `density` (X, A) of metric and arm together.
    """

    pi: np.ndarray
    p: np.ndarray
    feature: np.ndarray
    density: np.ndarray
    weight: float

    @classmethod
    @cache
    def standard(cls) -> SplitBandit:
        """The setting of the reference values."""
        power = np.exp(np.array(LOGITS))
        pi, feature = power / power.sum(), np.array(FEATURES)
        x = np.linspace(-_REACH, _REACH, _POINTS)
        density = pi * np.exp(-0.5 * (x[:, None] - feature) ** 2) / np.sqrt(2.0 * np.pi)
        return cls(pi, np.array(CHANCES), feature, density, float(x[1] - x[0]))

    @property
    def gradient(self) -> np.ndarray:
        """(A,) dJ by logits."""
        return self.pi * (self.p - self.pi @ self.p)

    @property
    def median(self) -> float:
        """Population median of the metric, by bisection."""
        low, high = -_REACH, _REACH
        while high - low > 1e-13:
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.upper(middle) @ self.pi > 0.5 else (low, middle)
        return (low + high) / 2.0

    def upper(self, threshold: float) -> np.ndarray:
        """(A,) chance that an arm's metric is above a threshold."""
        from scipy.special import ndtr

        return ndtr(self.feature - threshold)

    def halves(self) -> tuple[float, np.ndarray]:
        """m+ - m- and grad P(+) (A,) for the split at the population median."""
        above = self.upper(self.median)
        share = float(self.pi @ above)
        high = float(self.pi @ (above * self.p)) / share
        low = float(self.pi @ ((1.0 - above) * self.p)) / (1.0 - share)
        return high - low, self.pi * (above - share)

    def predicted(self, mu: float) -> np.ndarray:
        """(A,) dJ + (2 mu - 1)(m+ - m-) grad P(+)."""
        gap, push = self.halves()
        return self.gradient + (2.0 * mu - 1.0) * gap * push

    def fixed_split(self, n: int, mu: float) -> np.ndarray:
        """(A,) E[g] for the split at the population median, given that neither half is empty; sums over half sizes."""
        from theory.shared import binomial

        above = self.upper(self.median)
        share = float(self.pi @ above)
        j = np.arange(n)
        # Of the n - 1 others j are above; a member of a half of k is in its own mean with share 1 / k.
        others, kept = binomial(n - 1, share), 1.0 - share**n - (1.0 - share) ** n
        own = {1: others @ ((j < n - 1) * j / (j + 1.0)), 0: others @ ((j > 0) * (n - 1 - j) / (n - j))}
        full = {1: 1.0 - others[-1], 0: 1.0 - others[0]}
        out = np.zeros_like(self.pi)
        for half, mass in ((1, above), (0, 1.0 - above)):
            mean = {h: float(self.pi @ (m * self.p) / (self.pi @ m)) for h, m in ((1, above), (0, 1.0 - above))}
            inter = full[half] * (self.p - mean[1 - half])
            intra = own[half] * (self.p - mean[half])
            out += self._pull(self.pi * mass * (mu * inter + (1.0 - mu) * intra))
        return out / kept

    def median_split(self, n: int, mu: float) -> np.ndarray:
        """(A,) E[g] for the split at the median of the group of n, n even.

        Let h = n/2 and V the h-th smallest of the other n - 1, as a rank Beta(h, h). A member above V is in the upper
        half; the lower half is then V and h - 1 members below it, its own half itself and h - 1 members above V.
        """
        from scipy.special import betainc, betaln, xlog1py, xlogy

        h = n // 2
        f = self.density.sum(axis=1)
        rank = np.cumsum(f) * self.weight - 0.5 * f * self.weight
        rank = np.clip(rank, 0.0, 1.0)
        beta = np.exp(xlogy(h - 1, rank) + xlog1py(h - 1, -rank) - betaln(h, h)) * f
        paid = self.density @ self.p
        here = paid / f
        below = (np.cumsum(paid) - 0.5 * paid) * self.weight
        under = below / np.maximum(rank, 1e-300)
        over = (paid.sum() * self.weight - below) / np.maximum(1.0 - rank, 1e-300)
        # Means of the half on the far side of V and, but for the member itself, of the half on the near side.
        lower_mean, upper_mean = ((h - 1) * under + here) / h, ((h - 1) * over + here) / h
        in_upper = betainc(h, h, rank)
        out = np.zeros_like(self.pi)
        for above in (True, False):
            side = in_upper if above else 1.0 - in_upper
            across = self._between(beta * (lower_mean if above else upper_mean), above)
            beside = self._between(beta * (over if above else under), above) * (h - 1) / h
            inter = self.p * side[:, None] - across[:, None]
            intra = self.p * (side * (1.0 - 1.0 / h))[:, None] - beside[:, None]
            mass = (self.density * (mu * inter + (1.0 - mu) * intra)).sum(axis=0) * self.weight
            out += self._pull(mass)
        return out

    def _between(self, values: np.ndarray, above: bool) -> np.ndarray:
        """Integral over V below each point of the grid, or above it."""
        below = (np.cumsum(values) - 0.5 * values) * self.weight
        return below if above else values.sum() * self.weight - below

    def _pull(self, mass: np.ndarray) -> np.ndarray:
        """Sum over arms of mass times the score e_a - pi."""
        return mass - self.pi * mass.sum()

    def sample(self, groups: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Arms, rewards and metrics (groups, n)."""
        seed = derive_seed(seed, "split bandit", n)
        draw = uniforms(seed, 0, Purpose.DATA, (2, groups, n))
        arm = np.minimum(np.searchsorted(np.cumsum(self.pi), draw[0], side="right"), self.pi.size - 1)
        noise = normals(seed, 1, Purpose.NOISE, (groups, n))
        return arm, (draw[1] < self.p[arm]).astype(np.float64), self.feature[arm] + noise

    def gradients(self, arm: np.ndarray, credit: np.ndarray) -> np.ndarray:
        """(groups, A) g = (1/n) sum_i A_i (e_a - pi) of each group."""
        groups, n = arm.shape
        place = np.arange(groups)[:, None] * self.pi.size + arm
        per_arm = np.bincount(place.ravel(), credit.ravel(), groups * self.pi.size).reshape(groups, -1)
        return (per_arm - credit.sum(axis=1, keepdims=True) * self.pi) / n
