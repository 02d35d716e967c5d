"""Stored rollouts: the numbers of a Parquet file with one row per trajectory, as rollouts again, bit by bit.

Whoever draws rollouts may keep more in the file (texts, names of ids); what is read here needs nothing but NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditsim.errors import CorruptFileError, CreditsimError, InputError
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.study.files import read_sealed

__all__ = ["KIND", "PER_ROW", "PER_TRAJECTORY", "SCHEMA", "RolloutsFile", "read_numbers"]

SCHEMA = 1
KIND = "rollouts"
PER_TRAJECTORY = ("parent", "group", "batch", "terminated")
PER_ROW = ("observation", "action", "reward", "step")


@dataclass(frozen=True, eq=False)
class RolloutsFile:
    """What a file of rollouts holds."""

    rollouts: Rollouts
    facts: Mapping[str, Any]
    """`made`: how they came about; `provenance`: versions, commit and machine; `names`: of ids, by space, or None."""
    lists: Mapping[str, Any]
    """Columns of the file by name, as Arrow arrays: those of rows are lists, one per trajectory."""


def read_numbers(path: str | Path) -> RolloutsFile:
    """Read the rollouts of a file, on NumPy arrays, as they were written: fields, columns, labels, order of rows.

    Errors, one line each: InputError where there is no such file or it holds something else or a newer schema,
    CorruptFileError where it is damaged.
    """
    try:
        table, facts = read_sealed(Path(path), SCHEMA)
    except FileNotFoundError:
        raise InputError(str(path), "no file", "a file of rollouts") from None
    if facts.get("kind") != KIND:
        raise InputError(str(path), "results of another kind", "a file of rollouts")
    try:
        return _read(table, facts)
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, CreditsimError):
            raise
        raise CorruptFileError(str(path), f"{type(error).__name__} {error}", "a whole file of rollouts") from None


def _read(table: pa.Table, facts: Mapping[str, Any]) -> RolloutsFile:
    layout = facts["layout"]
    lists = {name: _whole(table, name) for name in table.column_names}
    offsets = np.concatenate([[0], np.cumsum(_lengths(lists["observation"]))]).astype(np.int64)
    arrays = {
        name: _to_numpy(values if _per_trajectory(name) else values.flatten(), layout[name])
        for name, values in lists.items()
        if name in layout
    }
    order = facts["row_order"]
    rollouts = Rollouts(
        offsets=offsets,
        **{name: arrays[name] for name in FIELDS if name != "offsets"},
        columns={name[4:]: values for name, values in arrays.items() if name.startswith("row.")},
        trajectory_columns={name[11:]: values for name, values in arrays.items() if name.startswith("trajectory.")},
        row_order=None if order is None else np.array(order, np.int64),
        labels={name: _labels(values) for name, values in facts["labels"].items()},
    )
    return RolloutsFile(rollouts, facts, lists)


def _per_trajectory(name: str) -> bool:
    return name in PER_TRAJECTORY or name.startswith("trajectory.")


def _whole(table: pa.Table, name: str) -> Any:
    column = table.column(name).combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)


def _lengths(lists: Any) -> np.ndarray:
    return np.diff(lists.offsets.to_numpy(zero_copy_only=False))


def _to_numpy(values: Any, form: list[Any]) -> np.ndarray:
    dtype, shape = np.dtype(form[0]), tuple(form[1])
    if dtype.kind == "U":
        return np.array(values.to_pylist(), dtype)
    flat = values.flatten() if shape else values
    return np.array(flat.to_numpy(zero_copy_only=False), dtype).reshape(len(values), *shape)


def _labels(stored: Mapping[str, Any]) -> np.ndarray:
    out = np.empty(len(stored["values"]), stored["dtype"])
    out[:] = stored["values"]
    return out
