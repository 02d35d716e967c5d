"""The plain step against numerical derivatives and against definitions written out trajectory by trajectory."""

from __future__ import annotations

import numpy as np
import pytest
from update_cases import learner, numeric_gradient, rollouts

from creditsim.errors import UnknownNameError
from creditsim.rollouts import Rollouts
from creditsim.updates import UPDATES
from creditsim.updates.optimiser import ascend
from creditsim.updates.reinforce import policy_gradient_estimate, reinforce


def test_pullback_is_the_derivative_of_the_log_probabilities() -> None:
    policy = learner()
    rows = rollouts(policy)
    weight = np.random.default_rng(2).normal(size=rows.n_rows)

    def total(theta: np.ndarray) -> np.ndarray:
        return np.bincount(rows.batch_rows, weights=weight * policy.with_theta(theta).log_prob(rows), minlength=2)

    assert policy.pullback(rows, weight) == pytest.approx(numeric_gradient(total, policy.theta), abs=1e-8)


def test_entropy_pullback_is_the_derivative_of_the_entropies() -> None:
    policy = learner()
    rows = rollouts(policy)
    weight = np.random.default_rng(3).normal(size=rows.n_rows)

    def total(theta: np.ndarray) -> np.ndarray:
        return np.bincount(rows.batch_rows, weights=weight * policy.with_theta(theta).entropy(rows), minlength=2)

    assert policy.entropy_pullback(rows, weight) == pytest.approx(numeric_gradient(total, policy.theta), abs=1e-8)


def test_log_probabilities_stay_finite_where_a_probability_underflows() -> None:
    policy = learner()
    rows = rollouts(policy)
    far = policy.with_theta(policy.theta * 0 + np.tile([2000.0, 0.0], policy.theta.shape[1] // 2))
    assert np.isfinite(far.log_prob(rows)).all()
    assert np.isfinite(far.entropy(rows)).all()


def by_hand(policy, rows: Rollouts, advantage: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """g_b = (1/N_b) sum over trajectories and rows of w A d log pi, one row at a time."""
    out = np.zeros_like(policy.theta)
    for batch in range(out.shape[0]):
        counted = 0
        for i in np.flatnonzero(rows.batch == batch):
            span = np.arange(rows.offsets[i], rows.offsets[i + 1])
            counted += bool((weight[span] > 0).any())
            for row in span:
                one = np.zeros(rows.n_rows)
                one[row] = weight[row] * advantage[row]
                out[batch] += policy.pullback(rows, one)[batch]
        out[batch] /= max(counted, 1)
    return out


@pytest.mark.parametrize("masked", [False, True])
def test_gradient_is_the_mean_over_counted_trajectories(masked: bool) -> None:
    policy = learner(3)
    weight = np.random.default_rng(5).choice([0.0, 1.0, 2.0], 100)
    weight[:10] = 0.0
    rows = rollouts(policy, weight=weight if masked else None)
    used = weight[: rows.n_rows] if masked else np.ones(rows.n_rows)
    advantage = np.random.default_rng(4).normal(size=rows.n_rows)
    got = policy_gradient_estimate(policy, rows, advantage)
    assert got == pytest.approx(by_hand(policy, rows, advantage, used), abs=1e-13)
    # Broken twin: counting auxiliary trajectories too gives another step.
    if masked:
        wrong = policy.pullback(rows, used * advantage) / np.bincount(rows.batch)[:, None]
        assert not np.allclose(got, wrong)


def test_step_moves_each_replicate_by_its_own_batch() -> None:
    policy = learner(2)
    rows = rollouts(policy)
    advantage = np.where(rows.batch_rows == 0, 1.0, 0.0)
    moved, state = reinforce(policy, rows, {"advantage": advantage}, {"seed": 1}, learning_rate=0.5)
    gradient = policy_gradient_estimate(policy, rows, advantage)
    assert np.array_equal(moved.theta, policy.theta + 0.5 * gradient)
    assert np.array_equal(moved.theta[1], policy.theta[1])
    assert state == {"seed": 1}


def test_adam_matches_its_algorithm_written_out() -> None:
    rng = np.random.default_rng(6)
    theta, state = np.zeros((2, 3)), {}
    by_replicate = np.zeros((2, 3))
    m, v = np.zeros((2, 3)), np.zeros((2, 3))
    for t in range(1, 6):
        gradient = rng.normal(size=(2, 3))
        theta, state = ascend(theta, gradient, state, learning_rate=0.1, optimiser="adam")
        for r in range(2):
            m[r] = 0.9 * m[r] + 0.1 * gradient[r]
            v[r] = 0.999 * v[r] + 0.001 * gradient[r] ** 2
            by_replicate[r] += 0.1 * (m[r] / (1 - 0.9**t)) / (np.sqrt(v[r] / (1 - 0.999**t)) + 1e-8)
    assert theta == pytest.approx(by_replicate, abs=1e-14)
    # The first step of Adam has the size of the learning rate, whatever the gradient's.
    first, _ = ascend(np.zeros((1, 2)), np.array([[1e-3, -1e3]]), {}, learning_rate=0.1, optimiser="adam")
    assert first == pytest.approx(np.array([[0.1, -0.1]]), rel=1e-4)


def test_zero_advantages_do_not_move() -> None:
    policy = learner()
    rows = rollouts(policy)
    for optimiser in ("sgd", "adam"):
        moved, _ = reinforce(policy, rows, {"advantage": np.zeros(rows.n_rows)}, {}, optimiser=optimiser)
        assert np.array_equal(moved.theta, policy.theta)


def test_unknown_names_are_told() -> None:
    policy = learner()
    rows = rollouts(policy)
    with pytest.raises(UnknownNameError, match="nearest: adam"):
        reinforce(policy, rows, {"advantage": np.zeros(rows.n_rows)}, {}, optimiser="adma")
    with pytest.raises(UnknownNameError, match="nearest: learning_rate"):
        UPDATES.bind("reinforce", learning_rte=1.0)
