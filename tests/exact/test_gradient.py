"""The exact gradient against central differences and against every episode, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from exact_brute import episodes, small_mdps
from hypothesis import given, settings

from creditsim.errors import UnknownNameError
from creditsim.exact.dp import objective, solve
from creditsim.exact.gradient import gradient_weight, policy_gradient, score_norm
from creditsim.mdp import (
    FixedPolicy,
    LogLinearPolicy,
    MixturePolicy,
    Policy,
    SoftmaxPolicy,
    TabularMDP,
    make,
    with_memory,
)


def central(mdp: TabularMDP, policy: Policy, h: float = 1e-5) -> np.ndarray:
    """(P,) central differences of J, good to about h^2."""
    steps = h * np.eye(policy.theta.size)
    high = [objective(mdp, policy.with_theta(policy.theta + d).probabilities(mdp)) for d in steps]
    low = [objective(mdp, policy.with_theta(policy.theta - d).probabilities(mdp)) for d in steps]
    return (np.array(high) - np.array(low)) / (2 * h)


def likelihood_ratio(mdp: TabularMDP, policy: Policy, gamma: float, to_go: bool = False) -> np.ndarray:
    """(P,) E[return times score], or E[sum of return-to-go times score] without gamma^t."""
    weight = np.zeros((mdp.n_states, mdp.n_actions))
    for episode in episodes(mdp, policy.probabilities(mdp)):
        whole = episode.gain(gamma)
        for i, (_, s, a, _) in enumerate(episode.rows):
            weight[s, a] += episode.probability * (episode.gain(gamma, i) if to_go else whole)
    return policy.pullback(mdp, weight)


@given(mdp=small_mdps())
@settings(max_examples=25, deadline=None)
def test_agrees_with_differences_and_with_every_episode(mdp: TabularMDP) -> None:
    policy = SoftmaxPolicy.random(mdp, seed=7)
    gradient = policy_gradient(mdp, policy)
    np.testing.assert_allclose(gradient, central(mdp, policy), rtol=0, atol=1e-8)
    np.testing.assert_allclose(gradient, likelihood_ratio(mdp, policy, mdp.gamma), rtol=0, atol=1e-12)
    flat = policy_gradient(mdp, policy, occupancy="undiscounted")
    np.testing.assert_allclose(flat, likelihood_ratio(mdp, policy, mdp.gamma, to_go=True), rtol=0, atol=1e-12)


def policies(mdp: TabularMDP) -> dict[str, Policy]:
    softmax = SoftmaxPolicy.random(mdp, seed=1)
    linear = LogLinearPolicy.random(mdp, seed=2, dimension=4)
    fixed = FixedPolicy(SoftmaxPolicy.random(mdp, seed=9).probabilities(mdp))
    return {
        "softmax": softmax,
        "cool softmax": SoftmaxPolicy(softmax.theta, mdp.n_actions, temperature=0.7),
        "log-linear": linear,
        "warm log-linear": LogLinearPolicy(linear.theta, linear.features, temperature=1.6),
        "mixture": MixturePolicy([softmax, linear, fixed], [0.5, 0.3, 0.2]),
    }


@pytest.mark.parametrize("name", policies(make("chain@tiny")))
@pytest.mark.parametrize("environment", ["tokens@tiny", "aliased@tiny", "stopping@tiny", "random@small"])
def test_every_policy_on_longer_episodes(environment: str, name: str) -> None:
    mdp = make(environment, gamma=0.9)
    policy = policies(mdp)[name]
    np.testing.assert_allclose(policy_gradient(mdp, policy), central(mdp, policy), rtol=0, atol=1e-8)


def aliased_mdp() -> TabularMDP:
    return make("random", states=5, actions=3, branching=2, observations=2, horizon=6, gamma=0.8, seed=3)


def state_by_state(mdp: TabularMDP, policy: SoftmaxPolicy) -> np.ndarray:
    """Broken: only the first state of each context sends its part."""
    weight = gradient_weight(solve(mdp, policy.probabilities(mdp)))
    first = np.unique(mdp.context, return_index=True)[1]
    return policy.pullback(mdp, np.where(np.isin(np.arange(mdp.n_states), first)[:, None], weight, 0.0))


def averaged_over_states(mdp: TabularMDP, policy: SoftmaxPolicy) -> np.ndarray:
    """Broken: takes the observation for the state, whose value is then the mean over the states behind it."""
    solution = solve(mdp, policy.probabilities(mdp))
    q = solution.q.copy()
    for c in np.unique(mdp.context):
        q[:, mdp.context == c] = q[:, mdp.context == c].mean(axis=1, keepdims=True)
    power = mdp.gamma ** np.arange(mdp.horizon)
    weight = np.einsum("t,ts,tsa->sa", power, solution.occupancy, q[:0:-1]) * policy.probabilities(mdp)
    return policy.pullback(mdp, weight)


BROKEN: dict[str, Callable[[TabularMDP, SoftmaxPolicy], np.ndarray]] = {
    "first state of each context": state_by_state,
    "observation taken for the state": averaged_over_states,
    "undiscounted occupancy": lambda mdp, policy: policy_gradient(mdp, policy, occupancy="undiscounted"),
    "forgotten discount": lambda mdp, policy: policy_gradient(mdp, policy, 1.0),
    "sign": lambda mdp, policy: -policy_gradient(mdp, policy),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_difference_check_rejects(name: str) -> None:
    mdp = aliased_mdp()
    policy = SoftmaxPolicy.random(mdp, seed=7)
    truth = central(mdp, policy)
    assert np.abs(policy_gradient(mdp, policy) - truth).max() < 1e-8
    assert np.abs(BROKEN[name](mdp, policy) - truth).max() > 1e-4


def test_replicates_are_each_their_own() -> None:
    mdp = aliased_mdp()
    many = SoftmaxPolicy.random(mdp, seed=0, replicates=5)
    each = [policy_gradient(mdp, many.with_theta(theta)) for theta in many.theta]
    np.testing.assert_allclose(policy_gradient(mdp, many), each, rtol=0, atol=1e-14)


def test_stopping_has_its_known_slope() -> None:
    mdp = make("stopping", turns=2, stop=0.6, go=0.3, last=0.5)
    for q in (0.1, 0.5, 0.9):
        table = np.array([[1 - q, q], [1.0, 0.0], [1.0, 0.0]])
        policy = SoftmaxPolicy.from_probabilities(mdp, table)
        # dJ/dq = 0.3 + 0.5 - 0.6, and dq/dtheta = q (1 - q).
        slope = policy_gradient(mdp, policy).reshape(-1, 2)[0]
        np.testing.assert_allclose(slope, [-0.2 * q * (1 - q), 0.2 * q * (1 - q)], rtol=0, atol=1e-14)


def test_equal_pay_for_every_turn_leaves_the_length_to_be_valued() -> None:
    mdp = make("stopping", turns=4, stop=0.7, go=0.7, last=0.7)
    policy = SoftmaxPolicy.random(mdp, seed=0)
    lengths = replace(mdp, reward=np.ones(mdp.reward.shape))
    slope = policy_gradient(mdp, policy)
    np.testing.assert_allclose(slope, 0.7 * policy_gradient(lengths, policy), rtol=0, atol=1e-14)
    assert (slope.reshape(-1, 2)[:3, 1] > 0.01).all()


def test_the_gradient_adds_turns_reached_times_pay_and_pay_times_turns_reached() -> None:
    # sum_k (p_k grad mu_k + mu_k grad p_k), p_k the chance of turn k and mu_k its mean pay when reached.
    stop, go, last = (0.1, 0.5), (0.4, 0.2), 0.9
    mdp = make("stopping", turns=3, stop=stop, go=go, last=last)
    q = np.array([0.3, 0.8])
    policy = SoftmaxPolicy.from_probabilities(mdp, np.array([[0.7, 0.3], [0.2, 0.8], [1.0, 0.0], [1.0, 0.0]]))
    reach, pay = np.array([1.0, q[0]]), (1 - q) * stop + q * go
    change = (np.array(go) - stop) * reach + np.array([pay[1] + q[1] * last, q[0] * last])
    expected = change * q * (1 - q)
    np.testing.assert_allclose(policy_gradient(mdp, policy).reshape(-1, 2)[:2, 1], expected, rtol=0, atol=1e-14)


def test_where_the_environment_ends_the_episode_only_rewards_move() -> None:
    mdp = make("stopping", turns=3, stop=0.6, go=0.3, last=0.5, control=0.0)
    policy = SoftmaxPolicy.uniform(mdp)
    # P(turn 2 is reached) = 1/2 whatever is done; each turn's own reward moves by (0.3 - 0.6) q (1 - q).
    slope = policy_gradient(mdp, policy).reshape(-1, 2)[:2, 1]
    np.testing.assert_allclose(slope, [-0.3 / 4, -0.3 / 8], rtol=0, atol=1e-14)


def test_memory_turns_an_impossible_choice_into_a_possible_one() -> None:
    blind = make("aliased", cues=2, delay=2)
    seeing = with_memory(blind, 2)
    assert np.abs(policy_gradient(blind, SoftmaxPolicy.uniform(blind))).max() < 1e-15
    assert np.abs(policy_gradient(seeing, SoftmaxPolicy.uniform(seeing))).max() > 0.01
    short = with_memory(blind, 1)
    assert np.abs(policy_gradient(short, SoftmaxPolicy.uniform(short))).max() < 1e-15


def test_score_norms() -> None:
    mdp = make("random", states=6, actions=3, forbidden=0.3, observations=3, seed=5)
    policy = SoftmaxPolicy.random(mdp, seed=1)
    pi = policy.probabilities(mdp)
    closed = 1 - 2 * pi + (pi**2).sum(-1, keepdims=True)
    acting = mdp.mask & ~mdp.terminal[:, None]
    np.testing.assert_allclose(score_norm(mdp, policy)[acting], closed[acting], rtol=0, atol=1e-14)
    assert not score_norm(mdp, policy)[~acting].any()
    tabular = LogLinearPolicy.tabular(mdp).with_theta(policy.theta)
    np.testing.assert_allclose(score_norm(mdp, tabular), score_norm(mdp, policy), rtol=0, atol=1e-14)


def test_unknown_occupancy_is_a_one_line_error() -> None:
    mdp = make("chain@tiny")
    with pytest.raises(UnknownNameError, match=r"occupancy: got 'undiscountd'.*nearest: undiscounted"):
        policy_gradient(mdp, SoftmaxPolicy.uniform(mdp), occupancy="undiscountd")  # pyright: ignore[reportArgumentType]
