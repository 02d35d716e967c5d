"""Bandits with K = 10 arms of success 0.9 to 0.1, beside NumPy vectorised over replications."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.bandits.instances import bernoulli
from creditsim.bandits.rules.base import RULES
from creditsim.bandits.simulate import simulate

__all__: list[str] = []

_MEANS = np.linspace(0.9, 0.1, 10)
_REPLICATIONS = 1000
_NUMPY = "NumPy vectorised over 1000 replications, per pull"
_BISECTIONS = 24

Index = Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]


def _ucb1(count: np.ndarray, total: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    return total / count + np.sqrt(2.0 * np.log(t) / count)


def _kl_ucb(count: np.ndarray, total: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    mean, level = np.clip(total / count, 1e-15, 1.0 - 1e-15), np.log(t) / count
    low, high = mean, np.ones_like(mean)
    own = mean * np.log(mean) + (1.0 - mean) * np.log1p(-mean)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        inside = own - mean * np.log(middle) - (1.0 - mean) * np.log1p(-middle) < level
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def _thompson(count: np.ndarray, total: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    return rng.beta(1.0 + total, 1.0 + count - total)


def _numpy(index: Index, horizon: int) -> Callable[[], np.ndarray]:
    def run() -> np.ndarray:
        rng = np.random.default_rng(0)
        count, total = np.zeros((2, _REPLICATIONS, _MEANS.size))
        rows, regret = np.arange(_REPLICATIONS), np.zeros(_REPLICATIONS)
        for t in range(horizon):
            if t < _MEANS.size:
                arm = np.full(_REPLICATIONS, t)
            else:
                arm = index(count, total, t, rng).argmax(axis=1)
            count[rows, arm] += 1.0
            total[rows, arm] += rng.random(_REPLICATIONS) < _MEANS[arm]
            regret += _MEANS[0] - _MEANS[arm]
        return regret

    return run


def _ours(rule: str, horizon: int, threads: int) -> Callable[[], object]:
    bandit = bernoulli(_MEANS)
    options = {"horizon": horizon, "replications": _REPLICATIONS, "threads": threads, "record_times": [horizon]}
    return lambda: simulate(bandit, rule, **options)


@line("UCB1, 1 thread", _NUMPY, target=12)
def ucb1() -> Rounds:
    return compare(_ours("ucb1", 5000, 1), _numpy(_ucb1, 5000))


@line("KL-UCB, 1 thread", _NUMPY, target=6)
def kl_ucb() -> Rounds:
    return compare(_ours("kl_ucb", 500, 1), _numpy(_kl_ucb, 500))


@line("Thompson sampling, 1 thread", _NUMPY, target=1.8)
def thompson() -> Rounds:
    return compare(_ours("thompson", 1000, 1), _numpy(_thompson, 1000))


@line("Thompson sampling, 2 threads", _NUMPY, target=3)
def thompson_in_two() -> Rounds:
    return compare(_ours("thompson", 1000, 2), _numpy(_thompson, 1000))


@line("every bandit rule, 1000 x 10^4 pulls, 2 threads", "one minute", value="seconds", target=60)
def every_rule() -> Rounds:
    calls = [_ours(part.name, 10_000, 2) for part in RULES]
    return compare(lambda: [call() for call in calls], rounds=1)
