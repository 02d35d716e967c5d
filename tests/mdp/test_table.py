"""What TabularMDP accepts, refuses, and copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.mdp import TabularMDP


def parts(**changes: Any) -> dict[str, Any]:
    """Two states, two actions, two successors, then the changes."""
    good: dict[str, Any] = {
        "successor": np.array([[[0, 1], [1, 1]], [[1, 1], [1, 1]]]),
        "probability": np.full((2, 2, 2), 0.5),
        "reward": np.zeros((2, 2, 2)),
        "terminal": [False, True],
        "horizon": 3,
    }
    return good | changes


BAD: list[tuple[dict[str, Any], str]] = [
    ({"probability": np.full((2, 2, 2), 0.4)}, "probability: got a row that sums to 0.8, allowed rows that sum to 1"),
    ({"probability": np.full((2, 2, 2), [1.5, -0.5])}, "probability: got -0.5, allowed probabilities >= 0"),
    ({"probability": np.full((2, 2, 2), np.nan)}, "probability: got nan"),
    ({"probability": np.full((2, 2, 3), 0.5)}, r"probability: got shape \(2, 2, 3\), allowed shape \(2, 2, 2\)"),
    ({"horizon": 0}, "horizon: got 0, allowed at least 1 step"),
    ({"reward": np.full((2, 2, 2), np.nan)}, "reward: got NaN or infinity"),
    ({"reward": np.full((2, 2, 2), np.inf)}, "reward: got NaN or infinity"),
    ({"reward": np.zeros((2, 2))}, "reward: got shape"),
    ({"successor": np.full((2, 2, 2), 2)}, r"successor: got states 2\.\.2, allowed 0\.\.1"),
    ({"successor": np.full((2, 2, 2), -1)}, r"successor: got states -1\.\.-1"),
    ({"successor": np.zeros((2, 2), int)}, r"successor: got shape \(2, 2\)"),
    ({"mask": np.zeros((2, 2), bool)}, "mask: got state 0 without an allowed action"),
    ({"start": 1}, "start: got a terminal state"),
    ({"start": 2}, r"start: got 2, allowed a state in 0\.\.1"),
    ({"start": -1}, r"start: got -1"),
    ({"start": [0.5, 0.4]}, "start: got a row that sums to 0.9"),
    ({"tick": [False, True]}, "tick: got a start state that begins no step"),
    ({"gamma": np.nan}, "gamma: got nan"),
    ({"observation": [-1, 0]}, "observation: got -1, allowed ids >= 0"),
    ({"context": [0]}, r"context: got shape \(1,\)"),
]


@pytest.mark.parametrize(("change", "line"), BAD)
def test_bad_tables_are_one_line_errors(change: dict[str, Any], line: str) -> None:
    TabularMDP.build(**parts())
    with pytest.raises(InputError, match="^" + line) as caught:
        TabularMDP.build(**parts(**change))
    assert "\n" not in str(caught.value)


def circle(ticks: list[bool]) -> TabularMDP:
    """0 -> 1 -> 2 -> 1, the episode never ending."""
    successor = np.array([1, 2, 1]).reshape(3, 1, 1)
    ones = np.ones((3, 1, 1))
    return TabularMDP.build(successor=successor, probability=ones, reward=ones, horizon=2, tick=np.array(ticks))


def test_a_step_that_never_ends_is_refused() -> None:
    with pytest.raises(InputError, match="tick: got states without tick that lead to each other in a circle"):
        _ = circle([True, False, False]).sweep_order
    assert circle([True, False, True]).sweep_order.size == 3


def test_a_circle_that_cannot_be_entered_is_none() -> None:
    mdp = circle([True, False, True])
    moves = mdp.successor.copy()
    blocked = TabularMDP.build(
        successor=np.concatenate([moves, moves], axis=1),
        probability=np.ones((3, 2, 1)),
        reward=np.zeros((3, 2, 1)),
        horizon=2,
        mask=np.array([[True, True], [True, False], [True, False]]),
        tick=mdp.tick,
    )
    assert blocked.sweep_order.size == 3


def test_inside_a_step_successors_come_first() -> None:
    successor = np.array([1, 3, 0, 2]).reshape(4, 1, 1)  # 0 (tick) -> 1 -> 3 -> 2 -> 0
    ones = np.ones((4, 1, 1))
    mdp = TabularMDP.build(
        successor=successor, probability=ones, reward=ones, horizon=2, tick=np.array([True, False, False, False])
    )
    assert mdp.sweep_order.tolist() == [2, 3, 1, 0]


def test_arrays_are_copied() -> None:
    given = parts(start=np.array([1.0, 0.0]), mask=np.ones((2, 2), bool))
    mdp = TabularMDP.build(**given)
    for name in ("successor", "probability", "reward", "start", "mask"):
        assert not np.shares_memory(getattr(mdp, name), given[name])
        assert getattr(mdp, name).flags.c_contiguous
        assert getattr(mdp, name).flags.writeable


def test_a_large_table_needs_memory_in_proportion() -> None:
    states = 200_000
    successor = np.minimum(np.arange(states) + 1, states - 1).reshape(-1, 1, 1)
    mdp = TabularMDP.build(
        successor=successor, probability=np.ones(successor.shape), reward=np.zeros(successor.shape), horizon=1, start=7
    )
    assert mdp.start[7] == 1.0
    assert mdp.start.sum() == 1.0


def test_several_rewards_add_up() -> None:
    mdp = TabularMDP.build(**parts(reward=np.full((2, 2, 2, 3), 0.25)))
    np.testing.assert_array_equal(mdp.scalar_reward, 0.75)
