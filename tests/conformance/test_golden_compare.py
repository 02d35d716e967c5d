"""Comparison rules: tolerance, exact integers, labels up to renaming, nulls, ragged lists, masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from creditsim.conformance.compare import Difference, Tolerance, compare, plain

TOLERANCE = Tolerance(rtol=1e-2, atol=1e-3)


def misses(got: Any, want: Any, mask: Any = None, name: str = "x") -> list[str]:
    return [d.place for d in compare({name: got}, {name: want}, TOLERANCE, mask) if d.is_miss]


@pytest.mark.parametrize(
    ("got", "want", "hit"),
    [
        (1.0109, 1.0, True),
        (1.0111, 1.0, False),
        (0.0009, 0.0, True),
        (0.0011, 0.0, False),
        (-1.0, 1.0, False),
        (float("nan"), 1.0, False),
        (float("inf"), 1.0, False),
        (None, 1.0, False),
        (1.0, None, False),
        (None, None, True),
        (float("nan"), None, True),
        (1000, 1001, False),
        (1001, 1001, True),
        (1000.0, 1001, True),
    ],
)
def test_one_number(got: Any, want: Any, hit: bool):
    assert misses(got, want) == ([] if hit else ["x"])


def test_lists_name_the_place():
    assert misses([1.0, 2.0, 3.0], [1.0, 5.0, 3.0]) == ["x[1]"]
    assert misses([[1.0], [2.0, 3.0]], [[1.0], [2.0, 4.0]]) == ["x[1][1]"]


@pytest.mark.parametrize(("got", "want"), [([1.0], [1.0, 2.0]), (1.0, [1.0]), ([1.0], 1.0), ([[1.0]], [1.0])])
def test_other_shapes_are_misses(got: Any, want: Any):
    found = list(compare({"x": got}, {"x": want}, TOLERANCE))
    assert [d.is_miss for d in found] == [True]
    assert found[0].share == math.inf


def test_a_field_that_was_not_computed_is_a_miss():
    (found,) = compare({}, {"x": [1.0]}, TOLERANCE)
    assert (found.got, found.is_miss) == ("nothing", True)


def test_a_field_that_nobody_expects_is_not_looked_at():
    assert not misses([1.0], [1.0]) and not list(compare({"y": 1.0}, {}, TOLERANCE))


def test_blocks_may_nest():
    got = {"verl": {"a": [1.0], "b": [2.0]}}
    want = {"verl": {"a": [1.0], "b": [3.0]}}
    assert [d.place for d in compare(got, want, TOLERANCE) if d.is_miss] == ["verl.b[0]"]


def test_labels_are_compared_up_to_renaming():
    assert misses(np.array([5, 5, 2, 9]), [0, 0, 1, 2], name="step_group") == []
    assert misses(np.array([5, 5, 2, 2]), [0, 0, 1, 2], name="step_group") == ["step_group[3]"]
    assert misses(np.array([5, 5, 2]), [0, 0, 1], name="other") == ["other[0]", "other[1]", "other[2]"]
    assert misses(3, [0, 0, 1], name="step_group") == ["step_group"]


def test_a_mask_limits_matrices_of_its_shape():
    mask = [[1, 0], [1, 1]]
    assert misses([[1.0, 99.0], [2.0, 3.0]], [[1.0, 0.0], [2.0, 3.0]], mask) == []
    assert misses([[1.0, 99.0], [2.0, 9.0]], [[1.0, 0.0], [2.0, 3.0]], mask) == ["x[1][1]"]
    assert misses([1.0, 99.0], [1.0, 0.0], mask) == ["x[1]"]
    assert misses([[1.0, 99.0, 1.0], [0.0]], [[1.0, 0.0, 1.0], [0.0]], mask) == ["x[0][1]"]


def test_exact_comparison_with_no_tolerance():
    exact = Tolerance(0.0, 0.0)
    assert [d.share for d in compare({"x": [1.0, 1.0]}, {"x": [1.0, 2.0]}, exact)] == [0.0, math.inf]


def test_share_of_the_tolerance():
    assert Difference("x", 1.5, 1.0, 0.5, 2.0).share == 0.25


def test_plain_makes_lists_of_arrays():
    torch = pytest.importorskip("torch")
    got = plain({"a": np.array([1, 2]), "b": (torch.tensor([1.5]), 3.0), "c": np.float64(2.0)})
    assert got == {"a": [1, 2], "b": [[1.5], 3.0], "c": 2.0}
    assert type(got["a"][0]) is int
