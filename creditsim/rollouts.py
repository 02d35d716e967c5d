"""Rollouts: the one structure that samplers, text environments, estimators and losses exchange.

Flat, ragged and integer-keyed: N trajectories, M rows (decisions). A tree is stored once: a branch names the row after
which it goes on, and M counts what was generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, TypeVar

import numpy as np

from creditsim import intake, ragged
from creditsim.arrays import Array, is_torch, namespace, native, restorer, to_numpy
from creditsim.errors import InputError, MissingColumnError, nearest

__all__ = ["FIELDS", "Rollouts"]

FIELDS = ("offsets", "parent", "group", "batch", "terminated", "observation", "action", "reward", "step")

F = TypeVar("F", bound=Callable[..., Any])


def _on_native(method: F) -> F:
    """Let a method written for NumPy and CuPy serve torch tensors, which share memory with one of the two."""

    @wraps(method)
    def call(self: Rollouts, *arguments: Any, **options: Any) -> Any:
        if not is_torch(self.offsets):
            return method(self, *arguments, **options)
        share = restorer(self.offsets)

        def back(value: Any) -> Any:
            return value.map_arrays(share) if isinstance(value, Rollouts) else share(value)

        options = {name: native(value) for name, value in options.items()}
        result = method(self.native(), *map(native, arguments), **options)
        return tuple(map(back, result)) if isinstance(result, tuple) else back(result)

    return call  # pyright: ignore[reportReturnType] # the wrapper takes what the method takes


@dataclass(frozen=True, eq=False)
class Rollouts:
    """Ragged trajectories of one or many batches.

    ============== ============ =====================================================================
    field          shape        meaning
    ============== ============ =====================================================================
    `offsets`      (N+1,) int64 rows of trajectory i are `offsets[i]:offsets[i+1]`, in time order
    `parent`       (N,) int64   row of the same group after which a branch goes on; -1: from the start
    `group`        (N,) int64   dense ids of tasks; groups nest in batches
    `batch`        (N,) int64   dense ids of what shares batch statistics; one Monte Carlo replicate
    `terminated`   (N,) bool    ended by the environment (False: cut by a limit)
    `observation`  (M,) int64   interned observation (anchor)
    `action`       (M,) int64   interned action
    `reward`       (M,) float   immediate reward
    `step`         (M,) int64   index of the environment step in its episode; decisions of one step share it
    ============== ============ =====================================================================

    `columns` holds optional arrays per row, `trajectory_columns` per trajectory. Build it with `from_steps` (any row
    order, labels of any type) or `flat` (rows already in order); both check everything.
    """

    offsets: Array
    parent: Array
    group: Array
    batch: Array
    terminated: Array
    observation: Array
    action: Array
    reward: Array
    step: Array
    columns: Mapping[str, Array] = field(default_factory=dict)
    trajectory_columns: Mapping[str, Array] = field(default_factory=dict)
    row_order: Array | None = None
    """(M,) row j here was row `row_order[j]` of the input of `from_steps`; None where the order was kept."""
    labels: Mapping[str, Array] = field(default_factory=dict)
    """The caller's labels of interned ids: `labels["observation"][id]`."""

    @classmethod
    def from_steps(cls, **columns: Any) -> Rollouts:
        """Build from one entry per decision, rows in any order; see `creditsim.intake.from_steps`."""
        return cls(**intake.from_steps(**columns))

    @classmethod
    def flat(cls, **fields: Any) -> Rollouts:
        """Build from rows already grouped by trajectory and in time order; see `creditsim.intake.flat`."""
        return cls(**intake.flat(**fields))

    @property
    def n_trajectories(self) -> int:
        """N."""
        return int(self.offsets.shape[0]) - 1

    @property
    def n_rows(self) -> int:
        """M."""
        return int(self.reward.shape[0])

    @cached_property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if self.n_trajectories else 0

    @cached_property
    def n_batches(self) -> int:
        """Number of batches."""
        return int(self.batch.max()) + 1 if self.n_trajectories else 0

    @cached_property
    def length(self) -> Array:
        """(N,) rows of each trajectory."""
        return self.offsets[1:] - self.offsets[:-1]

    @cached_property
    @_on_native
    def is_tree(self) -> bool:
        """Whether any trajectory branches off another."""
        return bool((self.parent >= 0).any())

    @cached_property
    @_on_native
    def trajectory(self) -> Array:
        """(M,) trajectory of each row."""
        return ragged.rows_of(self.offsets, self.n_rows)

    @cached_property
    @_on_native
    def group_rows(self) -> Array:
        """(M,) group of each row."""
        return ragged.repeated(self.group, self.offsets, self.n_rows)

    @cached_property
    @_on_native
    def batch_rows(self) -> Array:
        """(M,) batch of each row."""
        return ragged.repeated(self.batch, self.offsets, self.n_rows)

    @cached_property
    @_on_native
    def previous(self) -> Array:
        """(M,) the row before each row, through the fork where a branch begins; -1 at the start of an episode."""
        return ragged.previous_rows(self.offsets, self.parent, self.n_rows)

    @cached_property
    @_on_native
    def has_single_decisions(self) -> bool:
        """Whether each row is a step of its own, so that there is nothing to fold."""
        same = self.step[1:] == self.step[:-1]
        return not bool(same.any()) or not bool((same & ~self.first_row[1:]).any())

    @cached_property
    @_on_native
    def first_row(self) -> Array:
        """(M,) bool: the first row of its trajectory."""
        xp = namespace(self.offsets)
        first = xp.zeros(self.n_rows, bool)
        first[self.offsets[:-1][self.length > 0]] = True
        return first

    def column(self, name: str, needed_by: str = "this call") -> Array:
        """Return a field or column by name; a missing one is a one-line error with the nearest match."""
        if name in FIELDS:
            return getattr(self, name)
        for table in (self.columns, self.trajectory_columns):
            if name in table:
                return table[name]
        have = [*FIELDS, *self.columns, *self.trajectory_columns]
        raise MissingColumnError(
            "rollouts column", f"no {name!r}, needed by {needed_by}", " | ".join(have), nearest(name, have)
        )

    def has(self, name: str) -> bool:
        """Whether a field or column of that name is there."""
        return name in FIELDS or name in self.columns or name in self.trajectory_columns

    def with_columns(self, **columns: Array) -> Rollouts:
        """Return the same rollouts with more (or other) columns per row; `reward` may be replaced this way."""
        for name, values in columns.items():
            if values.shape[:1] != (self.n_rows,):
                raise InputError(f"column {name}", f"shape {tuple(values.shape)}", f"{self.n_rows} rows")
        fields = {name: columns.pop(name) for name in FIELDS if name in columns}
        return self._changed(columns={**self.columns, **columns}, **fields)

    def _changed(self, **changes: Any) -> Rollouts:
        """The same rollouts but for some fields, with all that was derived from the others."""
        other = replace(self, **changes)
        kept = {name: self.__dict__[name] for name in _DERIVED if name in self.__dict__}
        other.__dict__.update({name: x for name, x in kept.items() if not _DERIVED[name] & changes.keys()})
        return other

    def with_trajectory_columns(self, **columns: Array) -> Rollouts:
        """Return the same rollouts with more (or other) columns per trajectory."""
        for name, values in columns.items():
            if values.shape[:1] != (self.n_trajectories,):
                raise InputError(
                    f"trajectory column {name}", f"shape {tuple(values.shape)}", f"{self.n_trajectories} rows"
                )
        return self._changed(trajectory_columns={**self.trajectory_columns, **columns})

    def map_arrays(self, convert: Any) -> Rollouts:
        """Return rollouts with `convert` applied to every array (for moving between array libraries)."""
        return Rollouts(
            *(convert(getattr(self, name)) for name in FIELDS),
            columns={k: convert(v) for k, v in self.columns.items()},
            trajectory_columns={k: convert(v) for k, v in self.trajectory_columns.items()},
            row_order=self.row_order,
            labels=self.labels,
        )

    def native(self) -> Rollouts:
        """Return the same rollouts on NumPy or CuPy arrays; torch tensors are shared, not copied."""
        arrays = [*(getattr(self, name) for name in FIELDS), *self.columns.values(), *self.trajectory_columns.values()]
        # Rollouts that are native already keep what they have derived and cached.
        return self.map_arrays(native) if any(is_torch(array) for array in arrays) else self

    @_on_native
    def siblings(self) -> tuple[Array, int]:
        """Return ids (M,) that rows share when they come after the same row, and how many ids there are.

        Rows that open an episode are siblings when they are of one group.
        """
        return ragged.sibling_ids(self.previous, self.group_rows, self.n_groups)

    @_on_native
    def take(self, trajectories: Array, group: Array | None = None, batch: Array | None = None) -> Rollouts:
        """Return the trajectories named, in that order, repeats allowed; `group` and `batch` relabel them.

        Ids are made dense again. In a tree each trajectory's parent must be taken too, and none may be taken twice.
        """
        xp = namespace(self.offsets)
        index = ragged.checked_index(xp.asarray(trajectories), self.n_trajectories)
        length = self.length[index]
        offsets = xp.zeros(index.shape[0] + 1, self.offsets.dtype)
        offsets[1:] = xp.cumsum(length)
        rows = ragged.ranges(self.offsets[:-1][index], offsets)
        parent = self.parent[index]
        if self.is_tree:
            parent = ragged.moved_parents(parent, rows, self.n_rows)
        groups = self.group[index] if group is None else xp.asarray(group)
        batches = self.batch[index] if batch is None else xp.asarray(batch)
        for name, ids in (("group", groups), ("batch", batches)):
            if ids.shape != index.shape:
                raise InputError(name, f"shape {tuple(ids.shape)}", f"{tuple(index.shape)}, one id per trajectory")
        names = {"traj": index} | ({"group": groups} if group is None else {})
        names |= {"batch": batches} if batch is None else {}
        return Rollouts(
            offsets=offsets,
            parent=parent,
            group=ragged.dense(groups),
            batch=ragged.dense(batches),
            terminated=self.terminated[index],
            observation=self.observation[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            step=self.step[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            trajectory_columns={name: values[index] for name, values in self.trajectory_columns.items()},
            labels=_relabelled(self.labels, names),
        )

    @_on_native
    def paths(self) -> tuple[Rollouts, Array]:
        """Unroll a tree: one trajectory per leaf, prefixes repeated.

        Returns the rollouts of the paths and `source` (M',), the row here of each row there. A trajectory whose last
        row another one goes on from is no leaf. Every path takes `terminated` and trajectory columns from its leaf.
        """
        leaf, rows, offsets = ragged.leaf_paths(self.offsets, self.parent, self.n_rows)
        xp = namespace(self.offsets)
        unrolled = Rollouts(
            offsets=offsets,
            parent=xp.full(leaf.shape[0], -1, xp.int64),
            group=self.group[leaf],
            batch=self.batch[leaf],
            terminated=self.terminated[leaf],
            observation=self.observation[rows],
            action=self.action[rows],
            reward=self.reward[rows],
            step=self.step[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            trajectory_columns={name: values[leaf] for name, values in self.trajectory_columns.items()},
            labels={**self.labels, **_relabelled(self.labels, {"traj": leaf})},
        )
        return unrolled, rows

    @_on_native
    def steps(self) -> tuple[Rollouts, Array]:
        """Fold decisions into steps.

        Returns the rollouts with one row per step and `step_row` (M,), the folded row of each row here. Rewards,
        `tokens`, `log_prob` and `entropy` add up; `terminal`-side columns (`next_value`, `next_state`) come from the
        last decision; `valid` holds if it holds for all; `weight` is the largest; the rest comes from the first
        decision. Where no step has two decisions the same rollouts come back.
        """
        return _fold_steps(self)

    @_on_native
    def to_input_order(self, values: Array) -> Array:
        """Bring an array per row back to the row order of `from_steps`' input."""
        if self.row_order is None:
            return values
        out = namespace(values).empty_like(values)
        out[self.row_order] = values
        return out


_DERIVED = {
    "n_groups": {"group"},
    "n_batches": {"batch"},
    "length": {"offsets"},
    "is_tree": {"parent"},
    "trajectory": {"offsets"},
    "group_rows": {"group", "offsets"},
    "batch_rows": {"batch", "offsets"},
    "previous": {"offsets", "parent"},
    "has_single_decisions": {"offsets", "step"},
    "first_row": {"offsets"},
}
"""What is derived once, and the fields it comes from."""


def _relabelled(labels: Mapping[str, Array], kept: Mapping[str, Array]) -> dict[str, Array]:
    """Return labels after trajectories were taken; `kept` holds the old ids, whose order making them dense keeps."""
    out = {name: labels[name] for name in ("observation", "action") if name in labels}
    for name, ids in kept.items():
        if name in labels:
            old = to_numpy(ids)
            out[name] = labels[name][old if name == "traj" else np.unique(old)]
    return out


_FOLD = {
    "reward_K": "sum",
    "tokens": "sum",
    "log_prob": "sum",
    "entropy": "sum",
    "next_value": "last",
    "next_state": "last",
    "valid": "min",
    "weight": "max",
}


def _fold_steps(rollouts: Rollouts) -> tuple[Rollouts, Array]:
    xp = namespace(rollouts.offsets)
    m = rollouts.n_rows
    if rollouts.has_single_decisions:
        return rollouts, xp.arange(m)
    new = rollouts.first_row.copy()
    new[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    heads = rollouts.first_row & (rollouts.parent[rollouts.trajectory] >= 0)
    before = rollouts.previous[heads]
    if bool((rollouts.step[before] == rollouts.step[heads]).any()):
        raise InputError(
            "step", "a branch that forks inside a step", "forks between steps, or an estimator with level='decision'"
        )
    step_row = xp.cumsum(new) - 1
    starts = xp.flatnonzero(new)
    ends = xp.concatenate([starts[1:], xp.asarray([m])]) - 1

    def fold(values: Array, how: str) -> Array:
        if how == "last":
            return values[ends]
        if how == "first":
            return values[starts]
        return ragged.reduce_ranges(values, starts, m, how)

    offsets = xp.concatenate([xp.zeros(1, xp.int64), xp.cumsum(new)])[rollouts.offsets]
    parent = xp.where(rollouts.parent >= 0, step_row[rollouts.parent], -1)
    folded = Rollouts(
        offsets=offsets,
        parent=parent,
        group=rollouts.group,
        batch=rollouts.batch,
        terminated=rollouts.terminated,
        observation=rollouts.observation[starts],
        action=rollouts.action[starts],
        reward=fold(rollouts.reward, "sum"),
        step=rollouts.step[starts],
        columns={name: fold(values, _FOLD.get(name, "first")) for name, values in rollouts.columns.items()},
        trajectory_columns=rollouts.trajectory_columns,
        labels=rollouts.labels,
    )
    if "tokens" not in folded.columns:
        folded = folded.with_columns(tokens=ends - starts + 1)
    return folded, step_row
