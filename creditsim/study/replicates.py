"""From rollouts of many replicates to what each replicate contributes: rows for the keys, scalars, a gradient."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, segment_max, segment_min
from creditsim.study.setting import Setting

__all__ = ["SCALARS", "Block", "replicate_block"]

SCALARS = (
    "rows", "error2", "groups", "degenerate", "anchors", "singletons", "signed", "agreeing", "along",
    "gradient_error2", "steps", "generated_rows",
)  # fmt: skip
"""Numbers that each replicate gives: rows in the loss (by weight) and their squared errors; groups and those of equal
returns; anchor groups and those of one row; rows whose exact advantage is not 0 and those whose sign agrees; <g, u>
with u the exact gradient over its squared length; |g - exact|^2; steps in the batch; rows generated for it."""

_EQUAL = 1e-12
"""Returns of a group count as equal, and an advantage as 0, within this share of the largest."""


@dataclass(frozen=True, eq=False)
class Block:
    """Replicates `first`, `first` + 1, ...: rows sorted by replicate, `scalars` (R, 12) and `gradient` (R, P).

    `gradient` is g - dJ/dtheta with g = (1/N) sum over rows of weight * advantage * dlog pi / dtheta, N trajectories in
    the loss. `seconds` is the time of the estimator.
    """

    first: int
    order: np.ndarray
    ends: np.ndarray
    key: np.ndarray
    value: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    scalars: np.ndarray
    gradient: np.ndarray
    seconds: float


def replicate_block(setting: Setting, first: int, count: int) -> Block:
    """Draw `count` replicates from number `first` on, run the estimator once, and take what each contributes.

    Errors: InputError from the estimator; a value beyond float64 in any sum is told as such.
    """
    rollouts = setting.draw(first, count)
    start = time.perf_counter()
    value = setting.credit(rollouts)
    seconds = time.perf_counter() - start
    target = setting.solution.row_advantage(rollouts)
    weight = np.asarray(rollouts.columns.get("weight", np.ones(rollouts.n_rows)), np.float64)
    batch = rollouts.batch_rows
    order = np.arange(batch.size) if (batch[1:] >= batch[:-1]).all() else np.argsort(batch, kind="stable")
    ends = np.searchsorted(batch[order], np.arange(count + 1))
    gradient = _gradients(setting, rollouts, value * weight, count)

    def per_batch(values: np.ndarray) -> np.ndarray:
        return np.bincount(batch, values, count)

    tiny = _EQUAL * float(np.abs(setting.solution.advantage).max(initial=0.0))
    signed = (np.abs(target) > tiny) & (weight > 0)
    groups, degenerate = _groups(rollouts, count)
    anchors, singletons = _anchors(rollouts, count)
    with np.errstate(over="ignore", invalid="ignore"):
        table = {
            "rows": per_batch(weight),
            "error2": per_batch(weight * (value - target) ** 2),
            "groups": groups,
            "degenerate": degenerate,
            "anchors": anchors,
            "singletons": singletons,
            "signed": per_batch(signed * weight),
            "agreeing": per_batch((signed & (np.sign(value) == np.sign(target))) * weight),
            "along": _along(gradient, setting.gradient),
            "gradient_error2": (gradient**2).sum(axis=-1),
            "steps": per_batch(_begins_step(rollouts).astype(np.float64)),
            "generated_rows": _generated(rollouts, count),
        }
    scalars = np.stack([table[name] for name in SCALARS], axis=1)
    if not np.isfinite(scalars).all():
        raise InputError(
            f"estimator {setting.plan.estimator.label}", "advantages whose squares overflow", "below 1e150"
        )
    key = setting.keys(rollouts)
    return Block(first, order, ends, key, value, target, weight, scalars, gradient, seconds)


def _gradients(setting: Setting, rollouts: Rollouts, push: np.ndarray, count: int) -> np.ndarray:
    """(R, P) g - dJ/dtheta."""
    mdp, n = setting.mdp, setting.n_entries
    in_loss = np.bincount(rollouts.batch, _counted(rollouts), count)
    scale = 1.0 / np.maximum(in_loss, 1)
    batch = rollouts.batch_rows
    pushes = np.bincount(batch * n + setting.entries(rollouts), push * scale[batch], count * n)
    shape = (count, mdp.n_states, mdp.n_actions)
    return setting.policy.pullback(mdp, pushes.reshape(shape)) - setting.gradient


def _counted(rollouts: Rollouts) -> np.ndarray:
    """(N,) 1 for trajectories in the loss: those with any row of positive weight."""
    weight = rollouts.columns.get("weight")
    if weight is None:
        return np.ones(rollouts.n_trajectories)
    return (np.bincount(rollouts.trajectory, weight > 0, rollouts.n_trajectories) > 0).astype(np.float64)


def _along(gradient: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """(R,) <g, u>, u = exact / |exact|^2, so that an unbiased gradient has mean 1; 0 where the exact one is 0."""
    square = float(np.square(exact).sum())
    # Elementwise products and a sum along the row: a matrix product may add in an order that depends on R.
    return 1.0 + (gradient * exact).sum(axis=-1) / square if square > 0 else np.zeros(gradient.shape[0])


def _groups(rollouts: Rollouts, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(R,) groups, and groups whose returns are all equal."""
    leaves = rollouts.paths()[0] if rollouts.is_tree else rollouts
    returns = np.bincount(leaves.trajectory, leaves.reward, leaves.n_trajectories)
    low = segment_min(returns, leaves.group, rollouts.n_groups)
    high = segment_max(returns, leaves.group, rollouts.n_groups)
    equal = high - low <= _EQUAL * np.maximum(np.abs(low), np.abs(high))
    batch = np.zeros(rollouts.n_groups, np.int64)
    batch[rollouts.group] = rollouts.batch
    return np.bincount(batch, minlength=count).astype(np.float64), np.bincount(batch, equal, count)


def _anchors(rollouts: Rollouts, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(R,) anchor groups (rows of a group that share an observation), and those of one row."""
    anchor, n = factorize(rollouts.group_rows, rollouts.observation)
    batch = np.zeros(n, np.int64)
    batch[anchor] = rollouts.batch_rows
    single = np.bincount(anchor, minlength=n) == 1
    return np.bincount(batch, minlength=count).astype(np.float64), np.bincount(batch, single, count)


def _begins_step(rollouts: Rollouts) -> np.ndarray:
    new = rollouts.first_row.copy()
    new[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    return new


def _generated(rollouts: Rollouts, count: int) -> np.ndarray:
    """(R,) rows generated, those that the design dropped included."""
    per_group = rollouts.trajectory_columns.get("generated_rows")
    if per_group is None:
        return np.bincount(rollouts.batch_rows, minlength=count).astype(np.float64)
    group, one = np.unique(rollouts.group, return_index=True)
    return np.bincount(rollouts.batch[one], per_group[one], count) if group.size else np.zeros(count)
