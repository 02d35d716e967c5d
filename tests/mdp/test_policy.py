"""Policies: probabilities, scores against differences, constructors, replicates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.mdp import (
    FixedPolicy,
    LogLinearPolicy,
    MixturePolicy,
    Policy,
    SoftmaxPolicy,
    TabularMDP,
    check_probabilities,
    greedy,
    make,
)
from creditsim.mdp.policy import masked_softmax

MDP = make("random", states=6, actions=3, observations=4, forbidden=0.3, seed=2)
ACTS = MDP.mask & ~MDP.terminal[:, None]


def kinds(mdp: TabularMDP = MDP) -> dict[str, Policy]:
    softmax = SoftmaxPolicy.random(mdp, seed=1)
    linear = LogLinearPolicy.random(mdp, seed=2, dimension=5)
    fixed = FixedPolicy(SoftmaxPolicy.random(mdp, seed=3).probabilities(mdp))
    return {
        "softmax": softmax,
        "softmax cool": replace(softmax, temperature=0.5),
        "log-linear": linear,
        "log-linear warm": replace(linear, temperature=2.0),
        "mixture": MixturePolicy([softmax, linear, fixed], [0.5, 0.25, 0.25]),
        "mixture of mixtures": MixturePolicy([MixturePolicy([softmax, fixed], [0.9, 0.1]), linear], [0.5, 0.5]),
    }


def differences(policy: Policy, weight: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """(P,) central differences of sum of weight times log pi over the pairs that act."""

    def total(theta: np.ndarray) -> float:
        pi = policy.with_theta(theta).probabilities(MDP)
        return float((weight[ACTS] * np.log(pi[ACTS])).sum())

    return np.array(
        [(total(policy.theta + d) - total(policy.theta - d)) / (2 * h) for d in h * np.eye(policy.theta.size)]
    )


@pytest.mark.parametrize("name", kinds())
def test_rows_are_distributions_over_allowed_actions(name: str) -> None:
    pi = kinds()[name].probabilities(MDP)
    check_probabilities(MDP, pi)
    assert (pi[ACTS] > 0).all()
    assert not pi[~MDP.mask & ~MDP.terminal[:, None]].any()


@pytest.mark.parametrize("name", kinds())
def test_pullback_is_the_derivative_of_the_log_probabilities(name: str) -> None:
    policy = kinds()[name]
    weight = np.random.default_rng(0).standard_normal(ACTS.shape) * ~MDP.terminal[:, None]
    np.testing.assert_allclose(policy.pullback(MDP, weight), differences(policy, weight), rtol=0, atol=1e-8)


def test_the_difference_check_rejects_broken_pullbacks() -> None:
    policy = SoftmaxPolicy.random(MDP, seed=1)
    weight = np.random.default_rng(0).standard_normal(ACTS.shape) * ~MDP.terminal[:, None]
    truth = differences(policy, weight)
    free = replace(MDP, mask=np.ones_like(MDP.mask))
    uncentred = np.zeros(policy.table.shape)
    np.add.at(uncentred, MDP.context, np.where(ACTS, weight, 0.0))
    overwritten = np.zeros(policy.table.shape)
    centred = weight - policy.probabilities(MDP) * np.where(ACTS, weight, 0.0).sum(-1, keepdims=True)
    overwritten[MDP.context] = np.where(ACTS, centred, 0.0)
    broken = {
        "mask forgotten": policy.pullback(free, weight),
        "probabilities forgotten": uncentred.ravel(),
        "aliased states overwrite each other": overwritten.ravel(),
        "temperature forgotten": replace(policy, temperature=2.0).pullback(MDP, weight),
    }
    for name, value in broken.items():
        assert np.abs(value - truth).max() > 1e-3, name


def test_weights_on_forbidden_actions_have_no_influence() -> None:
    weight = np.random.default_rng(0).standard_normal(ACTS.shape)
    other = np.where(MDP.mask, weight, 1e6)
    for policy in (kinds()["softmax"], kinds()["log-linear"]):
        np.testing.assert_array_equal(policy.pullback(MDP, weight), policy.pullback(MDP, other))


@pytest.mark.parametrize("name", kinds())
def test_replicates_are_each_their_own(name: str) -> None:
    policy = kinds()[name]
    rng = np.random.default_rng(4)
    theta = rng.standard_normal((2, 3, policy.theta.size))
    weight = rng.standard_normal((2, 3, *ACTS.shape))
    many = policy.with_theta(theta)
    pi, back = many.probabilities(MDP), many.pullback(MDP, weight)
    assert pi.shape == (2, 3, *ACTS.shape)
    assert back.shape == theta.shape
    for i, j in np.ndindex(2, 3):
        one = policy.with_theta(theta[i, j])
        np.testing.assert_allclose(pi[i, j], one.probabilities(MDP), rtol=1e-14)
        np.testing.assert_allclose(back[i, j], one.pullback(MDP, weight[i, j]), rtol=0, atol=1e-13)


@given(
    logits=st.lists(st.floats(-800, 800), min_size=4, max_size=4),
    mask=st.lists(st.booleans(), min_size=4, max_size=4),
    shift=st.floats(-1e3, 1e3),
)
@settings(max_examples=60, deadline=None)
def test_masked_softmax(logits: list[float], mask: list[bool], shift: float) -> None:
    z, allowed = np.array(logits), np.array(mask)
    pi = masked_softmax(z, allowed)
    assert abs(pi.sum() - 1.0) < 1e-14
    assert (pi >= 0).all()
    np.testing.assert_allclose(masked_softmax(z + shift, allowed), pi, rtol=0, atol=1e-12)
    if not allowed.any():
        np.testing.assert_allclose(pi, np.exp(z - z.max()) / np.exp(z - z.max()).sum(), atol=1e-14)
    elif not allowed.all():
        assert not pi[~allowed].any()
        assert (masked_softmax(np.where(allowed, z, 1e9), allowed) == pi).all()


def test_from_probabilities_gives_them_back_zeros_included() -> None:
    mdp = make("random", states=4, actions=3, seed=0)
    table = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [1e-300, 1.0, 0.0], [0.0, 0.0, 0.0]])
    policy = SoftmaxPolicy.from_probabilities(mdp, table)
    pi = policy.probabilities(mdp)
    np.testing.assert_allclose(pi[:4], table[:4], rtol=1e-12)
    assert (pi[:4][table[:4] == 0] == 0).all()
    assert (replace(policy, temperature=100.0).probabilities(mdp)[:4][table[:4] == 0] == 0).all()
    assert np.isfinite(policy.theta).all()
    assert np.isfinite(policy.pullback(mdp, np.ones((5, 3)))).all()
    np.testing.assert_array_equal(
        SoftmaxPolicy.from_probabilities(mdp, np.stack([table] * 2)).theta, np.stack([policy.theta] * 2)
    )


def test_random_policies_come_from_their_seed() -> None:
    one, two, other = (SoftmaxPolicy.random(MDP, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.theta, two.theta)
    assert (one.theta != other.theta).all()
    many = SoftmaxPolicy.random(make("random", states=300), 5, scale=3.0, replicates=10)
    # 300 contexts and the end's, 3 actions, 10 replicates: the sample deviation is within 5 standard errors.
    assert abs(many.theta.std() / 3.0 - 1) < 5 / np.sqrt(2 * many.theta.size)
    assert abs(many.theta.mean()) < 5 * 3.0 / np.sqrt(many.theta.size)


def test_tabular_features_are_the_softmax_table() -> None:
    softmax = SoftmaxPolicy.random(MDP, seed=1)
    linear = LogLinearPolicy.tabular(MDP).with_theta(softmax.theta)
    weight = np.random.default_rng(0).standard_normal(ACTS.shape)
    np.testing.assert_allclose(linear.probabilities(MDP), softmax.probabilities(MDP), rtol=1e-14)
    np.testing.assert_allclose(linear.pullback(MDP, weight), softmax.pullback(MDP, weight), rtol=0, atol=1e-14)


def test_features_from_contexts_do_not_see_the_state() -> None:
    linear = LogLinearPolicy.random(MDP, seed=0, dimension=3)
    pi = linear.probabilities(replace(MDP, mask=np.ones_like(MDP.mask)))
    for c in np.unique(MDP.context):
        assert (pi[MDP.context == c] == pi[MDP.context == c][0]).all()


def test_greedy_takes_the_first_of_the_best() -> None:
    mdp = make("chain", length=3)
    policy = SoftmaxPolicy(np.array([0.0, 1.0, 2.0, 0.0, 3.0, 3.0, 0.0, 0.0]), 2)
    best = greedy(mdp, policy)
    np.testing.assert_array_equal(best.probabilities(mdp)[:3], [[0, 1], [1, 0], [1, 0]])
    assert best.pullback(mdp, np.ones((4, 2))).shape == (0,)
    assert greedy(mdp, policy.with_theta(np.stack([policy.theta] * 2))).table.shape == (2, 4, 2)
    cold = replace(policy, temperature=1e-3).probabilities(mdp)
    np.testing.assert_allclose(cold[:2], best.probabilities(mdp)[:2], atol=1e-12)


def test_mixture_is_the_mean_of_its_components() -> None:
    softmax, fixed = kinds()["softmax"], FixedPolicy(SoftmaxPolicy.uniform(MDP).probabilities(MDP))
    mixture = MixturePolicy([softmax, fixed], [0.75, 0.25])
    np.testing.assert_allclose(
        mixture.probabilities(MDP), 0.75 * softmax.probabilities(MDP) + 0.25 * fixed.probabilities(MDP), rtol=1e-15
    )
    only = MixturePolicy([softmax, fixed], [1.0, 0.0])
    weight = np.random.default_rng(0).standard_normal(ACTS.shape)
    np.testing.assert_allclose(only.pullback(MDP, weight), softmax.pullback(MDP, weight), atol=1e-14)


THETA = np.zeros(MDP.n_contexts * 3)
BAD: list[tuple[Any, str]] = [
    (lambda: SoftmaxPolicy(np.zeros(7), 3), r"policy theta: got shape \(7,\), allowed \(\.\.\., contexts \* 3\)"),
    (lambda: SoftmaxPolicy(THETA, 3, temperature=0.0), "temperature: got 0.0"),
    (lambda: SoftmaxPolicy(THETA, 3, temperature=float("nan")), "temperature: got nan"),
    (lambda: SoftmaxPolicy(np.zeros(3), 3).probabilities(MDP), r"policy table: got shape \(1, 3\)"),
    (lambda: SoftmaxPolicy(THETA, 1).probabilities(MDP), "policy table: got shape"),
    (lambda: SoftmaxPolicy.from_probabilities(MDP, np.ones((2, 2))), "policy table: got shape"),
    (lambda: SoftmaxPolicy.from_probabilities(MDP, np.ones((MDP.n_contexts, 3))), "policy table: got a row that is 2"),
    (
        lambda: SoftmaxPolicy.from_probabilities(MDP, np.tile([2.0, -1.0, 0.0], (MDP.n_contexts, 1))),
        "policy table: got -1.0",
    ),
    (lambda: SoftmaxPolicy.from_probabilities(MDP, np.full((MDP.n_contexts, 3), np.nan)), "policy table: got nan"),
    (lambda: SoftmaxPolicy.random(MDP, -1), "seed: got -1"),
    (lambda: LogLinearPolicy(np.zeros(2), np.zeros((7, 3, 4))), "policy features: got features"),
    (lambda: LogLinearPolicy(np.zeros(4), np.zeros((5, 3, 4))).probabilities(MDP), "policy features: got shape"),
    (lambda: LogLinearPolicy.from_contexts(MDP, np.zeros((2, 3, 4))), "policy features: got shape"),
    (lambda: FixedPolicy(np.zeros((2, 3))).probabilities(MDP), "policy probabilities: got shape"),
    (lambda: FixedPolicy(np.zeros((2, 3))).with_theta(np.zeros(1)), "policy theta: got 1 parameters"),
    (lambda: MixturePolicy([kinds()["softmax"]], [0.5, 0.5]), "mixture weights: got 2 of them, allowed 1"),
    (lambda: MixturePolicy([kinds()["softmax"]], [0.5]), r"mixture weights: got \[0.5\]"),
    (lambda: MixturePolicy([], []), "mixture weights: got 0"),
    (lambda: kinds()["mixture"].with_theta(np.zeros(1)), "policy theta: got 1 parameters"),
]


@pytest.mark.parametrize(("call", "line"), BAD)
def test_bad_policies_are_one_line_errors(call: Any, line: str) -> None:
    with pytest.raises(InputError, match="^" + line) as caught:
        call()
    assert "\n" not in str(caught.value)
