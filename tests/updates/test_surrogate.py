"""The surrogate update against numerical derivatives of the whole loss, and its splits into minibatches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from update_cases import learner, numeric_gradient, rollouts

from creditsim.errors import InputError, UnknownNameError
from creditsim.updates.kl import kl_loss
from creditsim.updates.losses import LOSSES
from creditsim.updates.reinforce import policy_gradient_estimate
from creditsim.updates.surrogate import minibatch_of, surrogate

STATE = {"seed": 7, "replicate": np.arange(2), "horizon": 4}


def prepared():
    """A policy a little off the one that sampled, so that ratios are not 1 and some are clipped."""
    sampler = learner(2, spread=0.7, seed=0)
    rows = rollouts(sampler, per_batch=6)
    policy = sampler.with_theta(sampler.theta + 0.3 * np.random.default_rng(9).normal(size=sampler.theta.shape))
    advantage = np.random.default_rng(8).normal(size=rows.n_rows)
    return sampler, policy, rows, advantage


def one_step(policy, rows, advantage, state=STATE, **params):
    """The change of theta in one sgd step with learning rate 1: minus the gradient of the loss."""
    moved, after = surrogate(
        policy, rows, {"advantage": advantage}, state, learning_rate=1.0, optimiser="sgd", **params
    )
    return moved.theta - policy.theta, after


@pytest.mark.parametrize("loss", ["ppo@verl", "ppo@grpo", "ppo@dapo", "ppo@verl-dr-grpo", "gpg", "reinforce", "cispo"])
@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.3])
def test_step_is_minus_the_gradient_of_the_loss(loss: str, kl_weight: float, entropy_weight: float) -> None:
    sampler, policy, rows, advantage = prepared()
    norm = {"norm": 4.0} if loss.endswith("dr-grpo") else {}
    bound = LOSSES.bind(loss, **norm)
    old = rows.column("log_prob")
    how = {"aggregation": bound.params["aggregation"], "norm": bound.params["norm"]}

    def value(theta: np.ndarray) -> np.ndarray:
        log_prob = policy.with_theta(theta).log_prob(rows)
        total = bound(log_prob, old, advantage, rows.offsets, None, rows.batch).value
        if loss == "cispo":
            # Its value is no function whose derivative is its slope: the ratio is held constant.
            held = np.clip(np.exp(policy.log_prob(rows) - old), 0.0, 5.0)
            share = np.bincount(rows.batch_rows)[rows.batch_rows]
            total = np.bincount(rows.batch_rows, weights=-held * advantage * log_prob / share)
        reference = sampler.log_prob(rows)
        total = (
            total
            + kl_loss(
                log_prob, reference, rows.offsets, None, rows.batch, kind="k3", coefficient=kl_weight, **how
            ).value
        )
        entropy = policy.with_theta(theta).entropy(rows)
        share = LOSSES.bind("reinforce", **how)(entropy, entropy, -np.ones(rows.n_rows), rows.offsets, None, rows.batch)
        return total - entropy_weight * share.value

    given_state = {**STATE, "reference_theta": sampler.theta}
    step, _ = one_step(
        policy, rows, advantage, given_state, loss=loss, kl_weight=kl_weight, entropy_weight=entropy_weight
    )
    assert step == pytest.approx(-numeric_gradient(value, policy.theta), abs=2e-8)
    # Broken twin: the loss of the flipped advantage has another gradient.
    flipped, _ = one_step(policy, rows, -advantage, given_state, loss=loss, kl_weight=kl_weight)
    assert not np.allclose(flipped, step, atol=1e-6)


def test_on_policy_step_is_the_score_function_step() -> None:
    sampler, _, rows, advantage = prepared()
    step, _ = one_step(sampler, rows, advantage, loss="ppo", aggregation="seq-mean-token-sum")
    assert step == pytest.approx(policy_gradient_estimate(sampler, rows, advantage), abs=1e-14)


def test_replicates_do_not_see_each_other() -> None:
    _, policy, rows, advantage = prepared()
    together, _ = one_step(policy, rows, advantage, loss="ppo@verl", epochs=2, minibatches=3)
    for r in range(2):
        alone = rows.take(rows.batch == r)
        policy_r = policy.with_theta(policy.theta[r : r + 1])
        state = {**STATE, "replicate": np.array([r])}
        step, _ = one_step(
            policy_r, alone, advantage[rows.batch_rows == r], state, loss="ppo@verl", epochs=2, minibatches=3
        )
        assert step[0] == pytest.approx(together[r], abs=1e-14)
    # Broken twin: with the wrong number a replicate draws other minibatches.
    alone = rows.take(rows.batch == 1)
    step, _ = one_step(
        policy.with_theta(policy.theta[1:]), alone, advantage[rows.batch_rows == 1],
        {**STATE, "replicate": np.array([0])}, loss="ppo@verl", epochs=2, minibatches=3,
    )  # fmt: skip
    assert not np.allclose(step[0], together[1], atol=1e-9)


def test_norm_defaults_to_the_horizon_of_the_loop() -> None:
    _, policy, rows, advantage = prepared()
    given_norm, _ = one_step(policy, rows, advantage, loss="ppo@dr-grpo", norm=4.0)
    from_state, _ = one_step(policy, rows, advantage, loss="ppo@dr-grpo")
    assert np.array_equal(given_norm, from_state)
    without = {key: value for key, value in STATE.items() if key != "horizon"}
    with pytest.raises(InputError, match="update surrogate norm"):
        one_step(policy, rows, advantage, without, loss="ppo@dr-grpo")


def test_reference_is_the_first_policy_it_meets_and_stays() -> None:
    sampler, policy, rows, advantage = prepared()
    _, state = one_step(sampler, rows, advantage)
    assert np.array_equal(state["reference_theta"], sampler.theta)
    _, state = one_step(policy, rows, advantage, state)
    assert np.array_equal(state["reference_theta"], sampler.theta)


def test_rows_without_weight_do_not_act() -> None:
    sampler, _, rows, advantage = prepared()
    weight = (np.arange(rows.n_rows) % 3 > 0).astype(float)
    wild = np.where(weight > 0, advantage, 1e9)
    masked = rows.with_columns(weight=weight)
    step, _ = one_step(sampler, masked, advantage, loss="ppo@verl")
    same, _ = one_step(sampler, masked, wild, loss="ppo@verl")
    assert np.array_equal(step, same)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 2**32))
def test_minibatches_split_each_batch_evenly(counts: list[int], number: int, seed: int) -> None:
    batch = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    share = minibatch_of(batch, number, seed, np.arange(len(counts)))
    for r, count in enumerate(counts):
        sizes = np.bincount(share[batch == r], minlength=number)
        assert sizes.sum() == count
        assert sizes.max() - sizes.min() <= 1


def test_minibatches_change_with_seed_and_are_drawn_by_replicate_number() -> None:
    batch = np.repeat([0, 1], 40)
    share = minibatch_of(batch, 4, 1, np.array([5, 6]))
    assert not np.array_equal(share[:40], share[40:])
    assert not np.array_equal(share, minibatch_of(batch, 4, 2, np.array([5, 6])))
    assert np.array_equal(share[40:], minibatch_of(batch[:40], 4, 1, np.array([6])))


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"epochs": 0}, "update surrogate epochs: got 0"),
        ({"minibatches": 0}, "update surrogate minibatches: got 0"),
        ({"loss": "pop"}, "nearest: ppo"),
        ({"loss": "ppo@verll"}, "nearest: verl"),
        ({"loss": "gpg", "clip_low": 0.1}, "loss gpg parameter: got 'clip_low'"),
        ({"aggregation": "tokenmean"}, "aggregation"),
        ({"kl": "k9", "kl_weight": 1.0}, "KL estimator"),
        ({"optimiser": "lion"}, "optimiser"),
    ],
)
def test_wrong_parameters_are_told_in_one_line(params: dict, told: str) -> None:
    sampler, _, rows, advantage = prepared()
    with pytest.raises((InputError, UnknownNameError)) as error:
        surrogate(sampler, rows, {"advantage": advantage}, STATE, **params)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
