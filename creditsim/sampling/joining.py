"""What every sampler's `extend` shares: reading which rows and copies are asked for, and appending what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts

__all__ = ["asked_copies", "asked_rows", "joined"]


def asked_copies(copies: Any, n: int, of: str) -> np.ndarray:
    """(n,) int64 copies per row or group, from an integer or n of them; InputError for anything else."""
    counts = np.asarray(copies)
    if counts.dtype.kind not in "iu" or counts.shape not in {(), (n,)}:
        raise InputError("copies", f"shape {counts.shape} of {counts.dtype}", f"an integer, or {n}, one per {of}")
    if counts.size and counts.min() < 0:
        raise InputError("copies", int(counts.min()), "numbers >= 0")
    return np.broadcast_to(counts.astype(np.int64), (n,))


def asked_rows(
    rollouts: Rollouts | None, after: Any, copies: Any, continues: Callable[[Rollouts], np.ndarray]
) -> tuple[Rollouts, np.ndarray]:
    """The rollouts, and the row that each new trajectory goes on from; InputError for rows that none can go on from."""
    if rollouts is None:
        raise InputError("after", "rows", "None where there are no rollouts yet")
    rows = np.asarray(after)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise InputError("after", f"shape {rows.shape} of {rows.dtype}", "a list of row numbers")
    rows = rows.astype(np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= rollouts.n_rows):
        raise InputError("after", f"rows {rows.min()}..{rows.max()}", f"rows 0..{rollouts.n_rows - 1}")
    ended = rows[~continues(rollouts)[rows]]
    if ended.size:
        raise InputError("after", f"row {ended[0]}, which ended its episode", "rows that the episode goes on from")
    return rollouts, np.repeat(rows, asked_copies(copies, rows.size, "row"))


def joined(
    rollouts: Rollouts | None,
    length: np.ndarray,
    fields: Mapping[str, np.ndarray],
    columns: Mapping[str, np.ndarray],
    weight: float,
) -> Rollouts:
    """Return `rollouts` with new trajectories at the end.

    `length` (n,) rows of each; `fields` all fields of Rollouts but `offsets`, `columns` per new row, which must be
    those that the rollouts have. A column `weight` appears once some weight is not 1.
    """
    rows = int(length.sum())
    new = dict(columns)
    if rollouts is None:
        if weight != 1.0:
            new["weight"] = np.full(rows, weight)
        first: dict[str, Any] = dict(fields)
        return Rollouts(offsets=np.concatenate([[0], np.cumsum(length)]), columns=new, **first)
    old = dict(rollouts.columns)
    if weight != 1.0 or "weight" in old:
        old.setdefault("weight", np.ones(rollouts.n_rows))
        new["weight"] = np.full(rows, weight)
    strange = [*(set(old) ^ set(new)), *rollouts.trajectory_columns]
    if strange:
        raise InputError("rollouts", f"column {strange[0]}", "this sampler's own columns; add others after extend")
    both: dict[str, Any] = {name: np.concatenate([getattr(rollouts, name), x]) for name, x in fields.items()}
    return Rollouts(
        offsets=np.concatenate([rollouts.offsets, rollouts.n_rows + np.cumsum(length)]),
        columns={name: np.concatenate([old[name], values]) for name, values in new.items()},
        **both,
    )
