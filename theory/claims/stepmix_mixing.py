"""What mixing costs, and why its weight can be solved for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from creditsim.exact.dp import optimal, solve
from creditsim.mdp import TabularMDP, make, with_time
from creditsim.planning_tables import half_optimal, steps_left
from creditsim.stats.intervals import Interval
from creditsim.stats.joint import all_of
from creditsim.stats.rates import fit_rate
from creditsim.stats.verdict import Evidence, equality, exact_equality
from theory.claim import Trial, claim
from theory.exploring import growth, places, runs

SLACKS = (0.05, 0.1, 0.2, 0.4)
"""Shares of the baseline's value that may be given up."""


@claim("stepmix.price-of-slack", paper="StepMix", source="inferred", kind="convergence", figure="stepmix_regret")
def price_of_slack(trial: Trial) -> Evidence:
    """Safety costs less with more slack kappa = V^b - bar, at most like kappa^-2: cautious ~ kappa^p, -2 <= p <= 0.

    Cautious episodes are those not played by the optimistic policy alone. Inferred: an interval of width kappa takes
    kappa^-2 visits, and a neighbouring result for linear constrained MDPs has such a bound. The exponent is fitted over
    kappa = 5, 10, 20, 40 % of V^b.
    """
    return _check_price(trial, lambda slack: 1.0 - slack)


@price_of_slack.broken("what may be given up is taken for what must be kept")
def _(trial: Trial) -> Evidence:
    return _check_price(trial, lambda slack: slack)


def _check_price(trial: Trial, kept: Callable[[float], float]) -> Evidence:
    parts = {}
    for place in places(trial)[: trial.pick(2, 4, 9)]:
        few = trial.pick(16, 24, 48)
        found = [runs(trial, place, "stepmix", kept=kept(slack), replicates=few) for slack in SLACKS]
        free = runs(trial, place, "ucbvi", replicates=few)
        cautious = np.array([run.cautious for run in found], float)
        mean = cautious.mean(axis=1)
        # Runs are cautious for whole plans, each a share `growth` of the episodes so far: rounding is an error too.
        error = np.hypot(
            cautious.std(axis=1, ddof=1) / np.sqrt(cautious.shape[1]), growth(trial) * mean / np.sqrt(12.0)
        )
        slack = np.array(SLACKS) * found[0].bar / kept(SLACKS[0])
        trial.table(
            environment=place, slack=slack, share=np.array(SLACKS), cautious=mean, error=error,
            excess=[float((run.regret[-1] - free.regret[-1]).mean()) for run in found],
        )  # fmt: skip
        parts[place] = _exponent(trial, slack, mean, error)
    return all_of(parts, alpha=trial.alpha)


def _exponent(trial: Trial, slack: np.ndarray, mean: np.ndarray, error: np.ndarray) -> Evidence:
    """-2 <= p <= 0: within 1 of -1."""
    interval: Callable[[float], Interval] = lambda a: fit_rate(slack, mean, standard_error=error, alpha=a).exponent  # noqa: E731
    detail: dict[str, Any] = {"cautious": mean.tolist(), "slack": slack.tolist()}
    return equality(interval, -1.0, margin=1.0, alpha=trial.alpha, detail=detail)


@claim("stepmix.linear-in-weight", paper="StepMix", source="inferred", kind="identity", figure="stepmix_mixture")
def linear_in_weight(trial: Trial) -> Evidence:
    """The value of a step mixture is linear in its weight: V(w) = w V(next) + (1 - w) V(here), exactly.

    Two candidates differ in one step only, so that w multiplies one difference of Q. This is what lets a bound on the
    mixture be solved for w. In random tables, between all neighbours, for eleven weights.
    """
    return _check_linear(trial, one_step)


@linear_in_weight.broken("flip the coin anew in every step of the episode")
def _(trial: Trial) -> Evidence:
    return _check_linear(trial, every_step)


def one_step(left: np.ndarray, handed: int, weight: float) -> np.ndarray:
    """(S,) probability of the optimistic action: 1 in the last `handed` steps, `weight` in the one before."""
    return np.where(left <= handed, 1.0, np.where(left == handed + 1, weight, 0.0))


def every_step(left: np.ndarray, handed: int, weight: float) -> np.ndarray:
    """(S,) `weight` in every step, between all baseline and all optimistic."""
    return np.full(left.shape, weight)


def _check_linear(trial: Trial, mixing: Callable[[np.ndarray, int, float], np.ndarray]) -> Evidence:
    weights = np.linspace(0.0, 1.0, 11)
    found, expected = [], []
    for seed in range(trial.pick(3, 20, 100)):
        mdp = with_time(make("layered@tiny", layers=4, paying=0.4, seed=seed))
        left, baseline, best = steps_left(mdp), half_optimal(mdp), _best(mdp)
        for handed in range(mdp.horizon):
            values = np.array([_value(mdp, best, baseline, mixing(left, handed, w)) for w in weights])
            line = weights * values[-1] + (1.0 - weights) * values[0]
            found.append(values)
            expected.append(line)
            trial.table(seed=seed, handed=handed, weight=weights, value=values, line=line)
    detail = {"mixtures": len(found) * weights.size}
    return exact_equality(np.concatenate(found), np.concatenate(expected), tolerance=1e-12, detail=detail)


def _best(mdp: TabularMDP) -> np.ndarray:
    step = np.where(steps_left(mdp) > 0, mdp.horizon - steps_left(mdp), 0).astype(np.int64)
    return optimal(mdp).pi[step, np.arange(mdp.n_states)]


def _value(mdp: TabularMDP, bold: np.ndarray, safe: np.ndarray, chance: np.ndarray) -> float:
    return solve(mdp, chance[:, None] * bold + (1.0 - chance[:, None]) * safe).j
