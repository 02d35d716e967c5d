"""The door of Rollouts: everything that comes from outside is checked, interned and put in order here, once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from creditsim.arrays import Array, is_torch, namespace, native, restorer, to_numpy
from creditsim.errors import InputError, choose
from creditsim.labels import as_column, intern
from creditsim.ragged import dense, repeated, rows_of

__all__ = ["Fields", "flat", "from_steps"]

Fields = dict[str, Any]
"""The constructor arguments of Rollouts, checked."""

NanPolicy = Literal["raise", "omit"]


def from_steps(
    *,
    group: Any,
    traj: Any,
    reward: Any,
    step: Any = None,
    observation: Any = None,
    action: Any = None,
    batch: Any = None,
    decision: Any = None,
    terminated: Any = True,
    nan: NanPolicy = "raise",
    columns: Mapping[str, Any] | None = None,
    trajectory_columns: Mapping[str, Mapping[Any, Any]] | None = None,
) -> Fields:
    """Make the fields of rollouts from one entry per decision, in any row order, with labels of any type.

    Parameters: `group`, `traj`, `observation`, `action`, `batch` (M,) labels (strings, UUIDs, integers); `step` (M,)
    consecutive integers inside each trajectory (default: the order of the rows); `decision` (M,) order inside a step
    (needed where two rows share trajectory and step); `reward` (M,) numbers; `terminated` a bool, (M,) bools equal
    within a trajectory, or a mapping from trajectory label to bool; `columns` name -> (M, ...);
    `trajectory_columns` name -> {trajectory label: value}.
    `nan="omit"` keeps rows with a reward that is NaN or infinite but sets the reward to 0 and the `weight` of every row
    of that trajectory to 0, so that the trajectory enters no statistics; column `omitted` records it.
    Returns the fields of Rollouts, in order of first appearance of trajectories; `to_input_order` brings results back.
    Errors: InputError naming the field for ragged lengths, NaN, duplicate or missing steps, a trajectory in two groups.
    """
    m = len(reward)
    reward = as_column(reward, "reward", m)
    if m == 0:
        raise InputError("reward", "no rows", "at least one row")
    reward = reward.astype(np.float64) if reward.dtype.kind in "iub" else reward
    traj_id, traj_labels = _ids(traj, "traj", m)
    group_id, group_labels = _ids(group, "group", m)
    batch_id, batch_labels = _ids(np.zeros(m, np.int64) if batch is None else batch, "batch", m)
    observation_id, observation_labels = _ids(
        np.zeros(m, np.int64) if observation is None else observation, "observation", m
    )
    action_id, action_labels = _ids(np.zeros(m, np.int64) if action is None else action, "action", m)
    n = traj_labels.shape[0]
    group_n = _one_value(group_id, traj_id, n, "group", traj_labels)
    batch_n = _one_value(batch_id, traj_id, n, "batch", traj_labels)
    step_m = _integers(step, "step", m) if step is not None else None
    decision_m = _integers(decision, "decision", m) if decision is not None else None
    order = _row_order(traj_id, step_m, decision_m)
    counts = np.bincount(traj_id, minlength=n)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    time = _steps_in_order(step_m, decision_m, order, offsets, traj_labels)
    table = {name: as_column(values, f"column {name}", m, "any")[order] for name, values in (columns or {}).items()}
    _check_batches(group_n, batch_n)
    fields = dict(
        offsets=offsets,
        parent=np.full(n, -1),
        group=group_n,
        batch=batch_n,
        terminated=_terminated(terminated, traj_id, n, traj_labels),
        observation=observation_id[order],
        action=action_id[order],
        reward=reward[order],
        step=time,
        columns=table,
        trajectory_columns={k: _trajectory_column(k, v, traj_labels) for k, v in (trajectory_columns or {}).items()},
        row_order=order,
        labels={"traj": traj_labels, "group": group_labels, "batch": batch_labels}
        | {"observation": observation_labels, "action": action_labels},
    )
    return _numbers(fields, nan)


def flat(
    *,
    offsets: Any,
    group: Any,
    reward: Any,
    observation: Any = None,
    action: Any = None,
    batch: Any = None,
    parent: Any = None,
    terminated: Any = None,
    step: Any = None,
    columns: Mapping[str, Any] | None = None,
    trajectory_columns: Mapping[str, Any] | None = None,
    nan: NanPolicy = "raise",
    check: bool = True,
) -> Fields:
    """Make the fields of rollouts from rows already grouped by trajectory and in time order.

    Parameters: `offsets` (N+1,); `group`, `batch` (N,) integers of any sign and spread; `parent` (N,) rows or -1;
    `reward`, `observation`, `action`, `step` (M,); `terminated` (N,). Defaults: one batch, no tree, all terminated, one
    observation, one action, each row its own step. Arrays may be NumPy, CuPy or torch; defaults are made in the same
    library. `check=False` skips the checks for callers that built the arrays themselves (samplers).
    Errors: InputError naming the field.
    """
    if is_torch(reward):
        return _flat_torch(locals())
    xp = namespace(reward)
    reward, offsets, group = xp.asarray(reward), xp.asarray(offsets), xp.asarray(group)
    n, m = int(offsets.shape[0]) - 1, int(reward.shape[0])
    one_batch = batch is None
    batch = xp.zeros(n, xp.int64) if one_batch else xp.asarray(batch)
    parent = xp.full(n, -1) if parent is None else xp.asarray(parent)
    given = {"observation": observation, "action": action, "step": step}
    given = {name: xp.asarray(values) for name, values in given.items() if values is not None}
    if check:
        offsets = _check_offsets(offsets, n, m)
        group = _dense_ids(group, "group", n)
        batch = batch if one_batch else _dense_ids(batch, "batch", n)
        reward = _rewards(reward, m)
        parent = _check_parents(parent, offsets, group, n, m)
        given = {name: _one_integer_each(values, name, m) for name, values in given.items()}
    given.setdefault("observation", xp.zeros(m, xp.int64))
    given.setdefault("action", xp.zeros(m, xp.int64))
    if "step" not in given:
        given["step"] = _default_steps(offsets, parent, m)
    fields = dict(
        offsets=offsets,
        parent=parent,
        group=group,
        batch=batch,
        terminated=xp.ones(n, bool) if terminated is None else xp.asarray(terminated).astype(bool),
        reward=reward,
        columns={name: xp.asarray(values) for name, values in (columns or {}).items()},
        trajectory_columns={name: xp.asarray(values) for name, values in (trajectory_columns or {}).items()},
        **given,
    )
    if not check:
        return fields
    _check_shapes(fields, n, m)
    _check_batches(group, batch)
    return _numbers(fields, nan)


def _flat_torch(given: dict[str, Any]) -> Fields:
    def down(value: Any) -> Any:
        return {k: native(v) for k, v in value.items()} if isinstance(value, Mapping) else native(value)

    names = inspect.signature(flat).parameters
    back = restorer(given["reward"])
    fields = flat(**{name: down(given[name]) for name in names})
    return {
        name: {k: back(v) for k, v in value.items()} if isinstance(value, dict) else back(value)
        for name, value in fields.items()
    }


def _ids(labels: Any, field: str, m: int) -> tuple[np.ndarray, np.ndarray]:
    ids, names = intern(labels, field)
    if ids.shape[0] != m:
        raise InputError(field, f"{ids.shape[0]} entries", f"{m}, one per reward")
    return ids, names


def _dense_ids(ids: Array, field: str, n: int) -> Array:
    if ids.ndim != 1 or ids.shape[0] != n:
        raise InputError(field, f"shape {tuple(ids.shape)}", f"({n},), one id per trajectory")
    if namespace(ids) is np:
        return intern(ids, field)[0]
    return dense(ids)


def _integers(values: Any, field: str, m: int) -> np.ndarray:
    array = as_column(values, field, m)
    if array.dtype.kind not in "iub":
        raise InputError(field, f"values of type {array.dtype}", "integers")
    return array.astype(np.int64)


def _one_value(ids: np.ndarray, traj: np.ndarray, n: int, field: str, labels: np.ndarray) -> np.ndarray:
    out = np.empty(n, np.int64)
    out[traj] = ids
    split = np.flatnonzero(out[traj] != ids)
    if split.size:
        name = _label(labels, traj[split[0]])
        raise InputError(field, f"trajectory {name} in two, or with two values", f"one {field} for each trajectory")
    return out


def _label(labels: np.ndarray, index: Any) -> str:
    return repr(labels[int(index) :][:1].tolist()[0])


def _row_order(traj: np.ndarray, step: np.ndarray | None, decision: np.ndarray | None) -> np.ndarray:
    keys = [key for key in (decision, step, traj) if key is not None]
    return np.lexsort(keys)


def _steps_in_order(
    step: np.ndarray | None, decision: np.ndarray | None, order: np.ndarray, offsets: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return (M,) steps counted from 0 in each trajectory, rows in `order`; refuse repeated and missing ones."""
    m = order.shape[0]
    first = np.zeros(m, bool)
    first[offsets[:-1]] = True
    which = np.cumsum(first) - 1
    time = np.arange(m) - offsets[:-1][which] if step is None else step[order]
    jump = np.diff(time, prepend=time[:1])
    jump[first] = 1
    same = jump == 0
    if decision is not None:
        place = decision[order]
        same = (same | (step is None)) & ~first & (np.diff(place, prepend=place[:1]) == 0)
    for row in np.flatnonzero(same)[:1]:
        at = f"step {time[row]} of trajectory {_label(labels, which[row])} twice"
        raise InputError("step", at, "each step once, or a `decision` column that orders the rows of a step")
    for row in np.flatnonzero(jump > 1)[:1]:
        name = _label(labels, which[row])
        raise InputError("step", f"trajectory {name} without step {time[row - 1] + 1}", "consecutive steps")
    return time - time[offsets[:-1]][which]


