"""What every sampler shares: which rows and copies were asked for, and new trajectories behind old ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.sampling.joining import asked_copies, asked_rows, joined

lengths = st.lists(st.integers(0, 4), min_size=1, max_size=5)


def fields(length: list[int], first: int = 0) -> dict[str, np.ndarray]:
    """Fields of trajectories of these lengths; row i has observation first + i."""
    rows, n = sum(length), len(length)
    return {
        "parent": np.full(n, -1), "group": np.zeros(n, np.int64), "batch": np.zeros(n, np.int64),
        "terminated": np.ones(n, bool), "observation": first + np.arange(rows), "action": np.zeros(rows, np.int64),
        "reward": np.arange(rows) * 0.5, "step": np.concatenate([np.arange(k) for k in length]).astype(np.int64),
    }  # fmt: skip


def drawn(length: list[int], first: int = 0, weight: float = 1.0, before: Rollouts | None = None) -> Rollouts:
    columns = {"tag": 100 + first + np.arange(sum(length))}
    return joined(before, np.array(length, np.int64), fields(length, first), columns, weight)


# --- copies -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 5), st.integers(0, 6))
def test_one_number_is_for_all(copies: int, n: int) -> None:
    assert asked_copies(copies, n, "row").tolist() == [copies] * n
    assert asked_copies(np.int32(copies), n, "row").dtype == np.int64


@given(st.lists(st.integers(0, 5), max_size=6))
def test_numbers_of_their_own_stay(copies: list[int]) -> None:
    given_copies = np.array(copies, np.int64)
    assert asked_copies(given_copies, len(copies), "row").tolist() == copies


@pytest.mark.parametrize("bad", [1.5, "2", True, [1, 2], [[1]], None, np.array([1.0, 2.0, 3.0])])
def test_what_is_no_number_of_copies(bad: Any) -> None:
    with pytest.raises(InputError, match=r"copies: got shape .* allowed an integer, or 3, one per group"):
        asked_copies(bad, 3, "group")


def test_fewer_than_none() -> None:
    for bad in (-1, [0, -2, 1]):
        with pytest.raises(InputError, match=r"copies: got -\d, allowed numbers >= 0"):
            asked_copies(bad, 3, "row")


# --- rows -------------------------------------------------------------------------------------------------------------


def inner(rollouts: Rollouts) -> np.ndarray:
    """All rows but the last of each trajectory go on."""
    out = np.ones(rollouts.n_rows, bool)
    out[rollouts.offsets[1:][rollouts.length > 0] - 1] = False
    return out


@given(lengths, st.data())
def test_rows_come_as_often_as_asked_in_their_order(length: list[int], data: st.DataObject) -> None:
    rollouts = drawn(length)
    live = np.flatnonzero(inner(rollouts)).tolist()
    rows = data.draw(st.lists(st.sampled_from(live), max_size=5)) if live else []
    copies = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    same, got = asked_rows(rollouts, rows, np.array(copies, np.int64), inner)
    assert same is rollouts
    assert got.tolist() == [row for row, k in zip(rows, copies, strict=True) for _ in range(k)]


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([2], "row 2, which ended its episode"),
        ([0, 2], "row 2, which ended"),
        ([-1], r"rows -1..-1, allowed rows 0..4"),
        ([5], r"rows 5..5, allowed rows 0..4"),
        ([0.0], "shape .* of float64, allowed a list of row numbers"),
        ([True], "shape .* of bool"),
        (0, r"shape \(\)"),
        ([[0]], r"shape \(1, 1\)"),
    ],
)
def test_rows_that_none_can_go_on_from(after: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"after: got {words}"):
        asked_rows(drawn([3, 2]), after, 1, inner)


def test_rows_of_nothing() -> None:
    with pytest.raises(InputError, match="after: got rows, allowed None where there are no rollouts yet"):
        asked_rows(None, [0], 1, inner)


# --- joining ----------------------------------------------------------------------------------------------------------


@given(lengths, lengths)
def test_new_trajectories_stand_behind_the_old_ones(old: list[int], new: list[int]) -> None:
    first = drawn(old)
    both = drawn(new, first=sum(old), before=first)
    assert both.length.tolist() == old + new
    assert both.observation.tolist() == list(range(sum(old) + sum(new)))
    assert both.columns["tag"].tolist() == [100 + i for i in range(sum(old) + sum(new))]
    assert "weight" not in both.columns
    for name in ("observation", "reward", "step"):
        assert getattr(both, name)[: first.n_rows].tolist() == getattr(first, name).tolist()
    step = both.step.tolist()
    assert step == [i for k in old + new for i in range(k)]


@pytest.mark.parametrize(("before", "after", "expected"), [
    (1.0, 1.0, None), (1.0, 0.5, [1.0, 1.0, 0.5]), (0.5, 1.0, [0.5, 0.5, 1.0]), (0.0, 2.0, [0.0, 0.0, 2.0]),
])  # fmt: skip
def test_weights_appear_once_one_is_not_one(before: float, after: float, expected: list[float] | None) -> None:
    both = drawn([1], first=2, weight=after, before=drawn([2], weight=before))
    weight = both.columns.get("weight")
    assert (None if weight is None else weight.tolist()) == expected


def test_columns_of_others_are_refused_by_name() -> None:
    more = drawn([2]).with_columns(extra=np.zeros(2))
    with pytest.raises(InputError, match="column extra, allowed this sampler's own columns"):
        drawn([1], before=more)
    named = drawn([2]).with_trajectory_columns(success=np.zeros(1))
    with pytest.raises(InputError, match="column success"):
        drawn([1], before=named)
