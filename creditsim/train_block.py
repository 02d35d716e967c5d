"""Replicates that are trained side by side: design, signals, estimator, update, and what the curves keep of it.

Replicate = batch of the rollouts = first axis of the parameters and of every array in the state, which a block owns.
Entries it makes: `replicate` (R,) the replicates' numbers, `seed` of the update at hand, `horizon` the most rows of an
episode, and the tables that parts ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.estimators.base import Pairs, credit
from creditsim.exact.dp import objective
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.mdp.rows import TablePolicy
from creditsim.plan import Plan
from creditsim.registry import Bound
from creditsim.rng import derive_seed
from creditsim.rollouts import Rollouts
from creditsim.row_counts import mark_met, silent_share
from creditsim.sampling.table import TableSampler
from creditsim.sampling.tables import most_rows
from creditsim.schedules import Schedule, resolve
from creditsim.segments import sum_rows
from creditsim.signal_tables import fixed_tables, moving_tables
from creditsim.train_config import TrainConfig

__all__ = ["Block", "Curves", "at_update"]


@dataclass(frozen=True, eq=False)
class Curves:
    """What a run keeps of every update; U updates, R replicates.

    A replicate whose advantages or parameters became NaN or infinite has NaN from that update on, and has drawn 0 rows.
    """

    j: np.ndarray
    """(U+1, R) exact return of each policy, before the first update and after each."""
    mean_return: np.ndarray
    """(U, R) mean undiscounted return of the trajectories that the design kept for each update; of a tree that grows
    over the updates, of the paths that ended in this one, NaN where none did."""
    success: np.ndarray
    """(U, R) share of those trajectories whose return is positive; trajectory column `success` where there is one."""
    generated: np.ndarray
    """(U, R) int64 rows drawn for each update, dropped ones included."""
    silent: np.ndarray
    """(U, R) share of the rows with weight whose advantage is 0; 1 where there is no such row."""
    met: np.ndarray
    """(U, R) int64 distinct hidden states that kept rows have been in or led to, up to each update."""

    @classmethod
    def empty(cls, updates: int, replicates: int) -> Curves:
        """Curves of a run that has not begun."""
        mean_return, success, silent = np.full((3, updates, replicates), np.nan)
        generated, met = np.zeros((2, updates, replicates), np.int64)
        return cls(np.full((updates + 1, replicates), np.nan), mean_return, success, generated, silent, met)

    def of(self, replicates: slice) -> Curves:
        """The same arrays, seen by some of the replicates."""
        return Curves(**{field.name: getattr(self, field.name)[:, replicates] for field in fields(self)})

    def upto(self, made: int) -> Curves:
        """The curves of a run that ended after `made` updates."""
        return Curves(**{f.name: getattr(self, f.name)[: made + (f.name == "j")] for f in fields(self)})


class Block:
    """Some replicates of a run, with their policies and state; `advance` makes one update and writes its curves."""

    def __init__(self, config: TrainConfig, plan: Plan, mdp: TabularMDP, curves: Curves, replicates: slice) -> None:
        self.config, self.plan, self.curves = config, plan, curves.of(replicates)
        self.first, self.size = config.first_replicate + replicates.start, replicates.stop - replicates.start
        self.learner = TablePolicy(SoftmaxPolicy.uniform(mdp, self.size), mdp)
        self.failed_at = np.full(self.size, -1)
        self.state: dict[str, Any] = {
            "replicate": self.first + np.arange(self.size),
            "horizon": most_rows(mdp),
            **fixed_tables(plan.tables, mdp),
        }
        self._seen = np.zeros((self.size, mdp.n_states), bool)
        self.curves.j[0] = objective(mdp, self.learner.table)

    def advance(self, number: int) -> None:
        """Make update `number` and write what it was like; replicates that have failed stay as they are."""
        curves, alive = self.curves, self.failed_at < 0
        if not alive.any():
            return
        rollouts = self._sample(number)
        mean_return, success = _sampled(rollouts, self.size)
        _write(curves.mean_return[number], alive, mean_return)
        _write(curves.success[number], alive, success)
        _write(curves.generated[number], alive, _drawn(rollouts, self.size))
        mark_met(self._seen, rollouts)
        curves.met[number] = self._seen.sum(axis=1)
        before = self.learner.theta
        # What is not finite is found and kept out below: NumPy need not warn of it too.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            bad, silent = self._improve(number, rollouts)
        bad |= ~np.isfinite(self.learner.theta).all(axis=1)
        self.failed_at[bad & alive] = number + 1
        lost = self.failed_at >= 0
        if lost.any():
            self.learner = self.learner.with_theta(np.where(lost[:, None], before, self.learner.theta))
        _write(curves.silent[number], ~lost, silent)
        _write(curves.j[number + 1], ~lost, objective(self.learner.mdp, self.learner.table))

    def _sample(self, number: int) -> Rollouts:
        """Draw the rollouts of one update, and put into the state what belongs to this update."""
        seed = derive_seed(self.config.seed, "update", number)
        state = {**self.state, "seed": seed, **moving_tables(self.plan.tables, self.learner)}
        sampler = TableSampler(
            self.learner.mdp,
            seed=seed,
            batches=self.size,
            groups=self.config.groups,
            first_batch=self.first,
            threads=self.config.threads,
            record=self.plan.record,
        )
        design = at_update(self.plan.design, number, self.config.updates)
        rollouts, self.state = design(sampler, self.learner.policy, state)
        return rollouts

    def _improve(self, number: int, rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
        """Signals, estimator and update rule; (R,) whose credit is not finite, (R,) share of rows without credit."""
        updates = self.config.updates
        made: set[str] = set()
        for bound in self.plan.signals:
            columns, self.state = at_update(bound, number, updates)(rollouts, self.state)
            rollouts = rollouts.with_columns(**columns)
            made |= set(columns)
        columns, bad = _credited(
            rollouts, at_update(self.plan.estimator, number, updates), self.plan.credit, made, self.size
        )
        silent = silent_share(rollouts, columns["advantage"], self.size)
        rule = at_update(self.plan.update, number, updates)
        self.learner, self.state = rule(self.learner, rollouts, columns, self.state)
        return bad, silent


def at_update(bound: Bound, number: int, updates: int) -> Bound:
    """The part with its schedules resolved for one update."""
    if not any(isinstance(value, Schedule) for value in bound.params.values()):
        return bound
    return bound.part.bind(None, **resolve(bound.params, number, updates))


def _write(curve: np.ndarray, where: np.ndarray, values: np.ndarray) -> None:
    np.copyto(curve, values, where=where)


def _credited(
    rollouts: Rollouts, bound: Bound, used: Collection[str], made: Iterable[str], replicates: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The estimator's columns that are `used`; (R,) the replicates where one is not finite, whose advantages are 0.

    A signal that ran away, a critic say, may be more than an estimator can take: its replicates then get none of it.
    """
    bad = np.zeros(replicates, bool)
    try:
        result = credit(rollouts, bound, finite=False)
    except InputError:
        signals = {name: rollouts.columns[name] for name in made if name in rollouts.columns}
        bad |= _not_finite(rollouts, {**signals, "reward": rollouts.reward}, replicates)
        if not bad.any():
            raise
        wild = bad[rollouts.batch_rows]
        calm = {name: np.where(_along(wild, x), np.zeros((), x.dtype), x) for name, x in signals.items()}
        reward = np.where(wild, 0.0, rollouts.reward)
        result = credit(rollouts.with_columns(**{**calm, "reward": reward}), bound, finite=False)
    columns = {"advantage": result.advantage(rollouts)} if isinstance(result, Pairs) else dict(result)
    columns = {name: values for name, values in columns.items() if name in used}
    bad |= _not_finite(rollouts, columns, replicates)
    if bad.any():
        wild = bad[rollouts.batch_rows]
        # 1 is a fit value of every other column: a scale, a share, a weight.
        columns = {name: np.where(np.isfinite(x), x, 1.0) for name, x in columns.items()}
        columns["advantage"] = np.where(wild, 0.0, columns["advantage"])
    return columns, bad