def _terminated(value: Any, traj: np.ndarray, n: int, labels: np.ndarray) -> np.ndarray:
    if isinstance(value, Mapping):
        return _trajectory_column("terminated", value, labels).astype(bool)
    array = to_numpy(value)
    if array.ndim == 0:
        return np.full(n, bool(array))
    flags = _integers(as_column(value, "terminated", traj.shape[0]), "terminated", traj.shape[0])
    return _one_value(flags, traj, n, "terminated", labels).astype(bool)


def _trajectory_column(name: str, table: Mapping[Any, Any], labels: np.ndarray) -> np.ndarray:
    missing = next((label for label in labels.tolist() if label not in table), None)
    if missing is not None:
        raise InputError(
            f"trajectory column {name}", f"no value for trajectory {missing!r}", "a value for each trajectory"
        )
    return np.asarray([table[label] for label in labels.tolist()])


def _default_steps(offsets: Array, parent: Array, m: int) -> Array:
    """Each row a step, counted from the start of the episode: a branch counts on from the row it forks at."""
    xp = namespace(offsets)
    inside = xp.arange(m) - repeated(offsets[:-1], offsets, m)
    if not bool((parent >= 0).any()):
        return inside
    which = rows_of(offsets, m)
    base = xp.zeros(parent.shape[0], xp.int64)
    for at, branches in _levels(parent, which):
        base[branches] = inside[at] + base[which[at]] + 1
    return inside + base[which]


