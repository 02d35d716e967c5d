"""Several reward functions: sum then normalise, and normalise then sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from group_cases import responses, run

from creditsim.errors import InputError, MissingColumnError
from creditsim.rollouts import Rollouts

WEIGHTS = (1.0, 0.5)


def several(rng: np.random.Generator, groups: int = 3, size: int = 4) -> Rollouts:
    table = rng.integers(-8, 9, size=(groups * size, 2)) / 8.0
    rollouts = responses([[0.0] * size] * groups, batch_per_group=False)
    return rollouts.with_trajectory_columns(rewards_K=table)


def standardised(x: np.ndarray, eps: float) -> np.ndarray:
    return (x - x.mean(axis=0)) / (x.std(axis=0, ddof=1) + eps)


def test_sum_then_normalize():
    rollouts = several(np.random.default_rng(0))
    table = rollouts.trajectory_columns["rewards_K"]
    groups = (table @ np.array(WEIGHTS)).reshape(3, 4)
    want = np.concatenate([standardised(group, 1e-4) for group in groups])
    np.testing.assert_allclose(run(rollouts, "grpo@trl", reward_weights=WEIGHTS), want, rtol=1e-12)


def test_normalize_then_sum():
    rollouts = several(np.random.default_rng(1))
    table = rollouts.trajectory_columns["rewards_K"].reshape(3, 4, 2)
    each = np.concatenate([standardised(group, 1e-4) for group in table])
    want = standardised(each @ np.array(WEIGHTS), 1e-4)
    got = run(rollouts, "grpo@trl", reward_weights=WEIGHTS, aggregation="normalize_then_sum")
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_normalize_then_sum_forgets_the_scale_of_a_reward_and_the_sum_does_not():
    rollouts = several(np.random.default_rng(2))
    larger = rollouts.with_trajectory_columns(
        rewards_K=rollouts.trajectory_columns["rewards_K"] * np.array([1.0, 100.0])
    )
    options = {"reward_weights": WEIGHTS, "aggregation": "normalize_then_sum", "eps": 0.0}
    np.testing.assert_allclose(run(larger, "grpo", **options), run(rollouts, "grpo", **options), rtol=1e-10)
    summed = {"reward_weights": WEIGHTS, "eps": 0.0}
    assert np.abs(run(larger, "grpo", **summed) - run(rollouts, "grpo", **summed)).max() > 0.1


def test_row_statistics_of_several_rewards():
    """With one row per trajectory, rows and trajectories are the same entries."""
    rollouts = several(np.random.default_rng(3))
    options = {"reward_weights": WEIGHTS, "aggregation": "normalize_then_sum"}
    np.testing.assert_array_equal(
        run(rollouts, "grpo", weighting="step", **options), run(rollouts, "grpo", weighting="trajectory", **options)
    )


def test_masked_trajectories_enter_neither_normalisation():
    rollouts = several(np.random.default_rng(4))
    weight = np.ones(12)
    weight[[0, 5]] = 0.0
    table = rollouts.trajectory_columns["rewards_K"]
    wild = np.where(weight[:, None] == 0, 1e6, table)
    options = {"reward_weights": WEIGHTS, "aggregation": "normalize_then_sum"}
    calm, loud = (
        run(rollouts.with_columns(weight=weight).with_trajectory_columns(rewards_K=t), "grpo", **options)
        for t in (table, wild)
    )
    np.testing.assert_array_equal(calm, loud)
    assert not calm[weight == 0].any()


def test_a_missing_reward_table_and_a_wrong_number_of_weights():
    plain = responses([[0.0, 1.0]])
    with pytest.raises(MissingColumnError, match="no 'rewards_K', needed by grpo"):
        run(plain, "grpo", reward_weights=(1.0,))
    with pytest.raises(InputError, match="reward_weights: got 3 weights"):
        run(several(np.random.default_rng(5)), "grpo", reward_weights=(1.0, 1.0, 1.0))


def test_rewards_by_row_add_up_to_rewards_by_trajectory():
    whole = several(np.random.default_rng(6))
    table = whole.trajectory_columns["rewards_K"]
    rows = table[whole.trajectory] / whole.length[whole.trajectory][:, None]
    by_row = replace(whole, trajectory_columns={}).with_columns(reward_K=rows)
    options = {"reward_weights": (1.0, 0.5)}
    np.testing.assert_allclose(run(by_row, "grpo", **options), run(whole, "grpo", **options), rtol=1e-12)
    shuffled = by_row.with_columns(reward_K=rows[::-1].copy())
    assert not np.allclose(run(shuffled, "grpo", **options), run(whole, "grpo", **options))
