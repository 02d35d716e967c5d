"""Pullbacks of every kind of policy on random masks, aliases, temperatures and mixtures, against the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from creditsim.exact.dp import solve
from creditsim.exact.gradient import policy_gradient
from creditsim.mdp import FixedPolicy, LogLinearPolicy, MixturePolicy, Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.mdp.rows import TablePolicy
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler

mdps = st.builds(
    lambda seed, actions, observations, forbidden, inner: make(
        "random", states=5, actions=actions, observations=observations, forbidden=forbidden, inner=inner, horizon=3,
        seed=seed,
    ),
    seed=st.integers(0, 10**6),
    actions=st.integers(1, 4),
    observations=st.integers(1, 5),
    forbidden=st.sampled_from([0.0, 0.3, 0.9]),
    inner=st.sampled_from([0.0, 0.4]),
)  # fmt: skip


@st.composite
def policies(draw: st.DrawFn, mdp: TabularMDP, depth: int = 2) -> Policy:
    """Softmax, log-linear, fixed, and mixtures of these, at any temperature."""
    seed = draw(st.integers(0, 10**6))
    temperature = draw(st.sampled_from([0.3, 1.0, 4.0]))
    kind = draw(st.sampled_from(["softmax", "linear", "fixed", "mixture"] if depth else ["softmax", "linear"]))
    if kind == "softmax":
        return replace(SoftmaxPolicy.random(mdp, seed), temperature=temperature)
    if kind == "linear":
        return replace(LogLinearPolicy.random(mdp, seed, draw(st.integers(1, 4))), temperature=temperature)
    if kind == "fixed":
        return FixedPolicy(SoftmaxPolicy.random(mdp, seed).probabilities(mdp))
    parts = [draw(policies(mdp, depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    weights = np.array([draw(st.sampled_from([0.1, 0.5, 1.0])) for _ in parts])
    return MixturePolicy(parts, (weights / weights.sum()).tolist())


def slope(policy: Policy, mdp: TabularMDP, weight: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Fourth-order central differences of the sum of weight times log pi over the pairs that act."""
    acts = mdp.mask & ~mdp.terminal[:, None]

    def total(theta: np.ndarray) -> float:
        return float((weight[acts] * np.log(policy.with_theta(theta).probabilities(mdp)[acts])).sum())

    unit = np.eye(policy.theta.size)
    at = [[total(policy.theta + k * h * e) for k in (-2, -1, 1, 2)] for e in unit]
    return np.array([(a - 8 * b + 8 * c - d) / (12 * h) for a, b, c, d in at])


