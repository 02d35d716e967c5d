"""Runs of conservative exploration that several claims look at, each made once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from creditsim.conservative import ConservativeConfig, ConservativeRun, explore
from creditsim.rng import derive_seed
from creditsim.stats.intervals import t_interval
from theory.claim import Trial

__all__ = ["DELTA", "KEPT", "PLACES", "curves", "growth", "number_of_runs", "places", "runs", "violating"]

DELTA = 0.1
"""Probability with which a method may ever violate its bar."""
KEPT = 0.9
"""Share of the baseline's value that must be kept."""

PLACES: Mapping[str, tuple[str, tuple[tuple[str, Any], ...]]] = {
    **{f"table {seed}": ("layered@tiny", (("seed", seed), ("paying", 0.4))) for seed in range(8)},
    "chain": ("chain", (("length", 2), ("horizon", 3), ("slip", 0.1))),
}
"""Environments by the name that tables and figures give them: random layered ones in the order of their seeds, and a
walk with a reward at its end only."""


def places(trial: Trial) -> list[str]:
    """Environments of a trial, the first ones in order."""
    return list(PLACES)[: trial.pick(3, 4, 9)]


def number_of_runs(trial: Trial) -> int:
    """Runs in each environment: three environments make the 110 that no violation needs to show a rate below 0.1."""
    return trial.pick(40, 100, 200)


def growth(trial: Trial) -> float:
    """Share by which the number of episodes grows from plan to plan."""
    return trial.pick(0.1, 0.05, 0.03)


def runs(trial: Trial, place: str, method: str, **settings: Any) -> ConservativeRun:
    """Runs of a method in one environment; unless told otherwise the baseline's value is known.

    The statistics of `stepmix.regret-order` and `epsmix.same-as-stepmix` were chosen after looking at the runs that
    `trial.seed` itself gives. Verdicts are therefore taken on fresh runs, which had no part in that choice.
    """
    given = {
        "replicates": number_of_runs(trial), "episodes": trial.pick(10_000, 30_000, 60_000), "growth": growth(trial),
        "known": "data" not in settings, **settings,
    }  # fmt: skip
    return _runs(place, method, derive_seed(trial.seed, "confirmation"), tuple(sorted(given.items())))


@lru_cache(maxsize=64)
def _runs(place: str, method: Any, seed: int, settings: tuple[tuple[str, Any], ...]) -> ConservativeRun:
    env, params = PLACES[place]
    given: dict[str, Any] = {"delta": DELTA, "kept": KEPT, **dict(settings)}
    return explore(ConservativeConfig(method=method, env=env, env_params=dict(params), seed=seed, **given))


def violating(run: ConservativeRun) -> int:
    """Runs with a policy below the bar in any episode."""
    return int((run.violations > 0).sum())


def curves(run: ConservativeRun, points: int = 40) -> dict[str, np.ndarray]:
    """Mean regret over log-spaced episodes with pointwise 95 % t intervals, and exact values of the episodes' plans."""
    last = int(run.episode[-1])
    episode = np.unique(np.geomspace(1, last, points).round().astype(np.int64))
    regret = run.regret_at(episode)
    interval = t_interval(regret.shape[1], regret.mean(axis=1), regret.var(axis=1, ddof=1))
    value = run.value[np.searchsorted(run.episode, episode)]
    return {
        "episode": episode,
        "regret": regret.mean(axis=1),
        "low": np.asarray(interval.low),
        "high": np.asarray(interval.high),
        "baseline_regret": (run.optimum - run.baseline.mean()) * episode,
        "value": np.median(value, axis=1),
        "least": value.min(axis=1),
        "most": value.max(axis=1),
    }
