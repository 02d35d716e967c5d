"""The shared pieces: scores, members, entries, weighted centring and whitening."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import episodes, random_rollouts, with_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError, UnknownNameError
from creditsim.estimators.scores import (
    check_number,
    entries,
    episode_score,
    live_rows,
    members,
    token_weight,
    weighted_score,
)
from creditsim.estimators.whiten import weighted_centre, whiten
from creditsim.rollouts import Rollouts


def small() -> Rollouts:
    return episodes([1.0, 2.0, 4.0], [2, 1, 3], group=[0, 0, 1])


def test_episode_score_is_the_sum_of_rewards():
    rollouts = small().with_columns(reward=np.arange(6.0))
    np.testing.assert_array_equal(episode_score(rollouts), [1.0, 2.0, 12.0])


def test_a_trajectory_without_rows_scores_nothing_and_is_no_member():
    rollouts = Rollouts.flat(offsets=np.array([0, 1, 1]), group=np.zeros(2, int), reward=np.array([5.0]))
    np.testing.assert_array_equal(episode_score(rollouts), [5.0, 0.0])
    np.testing.assert_array_equal(members(rollouts), [True, False])


def test_weighted_score():
    rollouts = small().with_trajectory_columns(rewards_K=np.array([[1.0, 2.0], [0.0, 4.0], [3.0, 0.0]]))
    np.testing.assert_array_equal(weighted_score(rollouts, (1.0, 0.5), "a test"), [2.0, 2.0, 3.0])


def test_live_rows_and_members():
    rollouts = with_weights(small(), np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0]))
    np.testing.assert_array_equal(live_rows(rollouts), [0, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(members(rollouts), [False, True, True])
    assert live_rows(rollouts, "include").all()
    assert members(rollouts, "include").all()
    assert live_rows(small()).all()


def test_entries_per_trajectory_and_per_row():
    rollouts = with_weights(small(), np.array([0.0, 0.0, 1.0, 0.0, 2.0, 0.0]))
    rollouts = rollouts.with_columns(tokens=np.array([5, 5, 2, 7, 3, 7]))
    score = episode_score(rollouts)
    by_trajectory = entries(rollouts, score, "trajectory", "exclude")
    np.testing.assert_array_equal(by_trajectory.group, [-1, 0, 1])
    np.testing.assert_array_equal(by_trajectory.batch, [-1, 0, 0])
    np.testing.assert_array_equal(by_trajectory.tokens, [0, 2, 3])
    np.testing.assert_array_equal(by_trajectory.to_rows(score), [0, 0, 2, 0, 4, 0])
    by_row = entries(rollouts, score, "step", "exclude")
    np.testing.assert_array_equal(by_row.group, [-1, -1, 0, -1, 1, -1])
    np.testing.assert_array_equal(by_row.score, [1, 1, 2, 4, 4, 4])
    np.testing.assert_array_equal(by_row.to_rows(by_row.score), [0, 0, 2, 0, 4, 0])


def test_token_weight_defaults_to_one():
    np.testing.assert_array_equal(token_weight(small()), np.ones(6))


@pytest.mark.parametrize(("value", "fine"), [(0.0, True), (1.0, True), (-0.1, False), (1.1, False), (np.nan, False)])
def test_check_number(value: float, fine: bool):
    if fine:
        return check_number("gamma", value, 0.0, 1.0)
    with pytest.raises(InputError, match=r"gamma: got .*, allowed 0 <= gamma <= 1"):
        check_number("gamma", value, 0.0, 1.0)


def test_unknown_choices_name_the_nearest():
    with pytest.raises(UnknownNameError, match=r"weighting: got .steps., allowed trajectory \| step; nearest: step"):
        entries(small(), np.zeros(3), "steps", "exclude")  # pyright: ignore[reportArgumentType]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whitening_is_that_of_every_token_written_out(seed: int):
    rng = np.random.default_rng(seed)
    rollouts = random_rollouts(rng, batches=3)
    x, ids, weight = rng.standard_normal(rollouts.n_rows), rollouts.batch_rows, rollouts.columns["tokens"]
    got = whiten(x, ids, rollouts.n_batches, weight)
    centred = weighted_centre(x, ids, rollouts.n_batches, weight)
    for batch in range(rollouts.n_batches):
        mine = ids == batch
        tokens = np.repeat(x[mine], weight[mine])
        np.testing.assert_allclose(centred[mine], x[mine] - tokens.mean(), atol=1e-12)
        want = (x[mine] - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
        np.testing.assert_allclose(got[mine], want, rtol=1e-10, atol=1e-12)


def test_rows_outside_and_weightless_segments():
    x, ids = np.array([1.0, 3.0, 5.0, 7.0]), np.array([0, 0, -1, 1])
    np.testing.assert_array_equal(weighted_centre(x, ids, 2, np.zeros(4)), [-1.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(weighted_centre(x, ids, 2, np.array([3.0, 1.0, 9.0, 1.0])), [-0.5, 1.5, 0.0, 0.0])
    got = whiten(x, ids, 2, np.array([2.0, 2.0, 9.0, 1.0]), eps_inside=0.0)
    np.testing.assert_allclose(got, [-np.sqrt(0.75), np.sqrt(0.75), 0.0, 0.0])
    np.testing.assert_array_equal(whiten(x, ids, 2, np.zeros(4)), np.zeros(4))
