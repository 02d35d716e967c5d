"""Rounding: equal groups at any magnitude, float32, other array libraries, many batches at once, published failures."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from group_cases import GREEDY, random_rollouts, responses, run

from creditsim.rollouts import Rollouts

SPECS = ["grpo", "grpo@paper", "grpo@verl-vectorized", "grpo@verl-agent", "dr_grpo", "rloo", "rloo@trl-normalized"]
SPECS += ["opo", "gpg", "gpg@verl", "grpo_passk", "grpo_passk@verl", "reinforce_plus_plus_baseline"]
EVERY = [*SPECS, "reinforce", "remax", "reinforce_plus_plus"]


@pytest.mark.parametrize("value", [0.1, 1e8, 1e8 + 0.1, -1e15, 1e-300])
@pytest.mark.parametrize("spec", [*SPECS, "reinforce_plus_plus"])
def test_equal_scores_give_exactly_zero(spec: str, value: float):
    got = run(responses([[value] * 2, [value] * 7], batch_per_group=False), spec)
    np.testing.assert_array_equal(got, 0.0)


@pytest.mark.parametrize("spec", SPECS)
def test_scores_one_ulp_apart_stay_within_the_bound_of_the_group(spec: str):
    """|A| <= (n-1)/sqrt(n) for standardised scores, at any magnitude."""
    up = np.nextafter(1e8, np.inf)
    got = run(responses([[1e8, 1e8, up], [1e8, up, up, 1e8]]), spec)
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 3 / sqrt(4) + 1e-12


def test_the_one_ulp_group_is_standardised_not_zeroed():
    up = np.nextafter(1e8, np.inf)
    got = run(responses([[1e8, up]]), "grpo@paper")
    np.testing.assert_allclose(got, [-sqrt(0.5), sqrt(0.5)], rtol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("spec", ["grpo@paper", "dr_grpo", "rloo", "grpo_passk", "reinforce_plus_plus_baseline"])
def test_offsets_do_not_cost_digits(spec: str, offset: float):
    """Scores in 2^-20 around an offset are exact in float64, so the answers must agree to rounding."""
    rng = np.random.default_rng(0)
    group = (rng.integers(-1000, 1000, size=16) / 2.0**20).tolist()
    moved = [offset + s for s in group]
    zero = {"eps_inside": 0.0} if spec.startswith("reinforce") else {}
    np.testing.assert_allclose(run(responses([moved]), spec, **zero), run(responses([group]), spec, **zero), rtol=1e-12)


def single_precision_twin(x: np.ndarray) -> np.ndarray:
    """A vectorised form that subtracts squares in float32 and floors the variance: what not to do."""
    x = x.astype(np.float32)
    n = np.float32(x.size)
    mean = (x.sum() / n).astype(np.float32)
    variance = ((x * x).sum() / n - mean * mean) * n / (n - 1)
    return (x - mean) / (np.sqrt(np.maximum(variance, np.float32(1e-6))) + np.float32(1e-6))


def test_rewards_around_a_thousand_do_not_explode():
    """Cancellation in a one-pass float32 variance can give advantages past a hundred; the bound is (n-1)/sqrt(n)."""
    exploded = 0.0
    for seed in range(40):
        rewards = 1000 + 0.1 * np.random.default_rng(seed).standard_normal(8)
        want = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
        exploded = max(exploded, float(np.abs(single_precision_twin(rewards)).max()))
        for spec in ("grpo@verl", "grpo@verl-vectorized"):
            np.testing.assert_allclose(run(responses([rewards.tolist()]), spec), want, rtol=1e-9)
            narrow = responses([rewards.tolist()])
            narrow = narrow.with_columns(reward=narrow.reward.astype(np.float32))
            assert np.abs(run(narrow, spec)).max() <= 7 / sqrt(8)
    assert exploded > 20


def test_the_vectorised_floor_shrinks_small_rewards():
    """Rewards of deviation 1e-4: a floor of 1e-3 on the deviation takes most of the advantage away."""
    rewards = 1e-4 * np.random.default_rng(1).standard_normal(16)
    deviation = rewards.std(ddof=1)
    loop = run(responses([rewards.tolist()]), "grpo@verl")
    vectorised = run(responses([rewards.tolist()]), "grpo@verl-vectorized")
    np.testing.assert_allclose(vectorised, loop * (deviation + 1e-6) / (1e-3 + 1e-6), rtol=1e-10)
    assert np.abs(loop).max() > 1.5
    assert np.abs(vectorised).max() < 0.25


def test_the_vectorised_floor_leaves_ordinary_rewards_alone():
    rollouts = random_rollouts(np.random.default_rng(2))
    np.testing.assert_array_equal(run(rollouts, "grpo@verl"), run(rollouts, "grpo@verl-vectorized"))


@pytest.mark.parametrize("spec", EVERY)
def test_float32_agrees_with_float64(spec: str):
    rng = np.random.default_rng(7)
    rollouts = random_rollouts(rng, batches=5)
    rollouts = rollouts.with_columns(reward=rng.standard_normal(rollouts.n_rows).astype(np.float32).astype(np.float64))
    narrow = rollouts.with_columns(reward=rollouts.reward.astype(np.float32))
    np.testing.assert_allclose(run(narrow, spec), run(rollouts, spec), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", EVERY)
def test_torch_agrees_with_numpy(spec: str):
    torch = pytest.importorskip("torch")
    from creditsim.estimators import advantage

    rollouts = random_rollouts(np.random.default_rng(8))
    tensors = rollouts.map_arrays(lambda x: torch.from_numpy(np.array(x)))
    got = advantage(tensors, spec)
    assert isinstance(got, torch.Tensor)
    np.testing.assert_array_equal(got.numpy(), run(rollouts, spec))


def part(rollouts: Rollouts, batch: int) -> tuple[Rollouts, np.ndarray]:
    mine = np.flatnonzero(rollouts.batch == batch)
    return rollouts.take(mine), rollouts.batch_rows == batch


@pytest.mark.parametrize("spec", EVERY)
def test_many_batches_in_one_call_are_one_call_per_batch(spec: str):
    rollouts = random_rollouts(np.random.default_rng(9), batches=12)
    together = run(rollouts, spec)
    for batch in range(rollouts.n_batches):
        alone, rows = part(rollouts, batch)
        np.testing.assert_allclose(together[rows], run(alone, spec), rtol=1e-12, atol=1e-13)


def test_one_batch_statistics_over_all_replicates_is_rejected():
    """The broken twin of the test above: whitening over everything instead of over each batch."""
    rollouts = random_rollouts(np.random.default_rng(9), batches=12)
    everything = np.arange(rollouts.n_trajectories)
    whole = rollouts.take(everything, batch=np.zeros(everything.size, np.int64))
    for spec in ("reinforce_plus_plus", "reinforce_plus_plus_baseline", "gpg@verl", "rloo@trl-normalized"):
        assert np.abs(run(whole, spec) - run(rollouts, spec)).max() > 1e-3


def test_the_greedy_score_is_the_one_in_the_rollouts():
    np.testing.assert_array_equal(run(responses([[1.0, 0.0]]), "remax"), [1 - float(GREEDY), -float(GREEDY)])


def test_a_batch_of_one_token_is_not_divided_by_zero():
    rollouts = responses([[3.0]])
    np.testing.assert_array_equal(run(rollouts, "reinforce_plus_plus"), 0.0)
    np.testing.assert_array_equal(run(rollouts, "reinforce_plus_plus_baseline@verl"), 0.0)
    np.testing.assert_array_equal(run(rollouts, "grpo@trl", scale="batch"), 0.0)
