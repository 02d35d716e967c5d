"""Rollouts: derived columns, taking trajectories, folding steps, and torch tensors that share memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, MissingColumnError
from creditsim.rollouts import FIELDS, Rollouts


def _rollouts(**changes: Any) -> Rollouts:
    fields: dict[str, Any] = {
        "offsets": np.array([0, 2, 2, 5, 6]),
        "group": np.array([0, 0, 1, 2]),
        "batch": np.array([0, 0, 0, 1]),
        "observation": np.array([3, 1, 4, 1, 5, 9]),
        "action": np.array([1, 0, 1, 0, 1, 0]),
        "reward": np.arange(6.0),
        "terminated": np.array([True, False, True, False]),
        "columns": {"value": np.arange(12.0).reshape(6, 2)},
        "trajectory_columns": {"success": np.array([1, 0, 1, 0])},
    }
    return Rollouts.flat(**{**fields, **changes})


def test_derived_columns() -> None:
    rollouts = _rollouts()
    assert (rollouts.n_trajectories, rollouts.n_rows, rollouts.n_groups, rollouts.n_batches) == (4, 6, 3, 2)
    assert rollouts.trajectory.tolist() == [0, 0, 2, 2, 2, 3]
    assert rollouts.group_rows.tolist() == [0, 0, 1, 1, 1, 2]
    assert rollouts.batch_rows.tolist() == [0, 0, 0, 0, 0, 1]
    assert rollouts.previous.tolist() == [-1, 0, -1, 2, 3, -1]
    assert rollouts.length.tolist() == [2, 0, 3, 1]
    assert not rollouts.is_tree


def test_columns_by_name() -> None:
    rollouts = _rollouts().with_columns(weight=np.ones(6), reward=np.zeros(6))
    assert rollouts.column("weight").sum() == 6 and not rollouts.column("reward").any()
    assert rollouts.with_trajectory_columns(answer=np.arange(4)).column("answer").tolist() == [0, 1, 2, 3]
    assert rollouts.has("value") and rollouts.has("success") and rollouts.has("step") and not rollouts.has("valu")
    with pytest.raises(MissingColumnError, match=r"no 'valu', needed by gae@verl, allowed .*; nearest: value"):
        rollouts.column("valu", needed_by="gae@verl")
    with pytest.raises(InputError, match=r"column weight: got shape \(5,\), allowed 6 rows"):
        rollouts.with_columns(weight=np.ones(5))
    with pytest.raises(InputError, match=r"trajectory column answer: got shape \(6,\), allowed 4 rows"):
        rollouts.with_trajectory_columns(answer=np.ones(6))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_take_repeats_trajectories(chosen: list[int]) -> None:
    rollouts = _rollouts()
    taken = rollouts.take(np.array(chosen))
    rows = [row for i in chosen for row in range(int(rollouts.offsets[i]), int(rollouts.offsets[i + 1]))]
    np.testing.assert_array_equal(taken.reward, rollouts.reward[rows])
    np.testing.assert_array_equal(taken.column("value"), rollouts.column("value")[rows])
    np.testing.assert_array_equal(taken.column("success"), rollouts.column("success")[chosen])
    assert taken.length.tolist() == [int(rollouts.length[i]) for i in chosen]
    kept = sorted({int(rollouts.group[i]) for i in chosen})
    assert taken.group.tolist() == [kept.index(int(rollouts.group[i])) for i in chosen]


def test_take_by_mask_and_with_new_groups() -> None:
    rollouts = _rollouts()
    assert rollouts.take(np.array([True, False, False, True])).reward.tolist() == [0, 1, 5]
    again = rollouts.take([0, 0], group=np.array([8, 3]), batch=np.array([1, 1]))
    assert again.group.tolist() == [1, 0] and again.batch.tolist() == [0, 0]
    assert rollouts.take([]).n_rows == 0


def test_take_keeps_labels_true() -> None:
    rollouts = Rollouts.from_steps(
        traj=list("pqrs"), group=list("ghij"), batch=list("xxyy"), observation=list("kkll"), reward=[1.0, 2.0, 3.0, 4.0]
    )
    taken = rollouts.take(np.array([3, 1]))
    assert taken.labels["traj"].tolist() == ["s", "q"]
    assert taken.labels["group"][taken.group].tolist() == ["j", "h"]
    assert taken.labels["batch"][taken.batch].tolist() == ["y", "x"]
    assert taken.labels["observation"][taken.observation].tolist() == ["l", "k"]
    assert "group" not in rollouts.take([0, 1], group=np.array([0, 0])).labels


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (([4],), "trajectories: got shape (1,) of int64, allowed numbers in 0..3"),
        (([-1],), "trajectories: got"),
        (([0.5],), "trajectories: got shape (1,) of float64"),
        (([True, False],), "trajectories: got shape (2,) of bool"),
        (([0, 1], [0]), "group: got shape (1,), allowed (2,)"),
    ],
)
def test_take_refuses(arguments: tuple[Any, ...], line: str) -> None:
    with pytest.raises(InputError) as error:
        _rollouts().take(*arguments)
    assert str(error.value).startswith(line)


def _decisions() -> Rollouts:
    return _rollouts(
        step=np.array([0, 0, 0, 1, 1, 0]),
        columns={
            "tokens": np.array([2, 3, 1, 1, 1, 4]),
            "weight": np.array([1.0, 0.0, 0.5, 1.0, 1.0, 1.0]),
            "valid": np.array([True, False, True, True, True, True]),
            "next_value": np.arange(6.0) * 10,
            "value": np.arange(6.0) * 100,
        },
    )


def test_steps_fold_decisions() -> None:
    rollouts = _decisions()
    folded, step_row = rollouts.steps()
    assert step_row.tolist() == [0, 0, 1, 2, 2, 3]
    assert folded.offsets.tolist() == [0, 1, 1, 3, 4] and folded.step.tolist() == [0, 0, 1, 0]
    assert folded.reward.tolist() == [1, 2, 7, 5]
    assert folded.observation.tolist() == [3, 4, 1, 9] and folded.action.tolist() == [1, 1, 0, 0]
    assert folded.column("tokens").tolist() == [5, 1, 2, 4]
    assert folded.column("weight").tolist() == [1.0, 0.5, 1.0, 1.0]
    assert folded.column("valid").tolist() == [False, True, True, True]
    assert folded.column("next_value").tolist() == [10, 20, 40, 50]
    assert folded.column("value").tolist() == [0, 200, 300, 500]
    counted = _rollouts(step=np.array([0, 0, 0, 1, 1, 0])).steps()[0]
    assert counted.column("tokens").tolist() == [2, 1, 2, 1]


def test_steps_without_several_decisions_are_the_rollouts_themselves() -> None:
    rollouts = _rollouts()
    folded, step_row = rollouts.steps()
    assert folded is rollouts and step_row.tolist() == list(range(6))


def test_input_order_without_reordering_is_the_identity() -> None:
    rollouts = _rollouts()
    assert rollouts.to_input_order(rollouts.reward) is rollouts.reward


def test_torch_tensors_share_memory_there_and_back() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    reward = torch.arange(6.0, dtype=torch.float64)
    plain = _decisions()
    rollouts = Rollouts.flat(
        offsets=torch.from_numpy(plain.offsets),
        group=torch.from_numpy(plain.group),
        batch=torch.from_numpy(plain.batch),
        observation=torch.from_numpy(plain.observation),
        action=torch.from_numpy(plain.action),
        step=torch.from_numpy(plain.step),
        terminated=torch.from_numpy(plain.terminated),
        reward=reward,
        columns={name: torch.from_numpy(values) for name, values in plain.columns.items()},
        trajectory_columns={name: torch.from_numpy(values) for name, values in plain.trajectory_columns.items()},
    )
    assert all(isinstance(getattr(rollouts, name), torch.Tensor) for name in FIELDS)
    assert rollouts.reward.data_ptr() == reward.data_ptr()
    native = rollouts.native()
    native.reward[0] = 7.0
    assert reward[0] == 7.0
    native.reward[0] = 0.0
    for name in ("trajectory", "group_rows", "batch_rows", "previous", "first_row", "length"):
        assert isinstance(getattr(rollouts, name), torch.Tensor)
        assert getattr(rollouts, name).tolist() == getattr(plain, name).tolist()
    assert (rollouts.n_groups, rollouts.is_tree) == (3, False)
    results = [
        (rollouts.take(torch.tensor([2, 0])), plain.take([2, 0])),
        (rollouts.steps()[0], plain.steps()[0]),
        (rollouts.paths()[0], plain.paths()[0]),
    ]
    for got, expected in results:
        for name in (*FIELDS, *expected.columns, *expected.trajectory_columns):
            assert isinstance(got.column(name), torch.Tensor)
            np.testing.assert_array_equal(got.column(name).numpy(), expected.column(name))
    ids, n = rollouts.siblings()
    assert isinstance(ids, torch.Tensor) and (ids.tolist(), n) == (plain.siblings()[0].tolist(), plain.siblings()[1])


def test_torch_in_the_door_is_checked_like_any_other() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(InputError, match="reward: got nan at row 1"):
        Rollouts.flat(offsets=[0, 2], group=[0], reward=torch.tensor([0.0, float("nan")]))
    steps = Rollouts.from_steps(traj=torch.tensor([5, 5]), group=torch.tensor([1, 1]), reward=torch.tensor([1.0, 2.0]))
    assert isinstance(steps.reward, np.ndarray) and steps.reward.dtype == np.float32
