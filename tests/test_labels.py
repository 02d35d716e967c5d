"""Labels of any type become dense ids in order of first appearance."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.labels import as_column, intern

_UUIDS = [uuid.UUID(int=i) for i in (7, 3)]


def _check(labels: Any, expected: list[Any]) -> None:
    ids, names = intern(labels, "group")
    table: dict[Any, int] = {}
    assert ids.dtype == np.int64
    assert ids.tolist() == [table.setdefault(label, len(table)) for label in expected]
    assert names[ids].tolist() == expected


@given(st.lists(st.one_of(st.integers(), st.text(max_size=3), st.uuids())))
def test_interning_is_a_dict(labels: list[Any]) -> None:
    _check(labels, labels)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_interning_integers_of_any_spread(labels: list[int]) -> None:
    _check(labels, labels)
    _check(np.array(labels, np.int64), labels)


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "b"],
        [_UUIDS[0], _UUIDS[1], _UUIDS[0]],
        [5, 5, 2],
        [-3, 10**12, -3],
        [2**63, -1, 2**63],
        [2**80, 1],
        [True, False],
        [(1, "x"), (1, "y"), (1, "x")],
        [],
        ["only"],
    ],
    ids=str,
)
def test_label_types(labels: list[Any]) -> None:
    _check(labels, labels)


@pytest.mark.parametrize("dtype", [np.uint64, np.int8, "<U2", object, ">i4", bool])
def test_arrays_of_labels(dtype: Any) -> None:
    labels = np.array([3, 1, 3, 0]).astype(dtype)
    _check(labels, labels.tolist())


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        ([0.5, 1.5], "group: got the label 0.5"),
        (np.array([0.5]), "group: got labels of type float64"),
        (["a", None], "group: got the label None"),
        (["a", float("nan")], "group: got the label nan"),
        ([["a"], ["b"]], "group: got a label that cannot be hashed"),
        (np.zeros((2, 2), int), "group: got an array of shape (2, 2)"),
        (np.array(["2020-01-01"], "M8[D]"), "group: got labels of type datetime64[D]"),
    ],
)
def test_labels_that_are_refused(labels: Any, line: str) -> None:
    with pytest.raises(InputError) as error:
        intern(labels, "group")
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_columns() -> None:
    big = np.arange(3).astype(">f8")
    assert as_column(big, "value", 3).dtype.isnative
    assert as_column(np.ones((3, 2)), "value", 3, "any").shape == (3, 2)
    for values, line in (
        ([1, 2], "value: got shape (2,), allowed 3 rows"),
        (np.ones((3, 2)), "value: got shape (3, 2), allowed (3,), one number per row"),
        (["a", "b", "c"], "value: got values of type <U1, allowed numbers"),
        ([[1], [1, 2], [1]], "value: got entries of unequal shape"),
    ):
        with pytest.raises(InputError) as error:
            as_column(values, "value", 3)
        assert str(error.value).startswith(line)
