"""Rollouts as Parquet, one row per trajectory, with the texts beside the numbers; bit-identical on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from creditsim.arrays import to_numpy
from creditsim.errors import CorruptFileError, CreditsimError, InputError
from creditsim.rollouts import Rollouts
from creditsim.rollouts_file import KIND, PER_ROW, PER_TRAJECTORY, SCHEMA, read_numbers
from creditsim.store import check_writable
from creditsim.study.files import write_sealed
from creditsim.study.provenance import provenance
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import FIELD_TYPES, Records

__all__ = ["SCHEMA", "Stored", "read_rollouts", "write_rollouts"]

_TYPES: Mapping[str, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
    "integers": pa.list_(pa.int64()),
    "numbers": pa.list_(pa.float64()),
}


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds."""

    rollouts: Rollouts
    records: Records | None
    """The texts; None where none were stored."""
    interner: Interner | None
    """The names behind the ids; None where none were stored."""
    facts: Mapping[str, Any]
    """`made`: how they came about, as the writer told it; `provenance`: versions, commit and machine."""


def write_rollouts(
    path: str | Path,
    rollouts: Rollouts,
    records: Records | None = None,
    interner: Interner | None = None,
    made: Mapping[str, Any] | None = None,
) -> None:
    """Write rollouts, the records of their rows and the names of their ids to one Parquet file, whole or not at all.

    One row per trajectory: fields and columns per row of rollouts are lists, those per trajectory plain values. Names
    in the file: fields as they are, `row.<name>`, `trajectory.<name>`, `text.<field of a record>`; places are not
    stored. A record that a branch goes on from must be one of the rows' own, or it cannot be replayed later.
    `made` is anything JSON can hold. Arrays of any library are stored as NumPy.
    Errors: InputError for a path that cannot be written, for arrays of another kind than bool, integer, float or text,
    and for labels that are neither text nor integers.
    """
    target = check_writable(path)
    given = rollouts.map_arrays(to_numpy)
    offsets = pa.array(given.offsets)
    columns: dict[str, pa.Array] = {name: _to_arrow(name, getattr(given, name)) for name in PER_TRAJECTORY}
    layout = {name: _layout(getattr(given, name)) for name in (*PER_TRAJECTORY, *PER_ROW)}
    for name in PER_ROW:
        columns[name] = _ragged(offsets, _to_arrow(name, getattr(given, name)))
    for name, values in given.columns.items():
        columns[f"row.{name}"] = _ragged(offsets, _to_arrow(f"column {name}", values))
        layout[f"row.{name}"] = _layout(values)
    for name, values in given.trajectory_columns.items():
        columns[f"trajectory.{name}"] = _to_arrow(f"trajectory column {name}", values)
        layout[f"trajectory.{name}"] = _layout(values)
    if records is not None:
        for name, values in records.columns(given.column("record", "texts")).items():
            columns[f"text.{name}"] = _ragged(offsets, pa.array(values, _TYPES[FIELD_TYPES[name]]))
    facts = {
        "schema": SCHEMA,
        "kind": KIND,
        "layout": layout,
        "labels": {name: _plain_labels(name, labels) for name, labels in given.labels.items()},
        "row_order": None if given.row_order is None else to_numpy(given.row_order).tolist(),
        "texts": records is not None,
        "names": None if interner is None else interner.names(),
        "made": dict(made or {}),
        "provenance": provenance(),
    }
    write_sealed(target, pa.table(columns), facts)


def read_rollouts(path: str | Path) -> Stored:
    """Read what `write_rollouts` wrote, on NumPy arrays.

    Errors, one line each: InputError where there is no such file or it holds something else or a newer schema,
    CorruptFileError where it is damaged.
    """
    found = read_numbers(path)
    facts, lists, records = found.facts, found.lists, None
    try:
        if facts["texts"]:
            records = Records.from_columns({name: lists[f"text.{name}"].flatten().to_pylist() for name in FIELD_TYPES})
        interner = None if facts["names"] is None else Interner(facts["names"])
        return Stored(found.rollouts, records, interner, {name: facts[name] for name in ("made", "provenance")})
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, CreditsimError):
            raise
        raise CorruptFileError(str(path), f"{type(error).__name__} {error}", "a whole file of rollouts") from None


def _layout(values: np.ndarray) -> list[Any]:
    return [values.dtype.str, list(values.shape[1:])]


def _to_arrow(field: str, values: np.ndarray) -> pa.Array:
    """An Arrow array (n,) of numbers, texts, or lists of fixed size for further axes."""
    if values.dtype.kind == "U":
        return pa.array(values.tolist(), pa.string())
    if values.dtype.kind not in "biuf":
        raise InputError(field, f"values of type {values.dtype}", "bool, integers, floats or text")
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    inner = int(np.prod(values.shape[1:]))
    if values.ndim == 1:
        return flat
    if inner == 0:
        raise InputError(field, f"shape {values.shape}", "no axis of length 0")
    return pa.FixedSizeListArray.from_arrays(flat, inner)


def _ragged(offsets: pa.Array, values: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(offsets, values)


def _plain_labels(name: str, labels: Any) -> dict[str, Any]:
    array = to_numpy(labels)
    plain = array.tolist()
    odd = next((label for label in plain if type(label) not in (str, int)), None)
    if odd is not None:
        raise InputError(f"labels of {name}", f"labels of type {type(odd).__name__}", "text or integers")
    return {"dtype": array.dtype.str, "values": plain}
