"""GiGPO's episode statistics over rows (the code's default) or over trajectories (the paper's equation 3)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from creditsim.estimators.base import credit
from creditsim.exact.moments import exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.gigpo import PAPER, TOLERANCE, episode_level
from theory.shared import binomial

SUCCESS, FAILURE = 5, 50
"""Lengths: a success takes 5 steps and returns 1, a failure takes 50 and returns 0; one step decides."""
CHANCES = (0.1, 0.5, 0.9)
DECIDING = SUCCESS - 1


@cache
def _environment() -> TabularMDP:
    return make("stopping", turns=FAILURE, choices=(DECIDING,), stop=1.0, go=0.0, last=0.0)


def _policy(p: float) -> SoftmaxPolicy:
    table = np.full((_environment().n_contexts, 2), 0.5)
    table[DECIDING] = [p, 1.0 - p]
    return SoftmaxPolicy.from_probabilities(_environment(), table)


def group_baseline(k: np.ndarray, n: int, weighting: str) -> np.ndarray:
    """Mean score of a group with k successes among n, over rows ("step") or trajectories."""
    success, failure = (SUCCESS, FAILURE) if weighting == "step" else (1, 1)
    return success * k / (success * k + failure * (n - k))


def expected_baseline(p: float, n: int, weighting: str) -> float:
    """E[group mean], a sum over the number of successes."""
    k, chance = np.arange(n + 1), binomial(n, p)
    return float(chance @ group_baseline(k, n, weighting))


def expected_gradient(p: float, n: int, weighting: str, normalize: str = "mean") -> float:
    """E[(1/N) sum_i A_i dlog pi_i / dlogit] at the deciding step; dJ/dlogit = p (1-p)."""
    k, chance = np.arange(n + 1), binomial(n, p)
    mean = group_baseline(k, n, weighting)
    push = k * (1.0 - mean) * (1.0 - p) + (n - k) * mean * p
    if normalize == "mean_std":
        push = push / (np.sqrt(k * (n - k) / (n * (n - 1.0))) + 1e-6)
    return float(chance @ push) / n


# --- The offset of the baseline ----------------------------------------------------------------------------------


@claim("gigpo.row-weighting-offset", paper=PAPER, source="inferred", kind="bias", figure="row_weighting")
def row_weighting_offset(trial: Trial) -> Evidence:
    """Statistics over rows, the code's default, count a trajectory once per step: the baseline is sum_i T_i R_i / sum_i
    T_i, which tends to E[T R]/E[T] = V + Cov(T,R)/E[T], not V. Four successes of 5 steps and four failures of 50 get
    +0.909 / -0.091 instead of +-0.5. Checked: |A_i - (R_i - sum_j T_j R_j / sum_j T_j)| = 0 and |lim E[baseline] - V -
    Cov(T,R)/E[T]| = 0.
    """
    return _offset(trial, "step")


@row_weighting_offset.broken("one entry per trajectory, as in equation 3 of the paper")
def _(trial: Trial) -> Evidence:
    return _offset(trial, "trajectory")


def _offset(trial: Trial, weighting: str) -> Evidence:
    got, aim = [], []
    for lengths in ((5, 50), (10, 30), (20, 20)):
        advantage = _sample(lengths, weighting)
        mean = lengths[0] / sum(lengths)
        got += list(advantage)
        aim += [1.0 - mean, -mean]
        trial.table(kind="sample", p=0.5, n=8, lengths="{} vs {}".format(*lengths), value=advantage, predicted=aim[-2:])
    n = trial.pick(512, 1024, 2048)
    chances = np.linspace(0.05, 0.95, trial.pick(19, 37, 91))
    mean_length = chances * SUCCESS + (1.0 - chances) * FAILURE
    covariance = SUCCESS * chances - chances * mean_length  # E[T R] - E[T] E[R], R = 1 where T = 5
    limit = chances + covariance / mean_length
    # E[baseline] = limit + c/N + O(1/N^2): one Richardson step leaves the last term, some 1e-6 here.
    first, second = (np.array([expected_baseline(p, m, weighting) for p in chances]) for m in (n, 2 * n))
    settled = 2.0 * second - first
    lengths = f"{SUCCESS} vs {FAILURE}"
    trial.table(kind="limit", p=chances, n=2 * n, lengths=lengths, value=settled - chances, predicted=limit - chances)
    small = np.array([expected_baseline(p, 8, weighting) for p in chances])
    trial.table(kind="baseline", p=chances, n=8, lengths=lengths, value=small - chances, predicted=limit - chances)
    summed = [expected_baseline(p, 8, weighting) for p in CHANCES]
    estimated = [p - _mean_advantage(p, 8, weighting) for p in CHANCES]
    middle = int(np.abs(chances - 0.5).argmin())
    detail = {
        "advantages_5_vs_50": got[:2],
        "advantages_10_vs_30": got[2:4],
        "advantages_20_vs_20": got[4:],
        "limit_baseline_at_half": float(settled[middle]),
        "predicted_at_half": float(limit[middle]),
        "offset_at_half": float(settled[middle] - 0.5),
    }
    found = all_of(
        {
            "sample": exact_equality(got, aim, tolerance=TOLERANCE),
            "limit": exact_equality(settled, limit, tolerance=1e-4),
            "sums are the estimator": exact_equality(estimated, summed, tolerance=TOLERANCE),
        }
    )
    return replace(found, detail={**found.detail, **detail})


def _sample(lengths: tuple[int, int], weighting: str) -> np.ndarray:
    """Advantage of a success and of a failure in a group of four and four."""
    rewards = [np.eye(1, t, t - 1)[0] * r for t, r in zip(lengths, (1.0, 0.0), strict=True)] * 4
    rollouts = Rollouts.flat(
        offsets=np.cumsum([0, *(r.size for r in rewards)]),
        group=np.zeros(8, np.int64),
        observation=np.zeros(4 * sum(lengths), np.int64),
        action=np.zeros(4 * sum(lengths), np.int64),
        reward=np.concatenate(rewards),
    )
    columns = credit(rollouts, "gigpo@verl-agent", weighting=weighting)
    assert isinstance(columns, dict)  # noqa: S101 # GiGPO makes columns
    return columns["episode_advantage"][[0, lengths[0]]]


def _mean_advantage(p: float, n: int, weighting: str) -> float:
    """E[(1/N) sum_i A_i] from the estimator, by enumeration: each trajectory decides once."""
    credit_ = episode_level(weighting=weighting)
    found = exact_moments(credit_, _environment(), _policy(p), group_size=n, covariance=False)
    at = [found.index(DECIDING, a) for a in (0, 1)]
    return float(np.average(found.mean[at], weights=found.rows[at]))


# --- Which of the two is the leave-one-out baseline --------------------------------------------------------------


@claim("gigpo.code-weighting-leave-one-out", paper=PAPER, source="notes", kind="gradient", figure="row_weighting")
def code_weighting_leave_one_out(trial: Trial) -> Evidence:
    """The leave-one-out property of equation 3, E[g] = (N-1)/N dJ/dtheta, also holds with the code's default statistics
    over rows: |E[g_N] - (N-1)/N p (1-p)| = 0 where successes take 5 steps and failures 50. The paper's statement
    (through notes) is about trajectories; the default of the code came later.
    """
    return _is_leave_one_out(trial, "step", "mean")


@code_weighting_leave_one_out.broken("statistics over trajectories, divided by the group's standard deviation")
def _(trial: Trial) -> Evidence:
    return _is_leave_one_out(trial, "trajectory", "mean_std")


@code_weighting_leave_one_out.control("statistics over trajectories, as in equation 3")
def _(trial: Trial) -> Evidence:
    return _is_leave_one_out(trial, "trajectory", "mean")


def _is_leave_one_out(trial: Trial, weighting: str, normalize: str) -> Evidence:
    sizes = trial.pick((2, 4, 8, 16), (2, 4, 8, 16, 32), (2, 4, 8, 16, 32, 64))
    got, aim, sums = (np.zeros((len(CHANCES), len(sizes))) for _ in range(3))
    for i, p in enumerate(CHANCES):
        for j, n in enumerate(sizes):
            method = episode_level(weighting=weighting, normalize=normalize)
            law = exact_moments(method, _environment(), _policy(p), group_size=n, covariance=False).gradient
            got[i, j] = law.mean[2 * DECIDING]
            aim[i, j] = (n - 1) / n * law.exact[2 * DECIDING]
            sums[i, j] = expected_gradient(p, n, weighting, normalize)
        trial.table(p=p, n=sizes, enumerated=got[i], loo=aim[i], summed=sums[i], exact=p * (1.0 - p))
    eight = sizes.index(8)
    detail = {
        "gradients_of_8": dict(zip(map(str, CHANCES), got[:, eight].tolist(), strict=True)),
        "leave_one_out_of_8": dict(zip(map(str, CHANCES), aim[:, eight].tolist(), strict=True)),
        "enumeration_minus_sum": float(np.abs(got - sums).max()),
    }
    return exact_equality(
        got, aim, tolerance=TOLERANCE, detail=detail, note="statistics over trajectories are the leave-one-out ones"
    )


@claim("gigpo.row-weighting-vanishes", paper=PAPER, source="inferred", kind="gradient", figure="row_weighting")
def row_weighting_vanishes(trial: Trial) -> Evidence:
    """The gradient bias of statistics over rows comes from a trajectory's own weight T_i / sum_j T_j in its baseline
    and vanishes like 1/N, although the offset of the advantage stays: |E[g_N] - dJ/dtheta| <= 1/N for rewards in [0, 1]
    and every N (successes take 5 steps, failures 50).
    """
    return _vanishes(trial, "step", "mean")


@row_weighting_vanishes.broken("divide by the group's standard deviation: the limit is another gradient")
def _(trial: Trial) -> Evidence:
    return _vanishes(trial, "trajectory", "mean_std")


def _vanishes(trial: Trial, weighting: str, normalize: str) -> Evidence:
    sizes = 2 ** np.arange(1, trial.pick(11, 13, 15))
    chances = np.array(CHANCES)
    got = np.array([[expected_gradient(p, int(n), weighting, normalize) for n in sizes] for p in chances])
    exact = (chances * (1.0 - chances))[:, None]
    for p, row, aim in zip(chances, got, exact[:, 0], strict=True):
        loo = (sizes - 1) / sizes * aim
        trial.table(p=p, n=sizes, gradient=row, exact=aim, trajectory=loo)
    detail = {
        "n_times_bias": dict(zip(map(str, CHANCES), (sizes[-1] * (got[:, -1] - exact[:, 0])).tolist(), strict=True)),
        "largest_n": int(sizes[-1]),
        "at_half_256": float(got[1, sizes.tolist().index(256)]),
    }
    return exact_inequality(
        np.abs(got - exact) * sizes, "<=", 1.0, detail=detail, note="N times the bias stays bounded"
    )
