"""Process signals against definitions written out row by row, on hand-made rollouts of two replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.rng import Purpose, normals
from creditsim.rollouts import Rollouts
from creditsim.signals import SIGNALS
from creditsim.signals.base import next_steps, return_to_go
from creditsim.signals.critic import critic
from creditsim.signals.invalid_action import invalid_action
from creditsim.signals.oracle_value import oracle_value

HORIZON = 4
CONTEXT_OF_STATE = np.array([0, 1, 1, 2, 3])


def rollouts(step: list[int] | None = None, terminated: tuple[bool, ...] = (True, False, True)) -> Rollouts:
    """Three trajectories of 3, 2 and 1 rows; the first two are replicate 0, the last is replicate 1."""
    state = np.array([0, 1, 3, 0, 2, 3])
    return Rollouts.flat(
        offsets=[0, 3, 5, 6],
        group=[0, 0, 1],
        batch=[0, 0, 1],
        reward=np.array([0.0, 1.0, 2.0, 0.5, 0.25, 4.0]),
        observation=state,
        action=np.array([0, 1, 0, 1, 1, 0]),
        terminated=np.array(terminated),
        step=np.array(step or [0, 1, 2, 0, 1, 0]),
        columns={
            "state": state,
            "next_state": np.array([1, 3, 4, 2, 0, 4]),
            "context": CONTEXT_OF_STATE[state],
        },
    )


def loop_state(**more: Any) -> dict[str, Any]:
    return {"replicate": np.array([0, 1]), "context_of_state": CONTEXT_OF_STATE, **more}


def test_critic_predicts_before_it_learns() -> None:
    columns, state = critic(rollouts(), loop_state(), learning_rate=1.0, initial=0.125)
    assert (columns["value"] == 0.125).all()
    # Replicate 0 saw context 0 with returns 3 and 0.75, context 1 with 3 and 0.25, context 2 with 2.
    expected = np.array([[1.875, 1.625, 2.0, 0.125], [0.125, 0.125, 4.0, 0.125]])
    assert state["critic_value"] == pytest.approx(expected, abs=1e-15)
    columns, _ = critic(rollouts(), state, learning_rate=1.0)
    assert columns["value"] == pytest.approx(np.array([1.875, 1.625, 2.0, 1.875, 1.625, 4.0]))
    assert columns["next_value"] == pytest.approx(np.array([1.625, 2.0, 0.0, 1.625, 0.0, 0.0]))


def test_critic_of_step_boundaries_learns_from_the_first_decision_of_a_step() -> None:
    # The second row of the first trajectory, context 1, is inside step 0: only the row of the second one is left.
    inside = rollouts(step=[0, 0, 1, 0, 1, 0])
    _, state = critic(inside, loop_state(), learning_rate=1.0, initial=0.125, learns="steps")
    assert state["critic_value"][0] == pytest.approx([1.875, 0.25, 2.0, 0.125], abs=1e-15)
    # Broken twin: learning from every row moves the value of that context.
    _, state = critic(inside, loop_state(), learning_rate=1.0, initial=0.125)
    assert state["critic_value"][0, 1] == pytest.approx((3.0 + 0.25) / 2, abs=1e-15)


def test_critic_may_count_time_in_rows() -> None:
    inside = rollouts(step=[0, 0, 1, 0, 0, 0])
    by = {}
    for discount in ("step", "row"):
        _, state = critic(inside, loop_state(), learning_rate=1.0, gamma=0.5, discount=discount)
        by[discount] = state["critic_value"][0, 0]
    # Rewards 0, 1, 2 and 0.5, 0.25: by step 0 + 1 + 2/2 and 0.5 + 0.25, by row 0 + 1/2 + 2/4 and 0.5 + 0.25/2.
    assert by == pytest.approx({"step": (2.0 + 0.75) / 2, "row": (1.0 + 0.625) / 2}, abs=1e-15)


def test_critic_that_learns_first_leaks_the_rows_own_return() -> None:
    # Broken twin: reading the table after the update puts a row's own return into its baseline.
    _, state = critic(rollouts(), loop_state(), learning_rate=1.0)
    leaked = state["critic_value"][rollouts().batch_rows, rollouts().column("context")]
    fair, _ = critic(rollouts(), loop_state(), learning_rate=1.0)
    assert not np.allclose(leaked, fair["value"])


@pytest.mark.parametrize("learning_rate", [0.25, 0.5, 1.0])
def test_critic_moves_a_share_of_the_way_to_the_mean_return(learning_rate: float) -> None:
    _, state = critic(rollouts(), loop_state(), learning_rate=learning_rate)
    assert state["critic_value"][0, 0] == pytest.approx(learning_rate * 1.875)
    assert state["critic_value"][1, 0] == 0.0


def test_critic_bootstraps_only_trajectories_that_were_cut() -> None:
    table = np.array([[10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0]])
    columns, _ = critic(rollouts(), loop_state(critic_value=table), bootstrap=True)
    assert columns["next_value"] == pytest.approx(np.array([20.0, 30.0, 0.0, 20.0, 10.0, 0.0]))


def test_critic_never_changes_the_state_it_was_given() -> None:
    table = np.zeros((2, 4))
    given = loop_state(critic_value=table)
    critic(rollouts(), given)
    assert given["critic_value"] is table
    assert not table.any()


@pytest.mark.parametrize("learning_rate", [0.0, 1.5, float("nan")])
def test_critic_refuses_learning_rates_out_of_range(learning_rate: float) -> None:
    with pytest.raises(InputError, match="signal critic learning_rate"):
        critic(rollouts(), loop_state(), learning_rate=learning_rate)


def test_critic_refuses_trees_and_missing_columns() -> None:
    tree = Rollouts.flat(offsets=[0, 2, 3], group=[0, 0], reward=np.zeros(3), parent=[-1, 0])
    with pytest.raises(InputError, match="paths"):
        critic(tree, loop_state())
    plain = Rollouts.flat(offsets=[0, 2], group=[0], reward=np.zeros(2))
    with pytest.raises(MissingColumnError, match=r"'context', needed by critic|'next_state', needed by critic"):
        critic(plain, loop_state())


def test_returns_and_next_steps_count_steps_not_rows() -> None:
    several = rollouts(step=[0, 0, 1, 0, 1, 0])
    assert next_steps(several).tolist() == [0, 1, 2, 1, 2, 1]
    expected = [0.0 + 1.0 + 0.5 * 2.0, 1.0 + 0.5 * 2.0, 2.0, 0.5 + 0.5 * 0.25, 0.25, 4.0]
    assert return_to_go(several, 0.5) == pytest.approx(np.array(expected))


def value_table() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, HORIZON + 1, CONTEXT_OF_STATE.size))


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_oracle_reads_the_table_by_steps_left(noise: float) -> None:
    table = value_table()
    given = rollouts()
    columns, _ = oracle_value(given, loop_state(oracle_value=table), noise=noise, noise_seed=3)
    error = noise * normals(3, 0, Purpose.NOISE, CONTEXT_OF_STATE.size)
    ends = {2: True, 4: False, 5: True}
    for row in range(given.n_rows):
        batch, step = given.batch_rows[row], given.step[row]
        here, after = given.column("state")[row], given.column("next_state")[row]
        assert columns["value"][row] == table[batch, HORIZON - step, here] + error[here]
        expected = 0.0 if ends.get(row, False) else table[batch, HORIZON - step - 1, after] + error[after]
        assert columns["next_value"][row] == expected


def test_oracle_gives_nothing_past_the_horizon() -> None:
    table = np.ones((2, 2, CONTEXT_OF_STATE.size))
    short = rollouts(step=[0, 0, 0, 0, 0, 0], terminated=(False, False, False))
    columns, _ = oracle_value(short, loop_state(oracle_value=table), noise=1.0)
    ends = np.array([2, 4, 5])
    assert (columns["next_value"][ends] == 0.0).all()
    assert (columns["next_value"][[0, 1, 3]] != 0.0).all()


def test_oracle_without_its_table_or_with_bad_noise_is_told() -> None:
    with pytest.raises(InputError, match="a state without 'oracle_value'"):
        oracle_value(rollouts(), loop_state())
    for noise in (-1.0, float("nan")):
        with pytest.raises(InputError, match="noise"):
            oracle_value(rollouts(), loop_state(oracle_value=value_table()), noise=noise)


def test_invalid_action_looks_rows_up() -> None:
    table = np.ones((5, 2), bool)
    table[1, 1] = table[3, 0] = False
    columns, _ = invalid_action(rollouts(), loop_state(valid_action=table))
    assert columns["valid"].tolist() == [True, False, False, True, True, False]


def test_registry_says_what_each_signal_needs_and_makes() -> None:
    known = ["answer", "critic", "information_gain", "invalid_action", "metric", "oracle_value", "state_score"]
    assert SIGNALS.names() == known
    for part in SIGNALS:
        assert part.summary
        assert part.makes
    with pytest.raises(UnknownNameError, match="nearest: oracle_value"):
        SIGNALS["oracle_valeu"]
