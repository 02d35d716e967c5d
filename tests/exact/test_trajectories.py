from __future__ import annotations

import numpy as np
import pytest
from exact_cases import brute_paths, episode_return, errors_line, paths_of, random_mdp, random_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError, TooLargeError
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 3), starts=st.integers(1, 3))
def test_law_equals_plain_recursion(seed: int, horizon: int, starts: int) -> None:
    mdp = random_mdp(seed, horizon=horizon, starts=starts)
    pi = random_policy(mdp, seed).probabilities(mdp)
    law = enumerate_trajectories(mdp, pi)
    paths = list(paths_of(law.rollouts))
    assert len(set(paths)) == law.size
    for first, last, weight in law.ranges:
        start = int(law.start[first])
        expected = brute_paths(mdp, pi, start)
        assert weight == pytest.approx(mdp.start[start], rel=1e-14)
        assert set(paths[first:last]) == set(expected)
        for path, p in zip(paths[first:last], law.probability[first:last], strict=True):
            assert p == pytest.approx(expected[path], rel=1e-13)
    assert law.joint.sum() == pytest.approx(1.0, abs=1e-13)


def test_expected_return_is_that_of_backward_induction_and_an_off_by_one_reward_is_not() -> None:
    mdp = make("chain@tiny", slip=0.1)
    pi = random_policy(mdp, 1).probabilities(mdp)
    value = np.zeros(mdp.n_states)
    for _ in range(mdp.horizon):
        ahead = (mdp.probability * (mdp.scalar_reward + value[mdp.successor])).sum(-1)
        value = np.where(mdp.terminal, 0.0, (pi * ahead).sum(-1))
    law = enumerate_trajectories(mdp, pi)
    assert law.joint @ episode_return(law.rollouts) == pytest.approx(mdp.start @ value, abs=1e-13)
    moved = law.rollouts.with_columns(reward=np.roll(law.rollouts.reward, 1))
    assert abs(law.joint @ episode_return(moved) - mdp.start @ value) > 1e-3


def test_columns_say_what_happened() -> None:
    mdp = make("chain", length=2, horizon=3)
    law = enumerate_trajectories(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
    r = law.rollouts
    assert law.size == 7  # RR, and the six other strings of three moves that begin with neither RR
    assert r.terminated.sum() == 2
    assert r.length.tolist() == [2, 3, 3, 3, 3, 3, 3]
    np.testing.assert_array_equal(r.observation, mdp.observation[r.columns["state"]])
    np.testing.assert_array_equal(r.columns["context"], mdp.context[r.columns["state"]])
    np.testing.assert_allclose(r.columns["log_prob"], np.log(0.5))
    inside = ~r.first_row
    np.testing.assert_array_equal(r.columns["state"][inside], r.columns["next_state"][np.flatnonzero(inside) - 1])
    np.testing.assert_array_equal(r.group, np.arange(7))


def test_equal_branches_are_merged_and_different_rewards_are_not() -> None:
    successor = np.ones((2, 1, 4), np.int64)
    mdp = TabularMDP.build(
        successor=successor,
        probability=np.broadcast_to([0.1, 0.2, 0.3, 0.4], successor.shape),
        reward=np.broadcast_to([1.0, 0.0, 1.0, 1.0], successor.shape),
        terminal=np.array([False, True]),
        horizon=1,
    )
    law = enumerate_trajectories(mdp, np.ones((2, 1)))
    assert dict(zip(law.rollouts.reward.tolist(), law.probability.tolist(), strict=True)) == pytest.approx(
        {1.0: 0.8, 0.0: 0.2}
    )


def test_several_rewards_keep_apart_what_their_sum_would_merge() -> None:
    reward = np.zeros((2, 1, 2, 2))
    reward[0, 0] = [[1.0, 0.0], [0.0, 1.0]]
    mdp = TabularMDP.build(
        successor=np.ones((2, 1, 2), np.int64),
        probability=np.full((2, 1, 2), 0.5),
        reward=reward,
        terminal=np.array([False, True]),
        horizon=1,
    )
    law = enumerate_trajectories(mdp, np.ones((2, 1)))
    assert law.size == 2
    assert sorted(law.rollouts.trajectory_columns["rewards_K"].tolist()) == [[0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_array_equal(law.rollouts.reward, [1.0, 1.0])
    twice = law.compose(np.array([[1, 0], [1, 1]]))
    np.testing.assert_array_equal(
        twice.trajectory_columns["rewards_K"], law.rollouts.trajectory_columns["rewards_K"][[1, 0, 1, 1]]
    )


def test_steps_count_ticks_and_the_horizon_cuts_before_a_new_step() -> None:
    # 0 (tick) -> 1 (no tick) -> 2 (no tick) -> 0: three decisions a step, two steps.
    mdp = TabularMDP.build(
        successor=np.array([[[1]], [[2]], [[0]]]),
        probability=np.ones((3, 1, 1)),
        reward=np.ones((3, 1, 1)),
        tick=np.array([True, False, False]),
        horizon=2,
    )
    r = enumerate_trajectories(mdp, np.ones((3, 1))).rollouts
    assert r.step.tolist() == [0, 0, 0, 1, 1, 1]
    assert r.terminated.tolist() == [False]
    assert r.steps()[0].n_rows == 2


def test_a_policy_may_change_from_step_to_step() -> None:
    mdp = make("chain", length=2, horizon=2)
    right, left = np.tile([0.0, 1.0], (3, 1)), np.tile([1.0, 0.0], (3, 1))
    law = enumerate_trajectories(mdp, np.stack([right, left]))
    assert law.rollouts.action.tolist() == [1, 0]
    assert law.probability.tolist() == [1.0]


def test_compose_equals_take() -> None:
    mdp = random_mdp(3, starts=2)
    law = enumerate_trajectories(mdp, random_policy(mdp, 0).probabilities(mdp))
    index = np.random.default_rng(0).integers(0, law.size, (5, 4))
    made = law.compose(index, groups=2)
    taken = law.rollouts.take(index.reshape(-1), group=np.repeat(np.arange(10), 2), batch=np.repeat(np.arange(5), 4))
    for name in ("offsets", "group", "batch", "terminated", "observation", "action", "reward", "step", "parent"):
        np.testing.assert_array_equal(getattr(made, name), getattr(taken, name), err_msg=name)
    for name, values in taken.columns.items():
        np.testing.assert_array_equal(made.columns[name], values, err_msg=name)


def test_bad_input_gets_one_line() -> None:
    mdp = make("chain@tiny")
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    with pytest.raises(TooLargeError, match=r"trajectories: got more than 5 .* allowed 5") as big:
        enumerate_trajectories(mdp, pi, limit=5)
    errors_line(big.value)
    for bad in (pi * 0.9, pi[:, :1], -pi, np.stack([pi, pi]), np.full_like(pi, np.nan)):
        with pytest.raises(InputError, match=r"^pi: got") as wrong:
            enumerate_trajectories(mdp, bad)
        errors_line(wrong.value)
    circle = TabularMDP.build(
        successor=np.array([[[1]], [[2]], [[1]]]),
        probability=np.ones((3, 1, 1)),
        reward=np.zeros((3, 1, 1)),
        tick=np.array([True, False, False]),
        horizon=2,
    )
    with pytest.raises(InputError, match="circle"):
        enumerate_trajectories(circle, np.ones((3, 1)))
