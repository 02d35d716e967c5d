"""The door of Rollouts: any row order and label type gets in, every fault is told in one line."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, UnknownNameError
from creditsim.rollouts import Rollouts

_TRAJ = ["a", "a", "b", "c", "c", "c"]
_GROUP = ["g", "g", "g", "h", "h", "h"]
_STEP = [0, 1, 0, 0, 1, 2]
_SEEN = ["x", "y", "x", "z", "z", "x"]
_REWARD = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def _steps(**changes: Any) -> Rollouts:
    rows: dict[str, Any] = {
        "traj": _TRAJ,
        "group": _GROUP,
        "step": _STEP,
        "observation": _SEEN,
        "reward": _REWARD,
    }
    return Rollouts.from_steps(**{**rows, **changes})


def _flat(**changes: Any) -> Rollouts:
    fields: dict[str, Any] = {"offsets": [0, 2, 2, 5], "group": [0, 0, 1], "reward": np.arange(5.0)}
    return Rollouts.flat(**{**fields, **changes})


@given(st.permutations(range(6)))
def test_rows_in_any_order_give_the_same_trajectories(order: list[int]) -> None:
    def pick(column: list[Any]) -> list[Any]:
        return [column[i] for i in order]

    rollouts = _steps(
        traj=pick(_TRAJ), group=pick(_GROUP), step=pick(_STEP), observation=pick(_SEEN), reward=pick(_REWARD)
    )
    labels = rollouts.labels
    named = [
        (labels["traj"][t], labels["group"][g], int(s), labels["observation"][o], float(r))
        for t, g, s, o, r in zip(
            rollouts.trajectory,
            rollouts.group_rows,
            rollouts.step,
            rollouts.observation,
            rollouts.reward,
            strict=True,
        )
    ]
    assert sorted(named) == sorted(zip(_TRAJ, _GROUP, _STEP, _SEEN, _REWARD, strict=True))
    assert (np.diff(rollouts.step) == 1).sum() == 3
    np.testing.assert_array_equal(rollouts.to_input_order(rollouts.reward), pick(_REWARD))
    # Trajectories come in the order in which they first appear.
    assert labels["traj"].tolist() == list(dict.fromkeys(pick(_TRAJ)))


@pytest.mark.parametrize(
    "make",
    [str, lambda i: uuid.UUID(int=i), lambda i: -7 * i, lambda i: i * 10**15],
    ids=["text", "UUIDs", "negative", "large"],
)
def test_labels_of_any_type(make: Any) -> None:
    plain = _steps()
    names = {label: make(i + 1) for i, label in enumerate("abcghxyz")}
    made = _steps(
        traj=[names[t] for t in _TRAJ], group=[names[g] for g in _GROUP], observation=[names[o] for o in _SEEN]
    )
    for name in ("offsets", "group", "batch", "observation", "reward", "step"):
        np.testing.assert_array_equal(getattr(made, name), getattr(plain, name))
    assert made.labels["group"].tolist() == [names["g"], names["h"]]


def test_defaults_and_extras() -> None:
    rollouts = Rollouts.from_steps(traj=[1, 1, 2], group=[0, 0, 0], reward=np.array([1, 0, 1]))
    assert rollouts.reward.dtype == np.float64 and rollouts.terminated.all() and rollouts.n_batches == 1
    assert rollouts.step.tolist() == [0, 1, 0] and rollouts.observation.tolist() == [0, 0, 0]
    rollouts = _steps(
        step=[4, 5, 9, 1, 2, 3],
        terminated={"a": True, "b": False, "c": True},
        columns={"value": np.arange(12).reshape(6, 2)},
        trajectory_columns={"success": {"a": 1, "b": 0, "c": 1}},
    )
    assert rollouts.step.tolist() == _STEP and rollouts.terminated.tolist() == [True, False, True]
    assert rollouts.column("value").shape == (6, 2) and rollouts.column("success").tolist() == [1, 0, 1]
    assert _steps(terminated=[True, True, False, True, True, True]).terminated.tolist() == [True, False, True]
    assert not _steps(terminated=False).terminated.any()
    assert _steps(reward=np.array(_REWARD, np.float32)).reward.dtype == np.float32
    assert _steps(reward=np.array(_REWARD, ">f8")).reward.dtype.isnative


def test_decisions_of_one_step() -> None:
    rollouts = Rollouts.from_steps(
        traj=["t"] * 4, group=["g"] * 4, step=[1, 0, 1, 0], decision=[0, 1, 1, 0], reward=[3.0, 2.0, 4.0, 1.0]
    )
    assert rollouts.reward.tolist() == [1, 2, 3, 4] and rollouts.step.tolist() == [0, 0, 1, 1]
    one = Rollouts.from_steps(traj=["t"] * 2, group=["g"] * 2, decision=[1, 0], reward=[2.0, 1.0])
    assert one.reward.tolist() == [1, 2] and one.step.tolist() == [0, 1]


def test_omitted_rewards_silence_their_trajectory() -> None:
    rollouts = _steps(reward=[0, np.nan, 2, 3, np.inf, 5], nan="omit")
    assert rollouts.column("omitted").tolist() == [True, False, True]
    assert rollouts.column("weight").tolist() == [0, 0, 1, 0, 0, 0]
    assert rollouts.reward.tolist() == [0, 0, 2, 3, 0, 5]
    kept = _flat(reward=np.array([1, np.nan, 2, 3, 4.0]), columns={"weight": np.full(5, 0.5)}, nan="omit")
    assert kept.column("weight").tolist() == [0, 0, 0.5, 0.5, 0.5]
    assert not _steps(nan="omit").has("omitted")


_STEP_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "ragged": ({"traj": _TRAJ[:-1]}, "traj: got 5 entries, allowed 6, one per reward"),
    "ragged step": ({"step": [0, 1]}, "step: got shape (2,), allowed 6 rows"),
    "ragged column": ({"columns": {"value": [1.0]}}, "column value: got shape (1,), allowed 6 rows"),
    "no rows": ({"reward": []}, "reward: got no rows"),
    "NaN": ({"reward": [0, 1, np.nan, 3, 4, 5]}, "reward: got nan at row 2, allowed finite numbers, or nan='omit'"),
    "infinity": ({"reward": [0, 1, 2, -np.inf, 4, 5]}, "reward: got -inf at row 3"),
    "text reward": ({"reward": list("abcdef")}, "reward: got values of type <U1, allowed numbers"),
    "matrix reward": ({"reward": np.ones((6, 2))}, "reward: got shape (6, 2)"),
    "nan policy": ({"nan": "omitt"}, "nan: got 'omitt', allowed raise | omit; nearest: omit"),
    "duplicate": ({"step": [0, 0, 0, 0, 1, 2]}, "step: got step 0 of trajectory 'a' twice"),
    "missing": ({"step": [0, 1, 0, 0, 2, 3]}, "step: got trajectory 'c' without step 1, allowed consecutive steps"),
    "float step": ({"step": [0.0] * 6}, "step: got values of type float64, allowed integers"),
    "same decision": ({"step": [0, 0, 0, 0, 1, 2], "decision": [1] * 6}, "step: got step 0 of trajectory 'a' twice"),
    "two groups": ({"group": list("gghhhh"), "traj": list("aaaccc")}, "group: got trajectory 'a' in two"),
    "two groups, numbers": (
        {"group": [1, 2, 2, 3, 3, 3], "traj": [7, 7, 8, 9, 9, 9]},
        "group: got trajectory 7 in two",
    ),
    "two batches": ({"batch": [0, 0, 1, 2, 2, 2]}, "batch: got one group in two batches, allowed groups nested"),
    "split batch": ({"batch": [0, 1, 0, 2, 2, 2]}, "batch: got trajectory 'a' in two"),
    "mixed end": ({"terminated": [True, False, True, True, True, True]}, "terminated: got trajectory 'a' in two"),
    "float end": ({"terminated": [0.5] * 6}, "terminated: got values of type float64"),
    "unknown end": ({"terminated": {"a": True}}, "trajectory column terminated: got no value for trajectory 'b'"),
    "float labels": ({"group": [0.5] * 6}, "group: got the label 0.5"),
    "missing label": ({"observation": ["x", None] * 3}, "observation: got the label None"),
}


@pytest.mark.parametrize("fault", _STEP_FAULTS)
def test_faults_of_steps_are_told_in_one_line(fault: str) -> None:
    changes, line = _STEP_FAULTS[fault]
    with pytest.raises((InputError, UnknownNameError)) as error:
        _steps(**changes)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


_FLAT_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "offsets end": ({"offsets": [0, 2, 2, 4]}, "offsets: got from 0 to 4, allowed a rise from 0 to 5"),
    "offsets fall": ({"offsets": [0, 3, 2, 5]}, "offsets: got from 0 to 5"),
    "float offsets": ({"offsets": [0.0, 2.0, 2.0, 5.0]}, "offsets: got shape (4,) of float64"),
    "no trajectory": ({"offsets": [0], "group": [], "reward": np.zeros(0)}, "offsets: got shape (1,)"),
    "group": ({"group": [0, 1]}, "group: got shape (2,), allowed (3,)"),
    "float group": ({"group": [0.0, 1.0, 1.0]}, "group: got labels of type float64"),
    "batch": ({"batch": [0, 1, 1]}, "batch: got one group in two batches"),
    "observation": ({"observation": [1, 2]}, "observation: got shape (2,) of int64, allowed (5,), one integer per row"),
    "float action": ({"action": np.ones(5)}, "action: got shape (5,) of float64, allowed (5,), one integer per row"),
    "step": ({"step": [0, 1]}, "step: got shape (2,)"),
    "terminated": ({"terminated": [True]}, "terminated: got shape (1,)"),
    "column": ({"columns": {"value": [1.0]}}, "column value: got shape (1,), allowed 5 rows"),
    "trajectory column": ({"trajectory_columns": {"answer": [1]}}, "trajectory column answer: got shape (1,)"),
    "objects": ({"reward": np.array([None] * 5)}, "reward: got values of type object"),
    "NaN": ({"reward": np.array([0, 1, np.nan, 3, 4])}, "reward: got nan at row 2"),
    "parent too large": ({"parent": [-1, -1, 5]}, "parent: got rows from -1 to 5, allowed -1 or a row below 5"),
    "parent below -1": ({"parent": [-2, -1, -1]}, "parent: got rows from -2 to -1"),
    "parent of another group": ({"parent": [-1, -1, 0]}, "parent: got a row of another group"),
    "own parent": ({"parent": [1, -1, -1]}, "parent: got branches that fork off each other in a circle"),
    "circle": (
        {"offsets": [0, 2, 5, 5], "group": [0, 0, 1], "parent": [3, 1, -1], "step": [0, 1, 0, 1, 2]},
        "parent: got branches that fork off each other in a circle",
    ),
    "float parent": ({"parent": [-1.0, -1.0, -1.0]}, "parent: got shape (3,) of float64"),
}


@pytest.mark.parametrize("fault", _FLAT_FAULTS)
def test_faults_of_flat_rows_are_told_in_one_line(fault: str) -> None:
    changes, line = _FLAT_FAULTS[fault]
    with pytest.raises(InputError) as error:
        _flat(**changes)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_flat_takes_ids_of_any_sign_and_empty_trajectories() -> None:
    rollouts = _flat(group=[-5, -5, 10**15], batch=[3, 3, -1], terminated=[1, 0, 1])
    assert rollouts.group.tolist() == [0, 0, 1] and rollouts.batch.tolist() == [0, 0, 1]
    assert rollouts.length.tolist() == [2, 0, 3] and rollouts.n_groups == rollouts.n_batches == 2
    assert rollouts.step.tolist() == [0, 1, 0, 1, 2] and rollouts.terminated.tolist() == [True, False, True]
    assert rollouts.first_row.tolist() == [True, False, True, False, False]
    assert _flat(offsets=np.array([0, 2, 2, 5], np.int32)).offsets.dtype == np.int64
    unchecked = _flat(offsets=np.array([0, 2, 2, 5]), group=np.array([4, 4, 4]), check=False)
    assert unchecked.group.tolist() == [4, 4, 4]