def weights(mdp: TabularMDP, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(mdp.mask.shape) * ~mdp.terminal[:, None]


def off(policy: Policy, mdp: TabularMDP, weight: np.ndarray) -> float:
    """Largest error of the pullback, relative to the size of the derivative."""
    exact = slope(policy, mdp, weight)
    return float(np.abs(policy.pullback(mdp, weight) - exact).max(initial=0.0) / (1 + np.abs(exact).max(initial=0.0)))


@settings(max_examples=40)
@given(st.data(), mdps, st.integers(0, 1000))
def test_pullback_is_the_derivative(data: st.DataObject, mdp: TabularMDP, seed: int) -> None:
    policy = data.draw(policies(mdp))
    pi = policy.probabilities(mdp)
    # Differences of logarithms of vanishing probabilities are noise, whatever the pullback.
    assume(pi[mdp.mask & ~mdp.terminal[:, None]].min() > 1e-4)
    assert off(policy, mdp, weights(mdp, seed)) < 1e-6


@settings(max_examples=40)
@given(st.data(), mdps, st.integers(0, 1000))
def test_pullback_is_linear_and_blind_to_what_cannot_matter(data: st.DataObject, mdp: TabularMDP, seed: int) -> None:
    policy = data.draw(policies(mdp))
    one, two = weights(mdp, seed), weights(mdp, seed + 1)
    back = policy.pullback(mdp, one)
    scale = 1 + np.abs(back).max(initial=0.0)
    np.testing.assert_allclose(
        policy.pullback(mdp, 2 * one - 3 * two), 2 * back - 3 * policy.pullback(mdp, two), rtol=0, atol=1e-10 * scale
    )
    # The score has mean zero: weights proportional to the policy pull nothing back.
    level = np.random.default_rng(seed).standard_normal(mdp.n_states)[:, None] * ~mdp.terminal[:, None]
    assert np.abs(policy.pullback(mdp, level * policy.probabilities(mdp))).max(initial=0.0) < 1e-10
    if not isinstance(policy, MixturePolicy):
        forbidden = np.where(mdp.mask, one, 1e6)
        np.testing.assert_allclose(policy.pullback(mdp, forbidden), back, rtol=0, atol=1e-10 * scale)


BROKEN: dict[str, Callable[[Any, TabularMDP, np.ndarray], np.ndarray]] = {
    "sign": lambda p, mdp, w: -p.pullback(mdp, w),
    "half": lambda p, mdp, w: 0.5 * p.pullback(mdp, w),
    "temperature forgotten": lambda p, mdp, w: p.pullback(mdp, w) * p.temperature,
    "temperature twice": lambda p, mdp, w: p.pullback(mdp, w) / p.temperature,
    "mask forgotten": lambda p, mdp, w: p.pullback(replace(mdp, mask=np.ones_like(mdp.mask)), w),
    "first context only": lambda p, mdp, w: p.pullback(mdp, w * (mdp.context == 0)[:, None]),
    "alias broken": lambda p, mdp, w: p.pullback(replace(mdp, context=mdp.context[::-1].copy()), w),
    "squared": lambda p, mdp, w: p.pullback(mdp, w * w),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_check_rejects_broken_pullbacks(fault: str) -> None:
    mdp = make("random", states=5, actions=3, observations=3, forbidden=0.3, horizon=3, seed=4)
    policy = replace(SoftmaxPolicy.random(mdp, 0), temperature=0.5)
    weight = weights(mdp, 0)
    assert off(policy, mdp, weight) < 1e-7
    assert np.abs(BROKEN[fault](policy, mdp, weight) - slope(policy, mdp, weight)).max() > 1e-2


def directional(mdp: TabularMDP, policy: Policy, direction: np.ndarray, h: float = 1e-5) -> float:
    j = [solve(mdp, policy.with_theta(policy.theta + k * h * direction).probabilities(mdp)).j for k in (-2, -1, 1, 2)]
    return (j[0] - 8 * j[1] + 8 * j[2] - j[3]) / (12 * h)


@settings(max_examples=30)
@given(st.data(), mdps, st.integers(0, 1000))
def test_policy_gradient_of_any_policy_is_the_slope_of_j(data: st.DataObject, mdp: TabularMDP, seed: int) -> None:
    policy = data.draw(policies(mdp))
    gradient = policy_gradient(mdp, policy)
    direction = np.random.default_rng(seed).standard_normal(policy.theta.size)
    expected = directional(mdp, policy, direction)
    assert abs(gradient @ direction - expected) < 1e-7 * (1 + abs(expected) + np.abs(direction).max(initial=0.0))


def rollouts_of(mdp: TabularMDP, policy: Policy, seed: int, batches: int) -> Rollouts:
    return TableSampler(mdp, seed=seed, batches=batches, groups=2).extend(copies=2, policy=policy)


@settings(max_examples=25)
@given(mdps, st.integers(0, 1000), st.integers(1, 3))
def test_rows_of_a_table_policy_against_a_loop(mdp: TabularMDP, seed: int, batches: int) -> None:
    policy = SoftmaxPolicy.random(mdp, seed, replicates=batches)
    rollouts = rollouts_of(mdp, policy, seed, batches)
    rows = TablePolicy(policy, mdp)
    weight = np.random.default_rng(seed).standard_normal(rollouts.n_rows)
    np.testing.assert_allclose(rows.log_prob(rollouts), rollouts.column("log_prob"), rtol=0, atol=1e-12)
    total = np.zeros((batches, policy.theta.shape[-1]))
    entropy_slope = np.zeros_like(total)
    for b in range(batches):
        one = policy.with_theta(policy.theta[b])
        pi = one.probabilities(mdp)
        for row in np.flatnonzero(rollouts.batch_rows == b):
            s, a = int(rollouts.column("state")[row]), int(rollouts.action[row])
            unit = np.zeros(mdp.mask.shape)
            unit[s, a] = weight[row]
            total[b] += one.pullback(mdp, unit)
            live = pi[s] > 0
            assert abs(rows.entropy(rollouts)[row] + (pi[s][live] * np.log(pi[s][live])).sum()) < 1e-12
            bend = np.zeros(mdp.mask.shape)
            bend[s, live] = -weight[row] * pi[s][live] * np.log(pi[s][live])
            entropy_slope[b] += one.pullback(mdp, bend)
    np.testing.assert_allclose(rows.pullback(rollouts, weight), total, rtol=0, atol=1e-11)
    np.testing.assert_allclose(rows.entropy_pullback(rollouts, weight), entropy_slope, rtol=0, atol=1e-11)


def test_entropy_pullback_is_the_slope_of_the_entropy() -> None:
    mdp = make("random", states=5, actions=3, observations=3, forbidden=0.3, horizon=3, seed=4)
    policy = SoftmaxPolicy.random(mdp, 1, replicates=1)
    rollouts = rollouts_of(mdp, policy, 0, 1)
    rows, h = TablePolicy(policy, mdp), 1e-6
    weight = np.random.default_rng(0).standard_normal(rollouts.n_rows)

    def total(theta: np.ndarray) -> float:
        return float(weight @ rows.with_theta(theta).entropy(rollouts))

    unit = np.eye(policy.theta.shape[-1])[:, None, :] * h
    exact = np.array([(total(policy.theta + e) - total(policy.theta - e)) / (2 * h) for e in unit])
    np.testing.assert_allclose(rows.entropy_pullback(rollouts, weight)[0], exact, rtol=0, atol=1e-8)
    assert np.abs(rows.pullback(rollouts, weight)[0] - exact).max() > 1e-2  # broken twin: the score's pullback
