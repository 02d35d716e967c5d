"""A tree of one-row trajectories as arrays with the replicate first, to be carried from call to call in the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.rollouts import Rollouts

__all__ = ["chosen", "pack", "unpack"]

_FIELDS = ("terminated", "observation", "action", "reward", "step")


def chosen(tree: Rollouts, rows: np.ndarray) -> Rollouts:
    """The rows named, in that order, with their parents among them; unlike `Rollouts.take`, ids stay as they are."""
    place = np.full(tree.n_rows + 1, -1)
    place[rows] = np.arange(rows.size)
    fields: dict[str, Any] = {name: getattr(tree, name)[rows] for name in (*_FIELDS, "group", "batch")}
    return Rollouts(
        offsets=np.arange(rows.size + 1),
        parent=place[tree.parent[rows]],
        columns={name: values[rows] for name, values in tree.columns.items()},
        **fields,
    )


def pack(tree: Rollouts, marks: Mapping[str, np.ndarray], replicates: int, groups: int) -> dict[str, np.ndarray]:
    """Arrays `dfs_*` (R, K, ...), K the most rows of a replicate, and `dfs_rows` (R,), how many each has.

    `tree` is ordered by batch; `marks` are further arrays (M,). Parents and groups are counted inside the replicate.
    """
    count = np.bincount(tree.batch, minlength=replicates)
    first = np.cumsum(count) - count
    place = np.arange(tree.n_rows) - first[tree.batch]

    def padded(values: np.ndarray) -> np.ndarray:
        out = np.zeros((replicates, int(count.max(initial=0)), *values.shape[1:]), values.dtype)
        out[tree.batch, place] = values
        return out

    parent = np.where(tree.parent >= 0, tree.parent - first[tree.batch], -1)
    named = {"parent": parent, "group": tree.group - tree.batch * groups, **marks}
    named |= {name: getattr(tree, name) for name in _FIELDS}
    named |= {f"column_{name}": values for name, values in tree.columns.items()}
    return {"dfs_rows": count, **{f"dfs_{name}": padded(values) for name, values in named.items()}}


def unpack(state: Mapping[str, Any], groups: int) -> tuple[Rollouts | None, dict[str, np.ndarray]]:
    """The tree and its marks `open`, `age`, `rank` again; None where the state carries no row."""
    count = state.get("dfs_rows", np.zeros(0, np.int64))
    if count.sum() == 0:
        return None, {}
    inside = np.arange(int(count.max())) < count[:, None]
    batch = np.repeat(np.arange(count.size), count)
    flat = {name[4:]: state[name][inside] for name in state if name.startswith("dfs_") and _per_row(name)}
    parent = flat["parent"] + np.where(flat["parent"] >= 0, (np.cumsum(count) - count)[batch], 0)
    fields: dict[str, Any] = {name: flat[name] for name in _FIELDS}
    tree = Rollouts(
        offsets=np.arange(batch.size + 1),
        parent=parent,
        group=flat["group"] + batch * groups,
        batch=batch,
        columns={name.removeprefix("column_"): x for name, x in flat.items() if name.startswith("column_")},
        **fields,
    )
    return tree, {name: flat[name] for name in ("open", "age", "rank")}


def _per_row(name: str) -> bool:
    return name not in ("dfs_rows", "dfs_finished", "dfs_explored")
