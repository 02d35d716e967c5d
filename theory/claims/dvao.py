"""DVAO: bounds and derivatives of its advantage beside reward combination and advantage combination."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.rng import Purpose, derive_seed, normals, uniforms
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

__all__ = ["PAPER", "judged", "random_groups"]

PAPER = "DVAO"
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rewards (G, n, K) and weights (K,) -> advantages (G, n)."""


def judged(rewards: np.ndarray, weights: np.ndarray, spec: str, ddof: int = 0) -> np.ndarray:
    """(G, n) advantages that an estimator gives groups of n trajectories with K rewards, (G, n, K), without eps."""
    groups, n, k = rewards.shape
    rollouts = Rollouts.flat(
        offsets=np.arange(groups * n + 1),
        group=np.repeat(np.arange(groups), n),
        batch=np.repeat(np.arange(groups), n),
        reward=np.zeros(groups * n),
        trajectory_columns={"rewards_K": rewards.reshape(-1, k)},
    )
    given = weights.tolist()
    return advantage(rollouts, spec, weights=given, ddof=ddof, eps=0.0).reshape(groups, n)


def random_groups(trial: Trial, name: str, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rewards (G, n, K) with a common part of random sign and share, and weights (K,) that sum to 1."""
    groups = trial.pick(100, 1000, 10_000)
    seed = derive_seed(trial.seed, name, n, k)
    z = normals(seed, 0, Purpose.DATA, groups * n * (k + 1)).reshape(groups, n, k + 1)
    share = 2.0 * uniforms(seed, 1, Purpose.DATA, groups * k).reshape(groups, 1, k) - 1.0
    size = 0.05 + uniforms(seed, 2, Purpose.DATA, groups * k).reshape(groups, 1, k)
    weights = 0.05 + uniforms(seed, 3, Purpose.DATA, k)
    return size * (share * z[..., :1] + np.sqrt(1.0 - share**2) * z[..., 1:]), weights / weights.sum()


SHAPES = ((4, 2), (16, 2), (8, 3))
"""(members, objectives) of random groups."""


def _each(rewards: np.ndarray, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rewards (G, n, K), and deviations (G, 1, K)."""
    spread = rewards.std(axis=1, ddof=ddof, keepdims=True)
    return (rewards - rewards.mean(axis=1, keepdims=True)) / spread, spread


def _shares(rewards: np.ndarray, weights: np.ndarray, ddof: int = 0) -> np.ndarray:
    """(G, 1, K) DVAO's weights w_k s_k / sum_l w_l s_l."""
    spread = weights * rewards.std(axis=1, ddof=ddof, keepdims=True)
    return spread / spread.sum(axis=2, keepdims=True)


@claim("dvao.raw-sum", paper=PAPER, source="inferred", kind="identity")
def raw_sum(trial: Trial) -> Evidence:
    """Weighing standardised rewards by their deviations undoes the standardisation: sum_k v_k A_k = (R - mean R) /
    sum_l w_l s_l, v_k = w_k s_k / sum_l w_l s_l, R = sum_k w_k r_k, with the same divisor n - ddof throughout.

    DVAO is reward combination with the deviation of the sum replaced by the weighted sum of deviations: standardised
    once more it is reward combination.
    """
    return _check_sum(trial, mixed=False)


@raw_sum.broken("take A_k with divisor n and the weights and the sum with divisor n - 1")
def _(trial: Trial) -> Evidence:
    return _check_sum(trial, mixed=True)


def _check_sum(trial: Trial, *, mixed: bool) -> Evidence:
    off = []
    for n, k in SHAPES:
        rewards, weights = random_groups(trial, "sum", n, k)
        for ddof in (0, 1):
            score = _each(rewards, 0 if mixed else ddof)[0]
            weighed = (_shares(rewards, weights, ddof) * score).sum(axis=2)
            off.append(np.abs(weighed - judged(rewards, weights, "dvao", 1 if mixed else ddof)).max())
            trial.table(members=n, objectives=k, ddof=ddof, largest_difference=off[-1])
    return exact_equality(off, 0.0, tolerance=1e-12, detail={"groups": trial.pick(100, 1000, 10_000) * 2 * len(SHAPES)})


@claim("dvao.mean-square", paper=PAPER, source="notes", kind="variance")
def mean_square(trial: Trial) -> Evidence:
    """Combining rewards first gives larger credit than combining advantages: over a group the mean of A_RC^2
    is 1 >= sum_kl w_k w_l rho_kl, the mean of A_AC^2, for weights that sum to 1.

    It needs a combined reward that deviates. Two rewards in full conflict with w_1 s_1 = w_2 s_2 have none: A_RC = 0,
    A_AC = (w_1 - w_2) A_1.
    """
    return _check_square(trial, "ac")


@mean_square.broken("let weights sum to 2")
def _(trial: Trial) -> Evidence:
    return _check_square(trial, "ac", total=2.0)


def _check_square(trial: Trial, spec: str, total: float = 1.0) -> Evidence:
    low, high, off = [], [], []
    for n, k in SHAPES:
        rewards, weights = random_groups(trial, "square", n, k)
        weights = total * weights
        square = (judged(rewards, weights, spec) ** 2).mean(axis=1)
        together = (judged(rewards, weights, "rc") ** 2).mean(axis=1)
        score = _each(rewards)[0]
        rho = np.einsum("gnk,gnl->gkl", score, score) / n
        off.append(np.abs(square - np.einsum("k,gkl,l->g", weights, rho, weights)).max())
        low.append(square)
        high.append(together)
    # Coins whose sizes make up for their weights, one the other's opposite.
    coin = np.array([0.0, 1.0, 1.0, 0.0])
    opposed = np.stack([coin, 3.0 * (1.0 - coin)], axis=1)[None]
    weights = np.array([0.75, 0.25])
    ac, rc = ((judged(opposed, weights, name) ** 2).mean() for name in ("ac", "rc"))
    trial.table(case=["random", "full conflict"], ac=[np.mean(np.concatenate(low)), ac], rc=[1.0, rc])
    detail = {"closed_form_off": float(max(off)), "conflict": {"ac": float(ac), "rc": float(rc)}}
    inside = exact_inequality(np.concatenate(low), "<=", np.concatenate(high), tolerance=1e-12, detail=detail)
    outside = exact_inequality(ac, "<=", rc, tolerance=1e-12, detail=detail)
    return conditional(inside, outside, note="not where the combined reward does not deviate")


@claim("dvao.bounded", paper=PAPER, source="notes", kind="identity")
def bounded(trial: Trial) -> Evidence:
    """DVAO never gives more credit than reward combination: |A_DVAO| <= |A_RC| for every trajectory, with one ratio
    s_R / sum_k w_k s_k <= 1 for the whole group, s_R the deviation of the combined reward; 1 only where all rewards are
    perfectly correlated.
    """
    return _check_bound(trial, "dvao")


@bounded.broken("advantage combination instead")
def _(trial: Trial) -> Evidence:
    return _check_bound(trial, "ac")


def _check_bound(trial: Trial, spec: str) -> Evidence:
    ratios, aims, ours, theirs = [], [], [], []
    for n, k in SHAPES:
        rewards, weights = random_groups(trial, "bound", n, k)
        mine, rc = judged(rewards, weights, spec), judged(rewards, weights, "rc")
        aim = (rewards @ weights).std(axis=1) / (weights * rewards.std(axis=1)).sum(axis=1)
        # The largest credit of a group leads clear of rounding.
        at = np.abs(rc).argmax(axis=1)[:, None]
        ratio = np.take_along_axis(mine, at, 1)[:, 0] / np.take_along_axis(rc, at, 1)[:, 0]
        ratios.append(ratio)
        aims.append(aim)
        ours.append(np.abs(mine).ravel())
        theirs.append(np.abs(rc).ravel())
        trial.table(members=n, objectives=k, ratio=ratio, predicted=aim)
    detail = {"ratio_off": float(np.abs(np.concatenate(ratios) - np.concatenate(aims)).max())}
    return exact_inequality(
        np.concatenate(ours), "<=", np.concatenate(theirs), tolerance=1e-12, detail=detail
    )  # fmt: skip


@claim("dvao.sensitivity", paper=PAPER, source="notes", kind="gradient")
def sensitivity(trial: Trial) -> Evidence:
    """Own reward to own credit: dA_AC/dr_k = (w_k / s_k)(1 - 1/n - A_k^2 / n) and dA_DVAO/dr_k = (v_k / s_k)(1 - 1/n -
    A_DVAO A_k / n), with population deviations; A_DVAO stands where A_k did, so one objective's slope knows of the
    others. Checked by central differences.
    """
    return _check_slope(trial, coupled=True)


@sensitivity.broken("leave the other objectives out of DVAO's slope")
def _(trial: Trial) -> Evidence:
    return _check_slope(trial, coupled=False)


def _check_slope(trial: Trial, *, coupled: bool) -> Evidence:
    step, found, aim = 1e-5, [], []
    for n, k in SHAPES:
        rewards, weights = random_groups(trial, "slope", n, k)
        score, spread = _each(rewards)
        own = judged(rewards, weights, "dvao")
        for j in range(k):
            bump = np.zeros_like(rewards)
            bump[:, 0, j] = step * spread[:, 0, j]
            for spec in ("ac", "dvao"):
                rise = judged(rewards + bump, weights, spec) - judged(rewards - bump, weights, spec)
                slope = rise[:, 0] / (2.0 * bump[:, 0, j])
                with_ = own[:, 0] if spec == "dvao" and coupled else score[:, 0, j]
                share = weights[j] if spec == "ac" else _shares(rewards, weights)[:, 0, j]
                formula = share / spread[:, 0, j] * (1.0 - 1.0 / n - with_ * score[:, 0, j] / n)
                found.append(slope * spread[:, 0, j])
                aim.append(formula * spread[:, 0, j])
                trial.table(
                    rule=spec, members=n, objective=j, largest_difference=np.abs(found[-1] - aim[-1]).max()
                )  # fmt: skip
    # The error of a central difference is of order step^2 of a function of size 1, its rounding 1e-16 / step.
    return exact_equality(np.concatenate(found), np.concatenate(aim), tolerance=1e-7)


@claim("dvao.scale-free", paper=PAPER, source="inferred", kind="bias")
def scale_free(trial: Trial) -> Evidence:
    """Measuring one reward in other units changes nothing: A(r_1, c r_2) = A(r_1, r_2) for c = 10.

    Refuted for DVAO, as for reward combination: an objective's influence is w_k per unit of its raw reward, so c
    multiplies it. Advantage combination is free of scale.
    """
    return _check_scale(trial, "dvao")


@scale_free.broken("reward combination")
def _(trial: Trial) -> Evidence:
    return _check_scale(trial, "rc")


@scale_free.control("advantage combination")
def _(trial: Trial) -> Evidence:
    return _check_scale(trial, "ac")


def _check_scale(trial: Trial, spec: str) -> Evidence:
    off = []
    for n, k in SHAPES:
        rewards, weights = random_groups(trial, "scale", n, k)
        larger = rewards * np.array([1.0, 10.0, 1.0][:k])
        off.append(np.abs(judged(larger, weights, spec) - judged(rewards, weights, spec)).max())
        trial.table(rule=spec, members=n, objectives=k, largest_change=off[-1])
    return exact_equality(off, 0.0, tolerance=1e-11)
