"""Interning: labels of any type become dense integer ids, once, at the door."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from creditsim.arrays import to_numpy
from creditsim.errors import InputError

__all__ = ["as_column", "intern"]


def intern(labels: Any, field: str) -> tuple[np.ndarray, np.ndarray]:
    """Map labels to dense ids in order of first appearance.

    Parameters: `labels` (M,) strings, UUIDs, or integers of any sign and spread; `field` names the column in errors.
    Returns ids (M,) int64 and the labels (n,) so that `labels_n[ids]` gives the input back. Floats are refused: two
    computations of one quantity may differ in the last bit and would then be two labels.
    """
    array = labels if isinstance(labels, (list, tuple)) else to_numpy(labels)
    if not isinstance(array, np.ndarray):
        kinds = {type(label) for label in array}
        plain = np.asarray(array) if kinds <= {int, bool, np.int64, np.int32} else None
        # NumPy turns integers of both signs beyond 2^63 into floats; those stay Python integers.
        array = plain if plain is not None and plain.dtype.kind in "iub" else array
    if isinstance(array, np.ndarray):
        if array.ndim != 1:
            raise InputError(field, f"an array of shape {array.shape}", "one label per row")
        if array.dtype.kind in "iub":
            return _intern_integers(array)
        if array.dtype.kind not in "USO":
            raise InputError(field, f"labels of type {array.dtype}", "strings, UUIDs or integers")
        array = array.tolist()
    return _intern_objects(array, field)


def _intern_integers(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if labels.size and labels.dtype.kind != "b":
        top = int(labels.max())
        if int(labels.min()) >= 0 and top < 2 * labels.size + 16:
            return _intern_small(labels, top)
    values, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    return rank[inverse], values[order]


def _intern_small(labels: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    # Labels that are already nearly dense need no sort: one table of first places is enough.
    first = np.full(top + 1, labels.size, np.int64)
    first[labels[::-1]] = np.arange(labels.size - 1, -1, -1)
    present = np.flatnonzero(first < labels.size)
    order = present[np.argsort(first[present], kind="stable")]
    rank = np.empty(top + 1, np.int64)
    rank[order] = np.arange(order.size)
    return rank[labels], order.astype(labels.dtype)


def _intern_objects(labels: Sequence[Any], field: str) -> tuple[np.ndarray, np.ndarray]:
    # A missing key takes the next number, so that one pass over the labels does.
    table: defaultdict[Any, int] = defaultdict(count().__next__)
    try:
        ids = np.fromiter(map(table.__getitem__, labels), np.int64, len(labels))
    except TypeError as error:
        raise InputError(field, f"a label that cannot be hashed ({error})", "strings, UUIDs or integers") from None
    bad = next((label for label in table if label is None or isinstance(label, float)), None)
    if bad is not None or None in table:
        raise InputError(field, f"the label {bad!r}", "strings, UUIDs or integers")
    names = np.empty(len(table), object)
    names[:] = list(table)
    return ids, names


def as_column(values: Any, field: str, rows: int, kind: str = "number") -> np.ndarray:
    """Return `values` as an array with `rows` rows, or raise an InputError that names the field.

    `kind="number"` asks for one real number per row, "any" takes any further axes and any type.
    """
    try:
        array = to_numpy(values)
    except ValueError:
        raise InputError(field, "entries of unequal shape", f"{rows} rows of one shape") from None
    if array.shape[:1] != (rows,):
        raise InputError(field, f"shape {array.shape}", f"{rows} rows")
    if kind == "number" and array.ndim != 1:
        raise InputError(field, f"shape {array.shape}", f"({rows},), one number per row")
    if kind == "number" and array.dtype.kind not in "iufb":
        raise InputError(field, f"values of type {array.dtype}", "numbers")
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array)
