"""Lines to hold regret against: what no good rule can beat, and what a rule is proved to keep to."""

from __future__ import annotations

import math

import numpy as np

from creditsim.bandits.instances import Bandit
from creditsim.errors import InputError

__all__ = [
    "bernoulli_kl",
    "kl_ucb_pulls",
    "lai_robbins",
    "polynomial_waste",
    "three_spo_waste",
    "ucb1_pulls",
    "ucb1_regret",
]


def bernoulli_kl(p: np.ndarray | float, q: np.ndarray | float) -> np.ndarray:
    """d(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q)), elementwise, with 0 ln 0 = 0; infinite where q excludes p."""
    from scipy.special import rel_entr

    return rel_entr(p, q) + rel_entr(1.0 - np.asarray(p), 1.0 - np.asarray(q))


def _wrong(bandit: Bandit, objective: str) -> tuple[np.ndarray, float, np.ndarray]:
    if bandit.drifts:
        raise InputError("bandit", "drifting arms", "arms that stay, for which the bounds hold")
    best = bandit.best(objective)
    value = bandit.value(objective)
    wrong = np.delete(value, best)
    return wrong, float(value[best]), value[best] - wrong


def lai_robbins(bandit: Bandit, objective: str = "max", *, waste: bool = False) -> float:
    """Slope per ln T below which no uniformly good rule stays: sum_a gap_a / d_a, or sum_a 1 / d_a in pulls (`waste`).

    d_a = d(value_a, best value) for Bernoulli arms, gap^2 / (2 deviation^2) for Gaussian ones. Source: Lai and Robbins
    1985 (evidence: notes). Error: InputError for drifting arms.
    """
    value, top, gap = _wrong(bandit, objective)
    d = bernoulli_kl(value, top) if bandit.binary else gap**2 / (2.0 * bandit.deviation**2)
    return float(((1.0 if waste else gap) / d).sum())


def ucb1_pulls(bandit: Bandit, times: np.ndarray, objective: str = "max") -> np.ndarray:
    """(T,) bound on the expected pulls of wrong arms by UCB1: sum_a 8 ln T / gap_a^2 + 1 + pi^2/3.

    Source: Auer et al. 2002, Theorem 1 (evidence: notes), for rewards in [0, 1].
    """
    _, _, gap = _wrong(bandit, objective)
    return 8.0 * np.log(times) * (1.0 / gap**2).sum() + gap.size * (1.0 + math.pi**2 / 3.0)


def ucb1_regret(bandit: Bandit, times: np.ndarray, objective: str = "max") -> np.ndarray:
    """(T,) bound on UCB1's regret: 8 ln T sum_a 1/gap_a + (1 + pi^2/3) sum_a gap_a. Source as in `ucb1_pulls`."""
    _, _, gap = _wrong(bandit, objective)
    return 8.0 * np.log(times) * (1.0 / gap).sum() + (1.0 + math.pi**2 / 3.0) * gap.sum()


def kl_ucb_pulls(bandit: Bandit, times: np.ndarray, objective: str = "max") -> np.ndarray:
    """(T,) bound on the expected pulls of wrong arms by `kl_ucb@finite`, Bernoulli arms.

    Per arm the least of ln f(T) / d(value_a + e1, best - e2) + 1/(2 e1^2) + 2/e2^2 over e1 + e2 < gap_a, with
    f(t) = 1 + t ln^2 t; here over a grid of 200 by 200, which keeps it a bound.
    Source: Lattimore and Szepesvari 2020, Theorem 10.6 (evidence: notes).
    """
    times = np.asarray(times, np.float64)
    log_f = np.log1p(times * np.log(times) ** 2)
    total = np.zeros_like(times)
    share = (np.arange(200) + 0.5) / 200.0
    for value, top, gap in zip(*_each(bandit, objective), strict=True):
        used, first = np.meshgrid(gap * share, share, indexing="ij")
        e1, e2 = used * first, used * (1.0 - first)
        slope = 1.0 / bernoulli_kl(value + e1, top - e2)
        rest = 1.0 / (2.0 * e1**2) + 2.0 / e2**2
        total += np.array([(log * slope + rest).min() for log in log_f])
    return total


def _each(bandit: Bandit, objective: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, top, gap = _wrong(bandit, objective)
    return value, np.full_like(value, top), gap


def three_spo_waste(bandit: Bandit, times: np.ndarray, *, alpha: float) -> np.ndarray:
    """(T,) bound on the expected waste of `3spo_proportional` under full information, targets being the lowest rates.

    sum_i (K-1) i^(-alpha gap/2) <= (K-1)(1 + ln I) for alpha gap >= 2, else (K-1) I^(1-x)/(1-x) with x = alpha gap/2;
    plus sum_i P(some rate is off by more than gap/4) <= 2K / (exp(gap^2/8) - 1). Derived here (evidence: inferred).
    """
    gap, wrong = bandit.gap("min"), bandit.arms - 1
    times, x = np.asarray(times, np.float64), alpha * gap / 2.0
    growth = 1.0 + np.log(times) if x >= 1.0 else polynomial_waste(times, x)
    return wrong * growth + 2.0 * bandit.arms / math.expm1(gap**2 / 8.0)


def polynomial_waste(times: np.ndarray, x: float) -> np.ndarray:
    """(T,) bound I^(1-x) / (1-x) on sum_{i <= I} i^(-x), 0 <= x < 1."""
    return np.asarray(times, np.float64) ** (1.0 - x) / (1.0 - x)
