"""GRPO: what each library's preset makes of the same groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creditsim.errors import CreditsimError
from creditsim.estimators import ESTIMATORS, Pairs, credit
from creditsim.estimators.base import EstimatorPart
from creditsim.registry import Bound
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim


@dataclass(frozen=True)
class Case:
    """One group: scores, steps of each trajectory, and which members count (weight 0: rejected)."""

    scores: tuple[float, ...]
    lengths: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    ordinary: bool = False

    def rollouts(self) -> Rollouts:
        """Episodes that pay their score on the last step; all observations and values alike."""
        n = len(self.scores)
        length = np.array(self.lengths or (1,) * n)
        offsets = np.append(0, np.cumsum(length))
        reward = np.zeros(offsets[-1])
        reward[offsets[1:] - 1] = self.scores
        zero = np.zeros(reward.size)
        columns = {"weight": np.repeat(np.array(self.weights), length)} if self.weights else {}
        return Rollouts.flat(
            offsets=offsets,
            group=np.zeros(n, np.int64),
            reward=reward,
            columns=columns
            | {"value": zero, "log_prob": zero + np.log(0.5), "sum_pi_squared": zero + 0.5, "valid": zero + 1.0},
            trajectory_columns={"greedy_score": np.zeros(n)},
        )


def _binary(k: int, n: int = 8) -> tuple[float, ...]:
    return (1.0,) * k + (0.0,) * (n - k)


CASES = {
    "1 of 8": Case(_binary(1), ordinary=True),
    "4 of 8": Case(_binary(4), ordinary=True),
    "7 of 8": Case(_binary(7), ordinary=True),
    "1 of 2": Case(_binary(1, 2), ordinary=True),
    "1 of 2, reward 0.001": Case((0.001, 0.0)),
    "alone": Case((1.0,)),
    "4 of 4": Case(_binary(4, 4)),
    "4 of 8, 5 and 50 steps": Case(_binary(4), lengths=(5,) * 4 + (50,) * 4),
    "1 of 3 and a rejected": Case((1.0, 0.0, 0.0, 0.0), weights=(1.0, 1.0, 1.0, 0.0)),
}
"""Canonical groups; the advantage of the first member, a success, is compared."""


def first_advantage(bound: Bound, case: Case) -> float:
    """Advantage of the first row; NaN where the estimator refuses the group or gives preference pairs."""
    assert isinstance(bound.part, EstimatorPart)  # noqa: S101 # estimators bind to nothing else
    try:
        columns = credit(case.rollouts(), bound)
    except CreditsimError:
        return float("nan")
    return float("nan") if isinstance(columns, Pairs) else float(columns["advantage"][0])


@claim("grpo.conventions", paper="GRPO", source="code", kind="identity", figure="conformance_matrix")
def conventions(trial: Trial) -> Evidence:
    """GRPO means one thing: all presets give a success of the same group the same advantage, to 0.1 %.

    The regime is mixed groups of rewards 0 and 1 with episodes of equal length; outside it are a group of one, rewards
    of 0.001, unequal lengths and rejected members. (All presets centre by the mean and divide by the deviation.)
    """
    return _check_presets(trial, lambda bound: bound)


@conventions.broken("one library divides by the population deviation (ddof = 0)")
def _(trial: Trial) -> Evidence:
    return _check_presets(trial, lambda b: b.part.bind(b.preset, ddof=0) if b.preset == "trl" else b)


def _check_presets(trial: Trial, change: Callable[[Bound], Bound]) -> Evidence:
    part = ESTIMATORS["grpo"]
    ours = {preset: change(part.bind(preset)) for preset in part.presets}
    value = {(p, c): first_advantage(bound, case) for p, bound in ours.items() for c, case in CASES.items()}
    _table(trial)
    spread = {name: max(value[p, name] for p in ours) - min(value[p, name] for p in ours) for name in CASES}
    detail = {name: {p: value[p, name] for p in ours} for name in CASES}
    found = {
        regime: exact_equality(
            np.array([spread[c] for c, case in CASES.items() if case.ordinary == regime]),
            0.0,
            tolerance=1e-3,
            detail=detail,
        )
        for regime in (True, False)
    }
    return conditional(
        found[True], found[False], note="Ordinary mixed groups inside; the other canonical groups outside."
    )


def _table(trial: Trial) -> None:
    """Every preset of every estimator that has presets to compare, on every canonical group it accepts any of."""
    for part in ESTIMATORS:
        for preset in part.presets if len(part.presets) > 1 else ():
            bound = part.bind(preset)
            values = np.array([first_advantage(bound, case) for case in CASES.values()])
            if np.isfinite(values).any():
                trial.table(estimator=part.name, preset=preset, case=np.array(list(CASES)), advantage=values)
