"""DVAO, reward combination, advantage combination and GDPO against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from group_cases import responses, run
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts

WEIGHTS = (0.5, 0.3, 0.2)


def several(table: np.ndarray) -> Rollouts:
    """Groups of trajectories with K rewards, from (G, n, K)."""
    groups, n, k = table.shape
    plain = responses([[0.0] * n] * groups, batch_per_group=False)
    return plain.with_trajectory_columns(rewards_K=table.reshape(-1, k))


def drawn(seed: int = 0, groups: int = 3, n: int = 5, k: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 9, (groups, n, k)) / 8.0


def each(table: np.ndarray, ddof: int = 0, eps: float = 0.0) -> np.ndarray:
    return (table - table.mean(axis=1, keepdims=True)) / (table.std(axis=1, ddof=ddof, keepdims=True) + eps)


@pytest.mark.parametrize("ddof", [0, 1])
def test_formulas(ddof: int) -> None:
    table, weights = drawn(), np.array(WEIGHTS)
    rollouts, options = several(table), {"weights": WEIGHTS, "ddof": ddof, "eps": 0.0}
    share = weights * table.std(axis=1, ddof=ddof, keepdims=True)
    share = share / share.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(run(rollouts, "dvao", **options), (share * each(table, ddof)).sum(2).ravel(), atol=1e-13)
    np.testing.assert_allclose(run(rollouts, "ac", **options), (each(table, ddof) @ weights).ravel(), atol=1e-13)
    combined = (table @ weights)[..., None]
    np.testing.assert_allclose(run(rollouts, "rc", **options), each(combined, ddof).ravel(), atol=1e-13)


def test_gdpo_is_the_aggregation_of_grpo() -> None:
    rollouts = several(drawn(1))
    told = run(rollouts, "grpo", reward_weights=WEIGHTS, aggregation="normalize_then_sum", eps=1e-4)
    np.testing.assert_array_equal(run(rollouts, "gdpo@trl", weights=WEIGHTS), told)
    np.testing.assert_allclose(
        run(rollouts, "gdpo", weights=[7 * w for w in WEIGHTS], eps=0.0),
        run(rollouts, "gdpo", weights=WEIGHTS, eps=0.0),
    )


@settings(deadline=None, max_examples=60)
@given(arrays(np.float64, (2, 4, 2), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])), st.floats(0.05, 0.95))
def test_dvao_is_finite_bounded_and_standardised_once_more_reward_combination(table: np.ndarray, w: float) -> None:
    rollouts, options = several(table), {"weights": (w, 1.0 - w), "eps": 0.0}
    ours, rc = run(rollouts, "dvao", **options), run(rollouts, "rc", **options)
    assert np.isfinite(ours).all()
    deviates = (table @ np.array([w, 1.0 - w])).std(axis=1) > 1e-9
    here = np.repeat(deviates, 4)
    assert (np.abs(ours[here]) <= np.abs(rc[here]) + 1e-9).all()
    again = each(ours.reshape(2, 4, 1)[deviates])
    np.testing.assert_allclose(again.ravel(), rc[here], atol=1e-7)


def test_an_objective_that_does_not_deviate_weighs_nothing_and_none_gives_zero() -> None:
    table = drawn(2, k=2)
    table[..., 1] = 0.75
    found = run(several(table), "dvao", weights=(0.5, 0.5), eps=0.0)
    np.testing.assert_allclose(found, each(table[..., :1]).ravel(), atol=1e-13)
    table[..., 0] = 1e8
    for spec in ("dvao", "rc", "ac", "gdpo"):
        assert not run(several(table), spec, weights=(0.3, 0.7)).any()


def test_near_perfect_conflict_blows_up_the_sum_alone() -> None:
    coin = np.array([1.0, 0.0, 1.0, 0.0])
    table = np.stack([coin, 1.0 - coin + np.array([1e-9, 0.0, 0.0, 0.0])], axis=1)[None]
    options = {"weights": (0.5, 0.5), "eps": 0.0}
    assert np.abs(run(several(table), "rc", **options)).max() > 1.0
    assert np.abs(run(several(table), "dvao", **options)).max() < 1e-8


def test_one_reward_is_grpo_with_divisor_n() -> None:
    rollouts = responses([[0.0, 1.0, 1.0], [0.5, 0.25, 1.0]])
    want = run(rollouts, "grpo", ddof=0)
    for spec in ("dvao", "rc", "ac"):
        np.testing.assert_allclose(run(rollouts, spec), want, atol=1e-15)
    with pytest.raises(InputError, match="dvao weights: got 2 weights, allowed one"):
        run(rollouts, "dvao", weights=(0.5, 0.5))


def test_masked_trajectories_enter_nothing_and_rows_add_up() -> None:
    table = drawn(3)
    rollouts = several(table)
    weight = np.ones(rollouts.n_rows)
    weight[[0, 7]] = 0.0
    wild = np.where(weight[:, None] == 0, 1e6, table.reshape(-1, 3))
    for spec in ("dvao", "rc", "ac", "gdpo"):
        calm, loud = (
            run(rollouts.with_columns(weight=weight).with_trajectory_columns(rewards_K=t), spec, weights=WEIGHTS)
            for t in (table.reshape(-1, 3), wild)
        )
        np.testing.assert_array_equal(calm, loud)
        assert not calm[weight == 0].any()
        plain = responses([[0.0] * 5] * 3, batch_per_group=False).with_columns(reward_K=table.reshape(-1, 3))
        np.testing.assert_array_equal(run(plain, spec, weights=WEIGHTS), run(rollouts, spec, weights=WEIGHTS))


def test_what_is_refused() -> None:
    rollouts = several(drawn())
    with pytest.raises(InputError, match="reward_weights: got 2 weights, allowed one per column"):
        run(rollouts, "ac", weights=(0.5, 0.5))
    for bad in ((0.5, 0.5, -0.1), (0.0, 0.0, 0.0), (0.5, float("nan"), 0.5)):
        with pytest.raises(InputError, match="dvao weights: got"):
            run(rollouts, "dvao", weights=bad)
    with pytest.raises(InputError, match="eps"):
        run(rollouts, "rc", weights=WEIGHTS, eps=-1.0)
