"""GiGPO's episode level: what its group mean and its group deviation do to the gradient."""

from __future__ import annotations

import numpy as np

from creditsim.exact.moments import Credit, Keys, exact_moments
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.shared import binomial, credit_column

PAPER = "GiGPO"
TOLERANCE = 1e-12
"""Rounding of sums over at most some ten thousand compositions of numbers of order one."""


def episode_level(**params: object) -> Credit:
    """The episode advantage alone: A^E, by default S - mean over the N trajectories, groups of one 0."""
    return credit_column("gigpo", "episode_advantage", **{"normalize": "mean", "episode_singleton": "zero", **params})


# --- The group mean as a leave-one-out baseline ------------------------------------------------------------------


@claim("gigpo.episode-leave-one-out", paper=PAPER, source="notes", kind="gradient")
def episode_leave_one_out(trial: Trial) -> Evidence:
    """With F_norm = 1 and statistics over the N trajectories of a group, the episode advantage is (N-1)/N of a
    leave-one-out advantage: E[A^E | trajectory i] = (N-1)/N (R_i - V(s_0)), and the expected gradient is (N-1)/N
    dJ/dtheta, |E[g] - (N-1)/N dJ/dtheta| = 0. The paper states it up to a constant factor (read in notes); the factor
    is inferred.
    """
    return _leave_one_out(trial, episode_level())


@episode_leave_one_out.broken("divide by the group's standard deviation")
def _(trial: Trial) -> Evidence:
    return _leave_one_out(trial, episode_level(normalize="mean_std"))


def _leave_one_out(trial: Trial, credit: Credit) -> Evidence:
    environments = {
        "stop or go on": make("stopping", turns=3, stop=(0.6, 0.2), go=0.3, last=0.5),
        "layered": make("layered@tiny", seed=1),
    }
    parts: dict[str, Evidence] = {}
    for name, mdp in environments.items():
        policy = SoftmaxPolicy.random(mdp, trial.seed)
        keys, returns, value = _by_return(mdp, policy)
        for n in trial.pick((2, 3), (2, 3, 4), (2, 3, 4)):
            found = exact_moments(credit, mdp, policy, group_size=n, by=keys)
            predicted = (n - 1) / n * (returns[found.keys[:, 0]] - value)
            gradient = (n - 1) / n * found.gradient.exact
            parts[f"{name}, N={n}: advantage"] = exact_equality(found.mean, predicted, tolerance=TOLERANCE)
            parts[f"{name}, N={n}: gradient"] = exact_equality(found.gradient.mean, gradient, tolerance=TOLERANCE)
            for quantity, got, aim in (
                ("advantage", found.mean, predicted),
                ("gradient", found.gradient.mean, gradient),
            ):
                trial.table(environment=name, n=n, quantity=quantity, measured=got, predicted=aim)
    return all_of(parts)


def _by_return(mdp: TabularMDP, policy: SoftmaxPolicy) -> tuple[Keys, np.ndarray, float]:
    """Keys of rows by the return of their trajectory, the returns that the keys stand for, and V(s_0)."""
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))

    def rounded(rollouts: Rollouts) -> np.ndarray:
        total = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)
        return np.round(total, 9)  # equal returns may be summed to different last bits

    returns = np.unique(rounded(law.rollouts))

    def keys(rollouts: Rollouts) -> tuple[np.ndarray, int]:
        return np.searchsorted(returns, rounded(rollouts))[rollouts.trajectory], returns.size

    total = np.bincount(law.rollouts.trajectory, law.rollouts.reward, law.size)
    exact = np.zeros(returns.size)
    exact[np.searchsorted(returns, np.round(total, 9))] = total
    return keys, exact, float(law.joint @ total)


# --- Division by the group's deviation ---------------------------------------------------------------------------

CLOSE = 0.05
"""Relative distance at which a finite-N factor counts as the curve's."""
ENOUGH = 32
"""N min(p, 1-p) from which the curve is said to hold: the rarer outcome is then met some thirty times per group."""


@claim("gigpo.std-reweighting", paper=PAPER, source="notes", kind="bias")
def std_reweighting(trial: Trial) -> Evidence:
    """Dividing by the group's standard deviation scales a task of success probability p by 1/sqrt(p(1-p)), so very easy
    and very hard tasks are over-weighted: |factor / curve - 1| <= 5 %. That is the limit of large groups, known from
    the discussion of GRPO; at finite N the factor never exceeds (N-1)/sqrt(N) (inferred), so the statement is checked
    where N min(p, 1-p) >= 32 and, outside, at the usual N = 8.
    """
    return _reweighting(trial, "mean_std")


@std_reweighting.broken("leave the division out")
def _(trial: Trial) -> Evidence:
    return _reweighting(trial, "mean")


def std_factor(p: float, n: int, normalize: str = "mean_std", eps: float = 1e-6) -> float:
    """E[gradient of the success logit] / (p (1-p)) for Bernoulli returns: a sum over the number k of successes.

    The gradient of a group is k (N-k) / N^2 / (std_k + eps), std_k^2 = k (N-k) / (N (N-1)), without the division 1.
    """
    k, chance = np.arange(n + 1), binomial(n, p)
    mixed = k * (n - k)
    below = np.sqrt(mixed / (n * (n - 1.0))) + eps if normalize == "mean_std" else 1.0
    return float(chance @ (mixed / n**2 / below)) / (p * (1.0 - p))


def _reweighting(trial: Trial, normalize: str) -> Evidence:
    chances = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    curve = 1.0 / np.sqrt(chances * (1.0 - chances))
    sizes = trial.pick((4, 8, 16, 64), (4, 8, 16, 64, 256), (4, 8, 16, 64, 256, 1024))
    factors = {n: np.array([std_factor(p, n, normalize) for p in chances]) for n in sizes}
    for n, factor in factors.items():
        trial.table(n=n, p=chances, factor=factor, curve=curve, limit=(n - 1) / np.sqrt(n))
    large = np.array([std_factor(p, int(np.ceil(ENOUGH / p)), normalize) for p in chances])
    detail = {
        "factors_of_8": dict(zip(map(str, chances), factors[8].tolist(), strict=True)),
        "factors_of_4": dict(zip(map(str, chances), factors[4].tolist(), strict=True)),
        "curve": dict(zip(map(str, chances), curve.tolist(), strict=True)),
        "largest_possible_of_8": 7 / 8**0.5,
        "estimator_minus_sum": max(abs(_estimated(p, 8, normalize) - std_factor(p, 8, normalize)) for p in chances),
    }
    inside = exact_equality(
        large / curve,
        1.0,
        tolerance=CLOSE,
        detail=detail,
        note=f"N min(p, 1-p) = {ENOUGH}: the rarer outcome is common",
    )
    usual = exact_equality(factors[8] / curve, 1.0, tolerance=CLOSE, detail=detail, note="N = 8, any p")
    return conditional(inside, usual, note="the curve is a limit: at N = 8 the reweighting is far milder")


def _estimated(p: float, n: int, normalize: str) -> float:
    """The same factor from the estimator itself, by enumeration."""
    mdp = make("answers", p=((1.0, 0.0),))
    policy = SoftmaxPolicy.from_probabilities(mdp, np.array([[p, 1.0 - p], [0.5, 0.5]]))
    found = exact_moments(episode_level(normalize=normalize), mdp, policy, group_size=n, covariance=False)
    return float(found.gradient.mean[0]) / (p * (1.0 - p))
