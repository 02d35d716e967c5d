"""HGPO on two contexts behind one observation: exact context bias, and what it does (not) do to the gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_cases import Credit, mean_by, policy_of, random_policy, returns

from creditsim.estimators.base import advantage
from creditsim.exact.compositions import compositions
from creditsim.exact.moments import Moments, exact_moments, moments_of
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.segments import context_ids, factorize


def hgpo(zero_levels: str, weights: str = "code", depth: int = 1, alpha: float = 1.0) -> Credit:
    return lambda r: advantage(
        r, "hgpo", K=depth, gamma=1.0, alpha=alpha, normalize="mean", weights=weights, zero_levels=zero_levels
    )


def two_contexts(
    payoff: tuple[tuple[float, float], tuple[float, float]], pi: object
) -> tuple[TabularMDP, SoftmaxPolicy]:
    """Aliased choice after one of two fair cues, with a policy that remembers the cue."""
    mdp = make("aliased", cues=2, delay=1, payoff=payoff)
    mdp = replace(mdp, context=np.arange(mdp.n_states))
    table = np.full((mdp.n_contexts, 2), 0.5)
    table[choices(mdp)] = pi
    return mdp, policy_of(mdp, table)


def choices(mdp: TabularMDP) -> np.ndarray:
    """The two states in which the choice is made: equal observations, neither first nor last."""
    seen, count = np.unique(mdp.observation[~mdp.terminal], return_counts=True)
    return np.flatnonzero((mdp.observation == seen[count == 2][0]) & ~mdp.terminal)


def context_means(credit: Credit, mdp: TabularMDP, policy: SoftmaxPolicy, n: int, symmetric: bool = True) -> np.ndarray:
    """Mean advantage in each of the two contexts, averaged over the action."""
    found = exact_moments(credit, mdp, policy, group_size=n, symmetric=symmetric)
    out = []
    for state in choices(mdp):
        here = found.keys[:, 0] == state
        out.append(np.average(found.mean[here], weights=found.rows[here]))
    return np.array(out)


PAYOFF = ((0.9, 0.2), (0.1, 0.35))
PI = ((0.3, 0.7), (0.6, 0.4))
GAP = (0.3 * 0.9 + 0.7 * 0.2) - (0.6 * 0.1 + 0.4 * 0.35)


@pytest.mark.parametrize(
    ("weights", "w0", "factors"),
    [("code", 2 / 5, {2: 0.5, 4: 0.4125, 8: 0.3582}), ("paper", 1 / 3, {2: 0.5, 4: 0.375, 8: 0.3008})],
)
def test_context_bias_at_finite_group_sizes(weights: str, w0: float, factors: dict[int, float]) -> None:
    mdp, policy = two_contexts(PAYOFF, PI)
    for n, factor in factors.items():
        q = 2.0 ** (2 - n)
        formula = (n - 1) / n * (w0 * (1 - q) + q)
        assert formula == pytest.approx(factor, abs=5e-5)
        found = context_means(hgpo("keep", weights), mdp, policy, n)
        # The code's weights sum to just below 1: eps = 1e-6 in a sum of 5.
        assert found == pytest.approx(np.array([1, -1]) * formula * GAP / 2, rel=1e-6)


def test_context_bias_of_the_code_that_drops_zeros_once_noise_separates_the_returns() -> None:
    def noisy(r: Rollouts) -> np.ndarray:
        # A tiny reward of its own for each place in the group: no two returns tie, no level is exactly zero.
        place = np.arange(r.n_trajectories) % 4
        last = np.zeros(r.n_rows)
        last[r.offsets[1:] - 1] = 1e-7 * np.array([0.0, 1.0, 2.7, 7.1])[place]
        return hgpo("drop")(r.with_columns(reward=r.reward + last))

    mdp, policy = two_contexts(PAYOFF, PI)
    found = context_means(noisy, mdp, policy, 4, symmetric=False)
    assert found == pytest.approx(np.array([1, -1]) * 0.4125 * GAP / 2, rel=1e-5)
    # Broken twin: without noise, ties drop the deeper level and the weights move.
    tied = context_means(hgpo("drop"), mdp, policy, 4)
    assert np.abs(tied - found).max() > 1e-3


@pytest.mark.parametrize(("zeros", "expected"), [("drop", (0.682, 1.136)), ("keep", (0.805, 0.805))])
def test_dropping_zeros_makes_weights_depend_on_the_own_return(zeros: str, expected: tuple[float, float]) -> None:
    mdp, policy = two_contexts(((0.0, 1.0), (3.0, 2.0)), ((0.3, 0.7), (0.8, 0.2)))
    found = exact_moments(hgpo(zeros), mdp, policy, group_size=8).gradient
    logit = choices(mdp) * 2
    assert found.mean[logit] / found.exact[logit] == pytest.approx(expected, abs=5e-4)


def test_context_bias_leaves_the_direction_of_the_gradient_when_zeros_are_kept() -> None:
    mdp, policy = two_contexts(((0.0, 1.0), (3.0, 2.0)), ((0.3, 0.7), (0.8, 0.2)))
    kept = exact_moments(hgpo("keep"), mdp, policy, group_size=4)
    anchors_only = exact_moments(hgpo("keep", depth=0), mdp, policy, group_size=4)
    assert kept.gradient.cosine == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(anchors_only.gradient.mean, 3 / 4 * anchors_only.gradient.exact, atol=1e-6)
    assert np.abs(context_means(hgpo("keep", depth=0), mdp, policy, 4)).min() > 0.3
    dropped = exact_moments(hgpo("drop"), mdp, policy, group_size=4)
    assert dropped.gradient.cosine < 0.999


def test_without_aliasing_deeper_levels_carry_no_context_bias() -> None:
    # Both cues are worth the same: V(context) = V(observation), so every level is centred on the truth.
    mdp, policy = two_contexts(((1.0, 0.0), (1.0, 0.0)), ((0.3, 0.7), (0.3, 0.7)))
    for depth in (0, 1):
        assert np.abs(context_means(hgpo("keep", depth=depth), mdp, policy, 4)).max() < 1e-14


def level_bias(mdp: TabularMDP, policy: SoftmaxPolicy, depth: int, n: int) -> float:
    """Mean squared context bias of the pure level `depth`, leave-one-out, over the choice rows that have company."""
    found = leave_one_out_moments(mdp, policy, n, weights=np.eye(2)[depth])
    squares = []
    for s in choices(mdp):
        here = found.keys[:, 1] == s
        squares.append(np.average(found.bias[here], weights=found.rows[here]) ** 2)
    return float(np.mean(squares))


def leave_one_out_moments(mdp: TabularMDP, policy: SoftmaxPolicy, n: int, weights: np.ndarray) -> Moments:
    """Moments of G - sum_k w_k (mean of the others at level k), k = 0, 1; a level without others gives way to the rest.

    Rows without any other member at a level that has weight, and none to give way to, are left out (weight 0).
    """
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    ((index, probability),) = compositions(law, group_size=n, chunk=10**6)
    r = law.compose(index)
    to_go = returns(r)
    total, mass = np.zeros(r.n_rows), np.zeros(r.n_rows)
    for k, w in enumerate(weights):
        ids, _ = factorize(r.group_rows, context_ids(r, k)[0])
        size = np.bincount(ids)[ids]
        others = (mean_by(to_go, ids) * size - to_go) / np.maximum(size - 1, 1)
        total += np.where(size > 1, w * others, 0.0)
        mass += np.where(size > 1, w, 0.0)
    credit = to_go - total / np.where(mass > 0, mass, 1.0)
    company = factorize(r.group_rows, r.observation)[0]
    live = (mass > 0) & (np.bincount(company)[company] > 1)
    return moments_of(r.with_columns(weight=live.astype(float)), probability, lambda _: credit, mdp, policy, by="time")


def test_the_bias_of_a_level_falls_with_its_depth_and_is_gone_where_the_window_is_the_state() -> None:
    mdp, policy = two_contexts(PAYOFF, PI)
    anchors, full = (level_bias(mdp, policy, depth, 4) for depth in (0, 1))
    assert full < 1e-28
    # E[(V(context) - V(observation))^2] = (gap / 2)^2 for two evenly likely contexts, at any group size.
    assert anchors == pytest.approx((GAP / 2) ** 2, rel=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_deeper_levels_only_add_noise_to_the_baseline_where_the_state_is_seen(seed: int) -> None:
    mdp = make("layered@tiny", seed=seed)
    policy = random_policy(mdp, seed)
    flat = leave_one_out_moments(mdp, policy, 3, np.array([1.0, 0.0]))
    deep = leave_one_out_moments(mdp, policy, 3, np.array([0.4, 0.6]))
    np.testing.assert_allclose(flat.bias, 0.0, atol=1e-13)
    np.testing.assert_allclose(deep.bias, 0.0, atol=1e-13)
    assert (deep.variance >= flat.variance - 1e-13).all()
    assert deep.variance.sum() > flat.variance.sum() + 1e-4
