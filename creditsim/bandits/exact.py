"""Two arms without simulation: laws of their counts, 3SPO's shares under full information, lock-in by recursion.

p = (p_low, p_high) are success probabilities and the target is the lower one. Sums run over the binomial laws up to a
mass of 1e-30 left out; nothing is sampled.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from creditsim.errors import InputError
from creditsim.jit import kernel

__all__ = [
    "binomial",
    "difference_law",
    "expected_waste",
    "identification_error",
    "log_share",
    "miss_probability",
    "never_again",
    "samples_needed",
    "waste_per_iteration",
]

_EXACT_UP_TO = 2000
_NODES_PER_DECADE = 24
_LEFT_OUT = 1e-30


def binomial(n: int, p: float) -> np.ndarray:
    """(n+1,) probabilities of k successes in n draws of chance p."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    return np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p))


def _window(n: int, p: float) -> tuple[int, np.ndarray]:
    law = binomial(n, p)
    kept = np.flatnonzero(law > _LEFT_OUT)
    return int(kept[0]), law[kept[0] : kept[-1] + 1]


def _two(p: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(x) for x in p)
    if not 0.0 <= low < high <= 1.0:
        raise InputError("p", p, "two probabilities in [0, 1], the lower one first")
    return low, high


@lru_cache(maxsize=4096)
def difference_law(p: tuple[float, float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of X_high - X_low, the successes of n draws each, and their probabilities; read-only, kept for reuse."""
    low, high = _two(p)
    (start_low, law_low), (start_high, law_high) = _window(n, low), _window(n, high)
    law = np.convolve(law_high, law_low[::-1])
    first = start_high - (start_low + law_low.size - 1)
    value = np.arange(first, first + law.size)
    for array in (value, law):
        array.setflags(write=False)
    return value, law


def identification_error(p: tuple[float, float], n: int) -> float:
    """P(the arm with fewer successes in n draws each is not the lower one), ties decided by a coin."""
    value, law = difference_law(p, n)
    return float(law[value < 0].sum() + 0.5 * law[value == 0].sum())


def samples_needed(p: tuple[float, float], delta: float) -> int:
    """Smallest n from which on, as far as n + 8, `identification_error` is at most delta."""
    if not 0.0 < delta < 0.5:
        raise InputError("delta", delta, "a number in (0, 1/2)")
    n = 1
    while identification_error(p, n) > delta:
        n *= 2
    low = n // 2
    while n - low > 1:
        middle = (n + low) // 2
        low, n = (low, middle) if identification_error(p, middle) <= delta else (middle, n)
    return n


def miss_probability(p: tuple[float, float], n: int, margin: float, *, closed: bool = True) -> float:
    """P(some arm's rate of n draws is off its p by more than `margin`); by at least that where `closed` is False.

    Lattice points on the border are told by comparing counts with a tolerance of 1e-9, far below their spacing.
    """
    missed = 0.0
    for chance in _two(p):
        off = np.abs(np.arange(n + 1) - n * chance) - n * margin
        one = float(binomial(n, chance)[off > 1e-9 if closed else off >= -1e-9].sum())
        missed += one - missed * one
    return missed


def _log_ratio(value: np.ndarray, n: int, alpha: float) -> np.ndarray:
    # ln(S_high / S_low) = -alpha ln(i) (rate_high - rate_low), with n = i samples of each arm.
    return -alpha * np.log(n) * value / n


def waste_per_iteration(p: tuple[float, float], i: int, alpha: float) -> float:
    """E[share of the higher arm] at iteration i of `3spo_proportional` under full information, i samples per arm."""
    from scipy.special import expit

    value, law = difference_law(p, i)
    return float(law @ expit(_log_ratio(value, i, alpha)))


def log_share(p: tuple[float, float], i: int, alpha: float) -> float:
    """E[ln share of the higher arm] at iteration i, as in `waste_per_iteration`."""
    value, law = difference_law(p, i)
    ratio = _log_ratio(value, i, alpha)
    return float(law @ (ratio - np.logaddexp(0.0, ratio)))


def expected_waste(p: tuple[float, float], times: np.ndarray, alpha: float) -> np.ndarray:
    """(T,) expected waste of `3spo_proportional` under full information, two arms: sum over i of `waste_per_iteration`.

    Every i up to 2000 is summed over; beyond, ln of the summand is a smooth function of ln i, taken at 24 nodes per
    decade and interpolated by a cubic spline (relative error below 1e-6, checked in the tests).
    """
    from scipy.interpolate import CubicSpline

    times = np.asarray(times, np.int64)
    last = int(times.max())
    head = min(last, _EXACT_UP_TO)
    each = np.array([waste_per_iteration(p, i, alpha) for i in range(1, head + 1)])
    if last > head:
        count = max(4, int(np.ceil(_NODES_PER_DECADE * np.log10(last / head))) + 1)
        nodes = np.unique(np.geomspace(head, last, count).round().astype(np.int64))
        summand = np.maximum([waste_per_iteration(p, int(i), alpha) for i in nodes], 1e-300)
        spline = CubicSpline(np.log(nodes), np.log(summand))
        each = np.concatenate([each, np.exp(spline(np.log(np.arange(head + 1, last + 1))))])
    return np.cumsum(each)[times - 1]


def never_again(p: tuple[float, float], alpha: float, times: np.ndarray, *, initial: int = 1) -> np.ndarray:
    """(T,) P(the target is not drawn in decisions 1..I) by `3spo_proportional` with bandit feedback, clock "decisions".

    Each arm is pulled `initial` times first. As long as the target is not drawn, its rate stays put and all that moves
    is the other arm's count of successes: one recursion over that count per initial rate of the target.
    """
    low, high = _two(p)
    times = np.asarray(times, np.int64)
    if initial < 1 or times.size == 0 or times.min() < 1:
        raise InputError("initial, times", (initial, times.tolist()), "numbers >= 1")
    total, last = np.zeros(times.size), int(times.max())
    for successes, chance in enumerate(binomial(initial, low)):
        law, out = np.zeros(initial + last + 1), np.zeros(last)
        law[: initial + 1] = binomial(initial, high)
        _survive(out, law, successes / initial, initial, high, alpha)
        total += chance * out[times - 1]
    return total


@kernel
def _survive(out, law, rate, initial, chance, alpha):
    # law[s]: the target has not been drawn and the other arm has s successes; ends of no weight are passed over.
    first, last = 0, initial
    for i in range(1, out.shape[0] + 1):
        seen, alive = initial + i - 1, 0.0
        steepness = alpha * math.log(i)
        for s in range(first, last + 1):
            law[s] *= 1.0 / (1.0 + math.exp(steepness * (s / seen - rate)))
            alive += law[s]
        out[i - 1] = alive
        for s in range(last, first - 1, -1):
            law[s + 1] += law[s] * chance
            law[s] *= 1.0 - chance
        last += 1
        while first < last and law[first] < _LEFT_OUT:
            first += 1
        while last > first and law[last] < _LEFT_OUT:
            last -= 1
        for s in range(last + 1, min(last + 2, law.shape[0])):
            law[s] = 0.0