def _not_finite(rollouts: Rollouts, columns: dict[str, np.ndarray], replicates: int) -> np.ndarray:
    """(R,) bool: replicates with a row at which some column is NaN or infinite."""
    bad = np.zeros(replicates, bool)
    for values in columns.values():
        # One number tells: a sum is finite only where all that is added is.
        if values.dtype.kind != "f" or np.isfinite(values.sum()):
            continue
        rows = ~np.isfinite(values).reshape(values.shape[0], -1).all(axis=1)
        if rows.any():
            bad[rollouts.batch_rows[rows]] = True
    return bad


def _along(rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *(1,) * (like.ndim - 1))


def _sampled(rollouts: Rollouts, replicates: int) -> tuple[np.ndarray, np.ndarray]:
    """(R,) mean return and (R,) share of successes of the trajectories of each batch, branches left out.

    Where a design says which paths of its tree ended, theirs; NaN where none did.
    """
    ends = "ended" in rollouts.trajectory_columns
    chosen = rollouts.trajectory_columns["ended"] if ends else rollouts.parent < 0
    score = sum_rows(rollouts.reward, rollouts.offsets)[chosen]
    at = rollouts.parent[chosen]
    while (at >= 0).any():
        score = score + np.where(at >= 0, rollouts.reward[at], 0.0)
        at = np.where(at >= 0, rollouts.previous[at], -1)
    won = rollouts.trajectory_columns["success"][chosen] if "success" in rollouts.trajectory_columns else score > 0
    batch = rollouts.batch[chosen]
    count = np.bincount(batch, minlength=replicates).astype(float)
    count[count == 0] = np.nan if ends else 1.0
    total = np.bincount(batch, weights=score, minlength=replicates)
    wins = np.bincount(batch, weights=np.asarray(won, float), minlength=replicates)
    return total / count, wins / count


def _drawn(rollouts: Rollouts, replicates: int) -> np.ndarray:
    """(R,) rows drawn for each batch: those told by column `generated_rows`, or those that are there."""
    if "generated_rows" not in rollouts.trajectory_columns:
        return np.bincount(rollouts.batch, rollouts.length, replicates).astype(np.int64)
    first = np.unique(rollouts.group, return_index=True)[1]
    drawn = rollouts.trajectory_columns["generated_rows"][first]
    return np.bincount(rollouts.batch[first], drawn, replicates).astype(np.int64)
