"""HGPO's released code drops levels that are exactly zero: what that does to the expected gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.hgpo import PAPER, WEIGHT_EPS
from theory.claims.hgpo_gradient import DROP, EXAMPLE, KEEP, factors, gradient_of, own_share
from theory.context_groups import Task, gap_task, level_weights
from theory.shared import binomial, credit_column

WIDE = DROP | {"zero_tolerance": 0.5}


@claim("hgpo.zero-drop-direction", paper=PAPER, source="inferred", kind="gradient", figure="hgpo_zero_drop")
def zero_drop_direction(trial: Trial) -> Evidence:
    """The released code leaves out a level whose advantage is exactly 0 and scales the rest up; if that were harmless,
    the expected gradient would keep one factor for all equally likely contexts, max f_c / min f_c = 1. But a row is on
    its group's mean because of its own return, so the weights depend on the action: in the example 0.682 and 1.136 (N
    = 8, K = 1, alpha = 1, mean_norm) instead of 0.805 twice, and where the values are far enough apart one factor is
    negative.
    """
    return _direction(trial, DROP)


@zero_drop_direction.broken("drop every level within 0.5 of zero")
def _(trial: Trial) -> Evidence:
    return _direction(trial, WIDE)


@zero_drop_direction.control("keep levels that are zero")
def _(trial: Trial) -> Evidence:
    return _direction(trial, KEEP)


GAPS = (0.0, 1.0, EXAMPLE, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0)
NOISES = (0.0, 0.02, 0.1, 0.2, 0.25, 0.3, 0.4, 0.48, 0.5, 0.52, 0.6, 0.75, 0.9, 0.98, 1.0, 1.02, 1.2)


@dataclass(frozen=True)
class _Context:
    """Chance of action 1 and the returns of the two actions."""

    right: float
    returns: tuple[float, float]


def dropped_factors(gap: float, n: int) -> np.ndarray:
    """(2,) the factors f_c of the code on `gap_task`, from sums over the others in the group: m in the row's context,
    j of them with action 1, i of the rest with action 1.

    Level 1 is off where all m act like the row, level 0 where the row is on the group's mean; a row alone has level 0
    only. f_c = sum_a pi(a) (1{a=1} - pi(1)) E[A | c, a] / (pi(1) (1 - pi(1)) (Q(c,1) - Q(c,0))).
    """
    g = gap - 0.1
    contexts = (_Context(0.7, (0.0, 1.0)), _Context(0.2, (g + 1.0, g)))
    w0, w1 = level_weights(1, 1.0, "code")
    out = []
    for here, other in (contexts, contexts[::-1]):
        total = 0.0
        for action, chance in ((1, here.right), (0, 1.0 - here.right)):
            own, mean = here.returns[action], 0.0
            for m, p in enumerate(binomial(n - 1, 0.5)):
                j, i = np.arange(m + 1)[:, None], np.arange(n - m)[None, :]
                law = p * binomial(m, here.right)[:, None] * binomial(n - 1 - m, other.right)[None, :]
                inside = (m - j) * here.returns[0] + j * here.returns[1]
                outside = (n - 1 - m - i) * other.returns[0] + i * other.returns[1]
                a0 = own - (own + inside + outside) / n
                a1 = own - (own + inside) / (m + 1) + 0.0 * i
                v0, v1 = w0 * (np.abs(a0) > 1e-10), w1 * (np.abs(a1) > 1e-10)
                mean += float((law * (v0 * a0 + v1 * a1) / np.maximum(v0 + v1, w0)).sum())
            total += chance * (action - here.right) * mean
        out.append(total / (here.right * (1.0 - here.right) * (here.returns[1] - here.returns[0])))
    return np.array(out)


def _direction(trial: Trial, params: Mapping[str, Any]) -> Evidence:
    n = 8
    credit = credit_column("hgpo", **params)
    by_gap = {gap: factors(gap_task(gap), gradient_of(gap_task(gap), credit, n)) for gap in GAPS}
    for gap, f in by_gap.items():
        trial.table(
            gap=gap, n=n, context=np.arange(2), factor=f, predicted=dropped_factors(gap, n), kept=kept_factor(n)
        )
    f = by_gap[EXAMPLE]
    wrong = [gap for gap, each in by_gap.items() if each.min() < 0]
    detail = {"factors": f.tolist(), "sums": dropped_factors(EXAMPLE, n).tolist(), "wrong_sign_at_gaps": wrong}
    return exact_equality(f.max() / f.min(), 1.0, tolerance=4.0 * WEIGHT_EPS, detail={**detail, "n": n})


def kept_factor(n: int) -> float:
    """The one factor of both contexts when zeros are kept."""
    return own_share(n, 0.5, level_weights(1, 1.0, "code"))


def noisy_task(gap: float, values: int) -> Task:
    """`gap_task` whose returns carry one of `values` equally likely offsets, no two sums of which coincide."""
    task = gap_task(gap)
    mdp = task.mdp
    successor, probability, reward = (
        np.repeat(x, values, axis=2) for x in (mdp.successor, mdp.probability, mdp.reward)
    )
    # Square roots of primes: no small whole-number combination of them vanishes.
    offsets = 0.1 * np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0][:values])
    reward[task.choice] += np.tile(offsets - offsets.mean(), mdp.n_successors)
    noisy = TabularMDP.build(
        successor=successor,
        probability=probability / values,
        reward=reward,
        observation=mdp.observation,
        start=mdp.start,
        terminal=mdp.terminal,
        mask=mdp.mask,
        context=mdp.context,
        horizon=mdp.horizon,
        gamma=mdp.gamma,
    )
    return Task(noisy, SoftmaxPolicy(task.policy.theta, mdp.n_actions))


@claim("hgpo.zero-drop-continuous", paper=PAPER, source="inferred", kind="gradient", figure="hgpo_zero_drop")
def zero_drop_continuous(trial: Trial) -> Evidence:
    """A change of the rewards by at most 1e-6 changes the expected gradient of the released code by no more than 1e-4
    of its length, |E[g'] - E[g]| <= 1e-4 |dJ/dtheta|. It does not hold: any tie that breaks brings a dropped level
    back, so the expected gradient jumps wherever returns coincide.
    """
    credit = credit_column("hgpo", **DROP)
    for noise in NOISES:
        noisy = gap_task(EXAMPLE, noise=noise)
        _row(trial, "noise", noise, 8, factors(noisy, gradient_of(noisy, credit, 8)))
    for values in trial.pick((1, 2, 3, 4), (1, 2, 3, 4, 6), (1, 2, 3, 4, 6, 8)):
        noisy = noisy_task(EXAMPLE, values)
        _row(trial, "values", values, 4, factors(noisy, gradient_of(noisy, credit, 4)))
    return _continuous(trial, DROP)


@zero_drop_continuous.broken("drop every level within 0.5 of zero")
def _(trial: Trial) -> Evidence:
    return _continuous(trial, WIDE)


@zero_drop_continuous.control("keep levels that are zero")
def _(trial: Trial) -> Evidence:
    return _continuous(trial, KEEP)


def _continuous(trial: Trial, params: Mapping[str, Any]) -> Evidence:
    task, credit = gap_task(EXAMPLE), credit_column("hgpo", **params)
    jumps = {}
    for n in trial.pick((4, 8), (4, 8, 16), (4, 8, 16)):
        sizes = 1e-7 * np.sqrt(np.arange(1.0, n + 1))

        def disturbed(rollouts: Rollouts, sizes: np.ndarray = sizes) -> np.ndarray:
            last = np.zeros(rollouts.n_rows)
            last[rollouts.offsets[1:] - 1] = sizes[np.arange(rollouts.n_trajectories) % sizes.size]
            return credit(rollouts.with_columns(reward=rollouts.reward + last))

        before, after = gradient_of(task, credit, n), gradient_of(task, disturbed, n)
        jumps[n] = float(np.linalg.norm(after.mean - before.mean) / np.linalg.norm(before.exact))
        _row(trial, "disturbed", 0.0, n, factors(task, after))
    return exact_inequality(list(jumps.values()), "<=", 1e-4, detail={f"N={n}": jump for n, jump in jumps.items()})


def _row(trial: Trial, sweep: str, x: float, n: int, factor: np.ndarray) -> None:
    trial.table(sweep=sweep, x=float(x), n=n, context=np.arange(2), factor=factor, kept=kept_factor(n))