def _levels(parent: Array, which: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the branches of one depth of nesting after the other, with the rows they fork at; refuse a circle."""
    xp = namespace(parent)
    placed = parent < 0
    waiting = xp.flatnonzero(~placed)
    while waiting.shape[0]:
        ready = placed[which[parent[waiting]]]
        if not bool(ready.any()):
            raise InputError("parent", "branches that fork off each other in a circle", "a forest")
        yield parent[waiting[ready]], waiting[ready]
        placed[waiting[ready]] = True
        waiting = waiting[~ready]


def _check_offsets(offsets: Array, n: int, m: int) -> Array:
    if offsets.ndim != 1 or n < 1 or offsets.dtype.kind not in "iu":
        raise InputError(
            "offsets", f"shape {tuple(offsets.shape)} of {offsets.dtype}", "integers, one more than trajectories"
        )
    offsets = offsets.astype(namespace(offsets).int64)
    if int(offsets[0]) != 0 or int(offsets[-1]) != m or bool((offsets[1:] < offsets[:-1]).any()):
        raise InputError(
            "offsets", f"from {int(offsets[0])} to {int(offsets[-1])}", f"a rise from 0 to {m}, the number of rows"
        )
    return offsets


def _rewards(reward: Array, m: int) -> Array:
    xp = namespace(reward)
    if xp is np:
        reward = as_column(reward, "reward", m)
    return reward.astype(xp.float64) if reward.dtype.kind in "iub" else reward


def _one_integer_each(values: Array, field: str, size: int, per: str = "row") -> Array:
    if tuple(values.shape) != (size,) or values.dtype.kind not in "iub":
        raise InputError(field, f"shape {tuple(values.shape)} of {values.dtype}", f"({size},), one integer per {per}")
    return values.astype(namespace(values).int64, copy=False)


def _check_shapes(fields: Fields, n: int, m: int) -> None:
    if tuple(fields["terminated"].shape) != (n,):
        raise InputError(
            "terminated", f"shape {tuple(fields['terminated'].shape)}", f"({n},), one entry per trajectory"
        )
    for name, values in fields["columns"].items():
        if values.shape[:1] != (m,):
            raise InputError(f"column {name}", f"shape {tuple(values.shape)}", f"{m} rows")
    for name, values in fields["trajectory_columns"].items():
        if values.shape[:1] != (n,):
            raise InputError(f"trajectory column {name}", f"shape {tuple(values.shape)}", f"{n} rows")


def _check_parents(parent: Array, offsets: Array, group: Array, n: int, m: int) -> Array:
    parent = _one_integer_each(parent, "parent", n, "trajectory")
    if bool((parent < -1).any()) or bool((parent >= m).any()):
        raise InputError("parent", f"rows from {int(parent.min())} to {int(parent.max())}", f"-1 or a row below {m}")
    branches = parent >= 0
    if bool(branches.any()):
        which = rows_of(offsets, m)
        if bool((group[which[parent[branches]]] != group[branches]).any()):
            raise InputError("parent", "a row of another group", "a row of the branch's own group")
        for _ in _levels(parent, which):
            pass
    return parent


def _check_batches(group: Array, batch: Array) -> None:
    of_group = namespace(group).zeros(int(group.max()) + 1, batch.dtype)
    of_group[group] = batch
    if bool((of_group[group] != batch).any()):
        raise InputError("batch", "one group in two batches", "groups nested in batches")


def _numbers(fields: Fields, nan: str) -> Fields:
    """Refuse NaN and infinite rewards, or take their trajectories out of all statistics."""
    choose("nan", nan, ("raise", "omit"))
    reward, offsets = fields["reward"], fields["offsets"]
    xp = namespace(reward)
    bad = ~xp.isfinite(reward)
    if not bool(bad.any()):
        return fields
    if nan == "raise":
        row = int(xp.flatnonzero(bad)[0])
        raise InputError("reward", f"{float(reward[row])} at row {row}", "finite numbers, or nan='omit'")
    trajectory = rows_of(offsets, reward.shape[0])
    omitted = xp.zeros(offsets.shape[0] - 1, bool)
    omitted[trajectory[bad]] = True
    weight = fields["columns"].get("weight", xp.ones(reward.shape[0]))
    return fields | {
        "reward": xp.where(bad, 0.0, reward),
        "columns": fields["columns"] | {"weight": xp.where(omitted[trajectory], 0.0, weight)},
        "trajectory_columns": fields["trajectory_columns"] | {"omitted": omitted},
    }
