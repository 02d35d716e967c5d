"""GRPO for pass@k: the gradient of the expected best of n, and what dividing by the deviation does to it."""

from __future__ import annotations

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.laws import ScoredLaw, bandit

SERIES = {"lead": ("grpo_passk", {}), "lead / std": ("grpo_passk@verl", {}), "mean baseline": ("dr_grpo", {})}


def best_of_n_gradient(law: ScoredLaw, n: int) -> np.ndarray:
    """(P,) d/dtheta of sum_v v (F(v)^n - F(v-)^n), F the distribution of returns under the policy."""
    value = np.unique(law.total)
    below = law.total[None, :] <= value[:, None]
    cumulative, slope = below @ law.chance, (below * law.chance) @ law.whole
    power = (n * cumulative ** (n - 1))[:, None] * slope
    return value @ np.diff(power, axis=0, prepend=0.0)


def _tasks(trial: Trial) -> list[tuple[TabularMDP, Policy]]:
    four = bandit((0.1, 0.45, 0.6, 1.0))
    ties = bandit((1.0, 0.0, 1.0, 0.0))
    tree = make("tree", depth=2, branching=2, seed=2)
    seeds = range(trial.pick(2, 10, 40))
    return [(mdp, SoftmaxPolicy.random(mdp, seed)) for mdp in (four, ties, tree) for seed in seeds]


def _sizes(trial: Trial) -> tuple[int, ...]:
    return trial.pick((2, 3, 4, 6, 8), (2, 3, 4, 6, 8, 12), (2, 3, 4, 6, 8, 12, 16))


def _check_unbiased(trial: Trial, series: str) -> Evidence:
    found, exact = [], []
    for mdp, policy in _tasks(trial):
        law = ScoredLaw.of(mdp, policy)
        for n in _sizes(trial):
            # The estimator's gradient is a mean over the n members, that of the maximum a sum.
            found.append(n * _gradient(series, mdp, policy, n))
            exact.append(best_of_n_gradient(law, n))
    return exact_equality(np.concatenate(found), np.concatenate(exact), tolerance=1e-12)


def _gradient(series: str, mdp: TabularMDP, policy: Policy, n: int) -> np.ndarray:
    spec, params = SERIES[series]
    return exact_moments(lambda r: advantage(r, spec, **params), mdp, policy, group_size=n).gradient.mean


@claim("passk.unbiased", paper="pass@k GRPO", source="notes", kind="gradient", figure="passk")
def unbiased(trial: Trial) -> Evidence:
    """Crediting the best of n with its lead over the second best gives the gradient of the expected best, unbiased.

    E[sum_i A_i S_i] = d/dtheta E[max_i R_i], A_i = (R_(1) - R_(2)) 1{i is the best}, without a deviation. Recalled from
    the paper; the exact side differentiates sum_v v (F(v)^n - F(v-)^n).
    """
    mdp, policy = _tasks(trial)[0]
    law = ScoredLaw.of(mdp, policy)
    for n in _sizes(trial):
        exact = best_of_n_gradient(law, n)
        # The rows of the terminal state, which nobody acts in, are left out.
        arms = np.arange(mdp.n_actions)
        lead = n * _gradient("lead", mdp, policy, n)
        trial.table(arm=arms, n=n, exact=exact[arms], lead=lead[arms])
    return _check_unbiased(trial, "lead")


@unbiased.broken("divide the lead by the group's deviation")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, "lead / std")


def _check_direction(trial: Trial, series: str) -> Evidence:
    cosine = []
    for mdp, policy in _tasks(trial)[: trial.pick(2, 10, 40)]:
        law = ScoredLaw.of(mdp, policy)
        for n in _sizes(trial):
            cosine.append(_cosine(_gradient(series, mdp, policy, n), best_of_n_gradient(law, n)))
    return exact_inequality(cosine, ">=", 1.0, tolerance=1e-9, detail={"lowest": min(cosine)})


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@claim("passk.std-keeps-direction", paper="pass@k GRPO", source="code", kind="gradient", figure="passk")
def std_keeps_direction(trial: Trial) -> Evidence:
    """Dividing the lead by the group's deviation only rescales the gradient: cos(E[g], dE[max]/dtheta) = 1.

    The default in verl. Checked in four-armed bandits with distinct rewards, for every group size.
    """
    mdp, policy = _tasks(trial)[0]
    law = ScoredLaw.of(mdp, policy)
    for n in _sizes(trial):
        exact = best_of_n_gradient(law, n)
        for series in SERIES:
            trial.table(series=series, n=n, cosine=_cosine(_gradient(series, mdp, policy, n), exact))
    return _check_direction(trial, "lead / std")


@std_keeps_direction.broken("credit all members with their distance to the mean")
def _(trial: Trial) -> Evidence:
    return _check_direction(trial, "mean baseline")


@std_keeps_direction.control("do not divide")
def _(trial: Trial) -> Evidence:
    return _check_direction(trial, "lead")
