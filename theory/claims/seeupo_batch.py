"""SeeUPO's normalisation by the batch: the order of actions it keeps, and the clamp that loses it."""

from __future__ import annotations

import numpy as np

from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_inequality
from theory.claim import Trial, claim
from theory.claims.seeupo import PAPER, RARE, ROUNDING
from theory.expected_updates import counts_of

CHANCES = (0.2, 0.1, 0.05, 0.02, 0.01)
"""Chance of action 2's reward, whose mean stays 1.5."""


def batch_difference(chance: float, clamp: float | None) -> float:
    """E[A | a_1] - E[A | a_2] where mean and deviation are those of a large batch; action 1 pays 1, action 2 rarely."""
    values = np.array([0.0, 1.0, 1.5 / chance])
    law = np.array([[0.0, 1.0, 0.0], [1.0 - chance, 0.0, chance]])
    pooled = law.mean(axis=0)
    mean = pooled @ values
    scaled = (values - mean) / np.sqrt(pooled @ np.square(values - mean))
    scaled = scaled if clamp is None else np.clip(scaled, -clamp, clamp)
    first, second = law @ scaled
    return float(first - second)


def small_batch(groups: int, group: int = 8) -> float:
    """E[A | a_1] - E[A | a_2] with the deviation (divisor n - 1) of a batch of `groups` groups: 1 against 15 at 0.1.

    Squares of a group's deviations, times its size, are whole numbers, so those of the other groups add up on a grid.
    """
    values, pooled = np.array([0.0, 1.0, 15.0]), RARE.mean(axis=0)
    own, ways = counts_of(group, 3)
    spread = np.rint(group * (own @ values**2) - (own @ values) ** 2).astype(np.int64)
    weight = np.exp(ways) * (pooled**own).prod(axis=1)
    size = groups * int(spread.max()) + 1
    one = np.bincount(spread, weight, size)
    others = np.fft.irfft(np.fft.rfft(one, 2 * size) ** (groups - 1), 2 * size)[:size]
    others = others if groups > 1 else (np.arange(size) == 0).astype(np.float64)
    centred = values - (own @ values / group)[:, None]
    by_level = np.zeros(3)
    at = np.arange(size)
    for k in range(len(own)):
        total = at + spread[k]
        inverse = np.where(total > 0, 1.0 / np.sqrt(np.maximum(total, 1) / group / (groups * group - 1)), 0.0)
        # The chance that a trajectory of level l is in a group with these counts: weight times share / chance of l.
        by_level += weight[k] * own[k] / group / pooled * centred[k] * float(others @ inverse)
    first, second = RARE @ by_level
    return float(first - second)


@claim("seeupo.batch-normalisation", paper=PAPER, source="paper", kind="bias", figure="batch_clamp")
def batch_normalisation(trial: Trial) -> Evidence:
    """Normalising by the batch leaves the best action what it is: mean and deviation of a large batch are constants, so
    E[A | a_1] - E[A | a_2] < 0 wherever Q(a_1) < Q(a_2). Inside, as the paper has it; outside, with the clamp to
    [-3, 3] of the code: action 1 pays 1, action 2 pays 1.5 / q with chance q.
    """
    return _check_batch(trial, None)


@batch_normalisation.broken("clamp at one deviation")
def _(trial: Trial) -> Evidence:
    return _check_batch(trial, 1.0)


def _check_batch(trial: Trial, clamp: float | None) -> Evidence:
    parts = {}
    for name, width in (("no clamp", clamp), ("clamp 3", 3.0)):
        parts[name] = np.array([batch_difference(q, width) for q in CHANCES])
        trial.table(what=name, x=np.array(CHANCES), difference=parts[name])
    groups = np.array((1, 2, 4, 8))
    small = np.array([small_batch(int(g)) for g in groups])
    trial.table(what="small batch", x=groups.astype(np.float64), difference=small)
    detail = {
        "no clamp": dict(zip(map(str, CHANCES), parts["no clamp"].tolist(), strict=True)),
        "clamp 3": dict(zip(map(str, CHANCES), parts["clamp 3"].tolist(), strict=True)),
        "groups": dict(zip(map(str, groups), small.tolist(), strict=True)),
    }
    return conditional(
        exact_inequality(parts["no clamp"], "<=", -ROUNDING, detail=detail),
        exact_inequality(parts["clamp 3"], "<=", -ROUNDING, detail=detail),
        note="the clamp flips the order of rare large rewards; a batch of one group is the group",
    )
