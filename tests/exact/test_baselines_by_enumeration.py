"""Base family: leave-one-out, groups that are not degenerate, GAE with a wrong value, turn-wise centring."""

from __future__ import annotations

import numpy as np
import pytest
from exact_cases import Credit, episode_return, mean_by, policy_of, random_policy, returns

from creditsim.estimators.base import advantage
from creditsim.exact.compositions import compositions
from creditsim.exact.dp import solve
from creditsim.exact.gradient import policy_gradient
from creditsim.exact.moments import exact_moments
from creditsim.exact.trajectories import TrajectoryLaw, enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

# --- Leave-one-out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 8, 16])
def test_rloo_is_unbiased_in_a_bandit_and_the_mean_baseline_is_short_of_it(n: int) -> None:
    mdp = make("answers", p=((0.2, 0.7, 0.5),))
    policy = random_policy(mdp, 0)
    rloo = exact_moments(lambda r: advantage(r, "rloo"), mdp, policy, group_size=n)
    np.testing.assert_allclose(rloo.mean, rloo.target, atol=1e-13)
    np.testing.assert_allclose(rloo.gradient.mean, rloo.gradient.exact, atol=1e-13)
    mean = exact_moments(lambda r: advantage(r, "dr_grpo"), mdp, policy, group_size=n)
    np.testing.assert_allclose(mean.mean, (n - 1) / n * rloo.mean, atol=1e-13)
    np.testing.assert_allclose(mean.variance, ((n - 1) / n) ** 2 * rloo.variance, atol=1e-13)
    assert np.abs(mean.bias).max() > 1e-3


# --- Groups that are not degenerate ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "n", "expected"),
    [
        (0.1, 4, 0.2906),
        (0.1, 8, 0.1756),
        (0.3, 4, 0.3883),
        (0.3, 8, 0.3183),
        (0.9, 4, 0.7094),
        (0.9, 8, 0.8244),
        (0.2, 2, 0.5),
    ],
)
def test_the_mean_of_a_mixed_group_is_pulled_to_the_middle(p: float, n: int, expected: float) -> None:
    mdp = make("answers", p=((1.0, 0.0),))
    law = enumerate_trajectories(mdp, policy_of(mdp, [[p, 1 - p]]).probabilities(mdp))
    ((index, probability),) = compositions(law, group_size=n)
    wins = episode_return(law.rollouts)[index].mean(axis=1)
    mixed = (wins > 0) & (wins < 1)
    found = probability[mixed] @ wins[mixed] / probability[mixed].sum()
    assert found == pytest.approx((p - p**n) / (1 - p**n - (1 - p) ** n), rel=1e-12)
    assert found == pytest.approx(expected, abs=5e-5)
    # Broken twin: all groups, degenerate ones included, have the plain mean.
    assert probability @ wins == pytest.approx(p, rel=1e-12)


# --- GAE with a wrong value -----------------------------------------------------------------------------------------


def gae_case() -> tuple[TabularMDP, SoftmaxPolicy, np.ndarray]:
    mdp = make("chain", length=3, horizon=4, slip=0.2)
    return mdp, random_policy(mdp, 5), np.array([0.3, -0.2, 0.5, 0.0])


def gae(mdp: TabularMDP, policy: SoftmaxPolicy, error: np.ndarray, gamma: float, lam: float) -> Credit:
    solution = solve(mdp, policy.probabilities(mdp), gamma)

    def of(r: Rollouts) -> np.ndarray:
        state = r.columns["state"]
        value = solution.value[mdp.horizon - r.step, state] + error[state]
        return advantage(r.with_columns(value=value), "gae", gamma=gamma, lam=lam, bootstrap=False)

    return of


def gae_bias(mdp: TabularMDP, policy: SoftmaxPolicy, e: np.ndarray, gamma: float, lam: float, key: np.ndarray) -> float:
    """-e(s) + (1 - lam) sum_{l >= 1} gamma^l lam^(l-1) E[e(s_l) | s, a], e = 0 after the end."""
    step, s, a = (int(k) for k in key)
    pi = policy.probabilities(mdp)
    move = np.zeros((mdp.n_states, mdp.n_actions, mdp.n_states))
    for b in range(mdp.n_successors):
        np.add.at(move, (*np.indices(mdp.mask.shape), mdp.successor[:, :, b]), mdp.probability[:, :, b])
    at = move[s, a] * ~mdp.terminal
    total = -e[s]
    for ahead in range(1, mdp.horizon - step):
        total += (1 - lam) * gamma**ahead * lam ** (ahead - 1) * (at @ e)
        at = np.einsum("s,sa,sat->t", at, pi, move) * ~mdp.terminal
    return float(total)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("lam", [0.0, 0.3, 0.7, 0.95, 1.0])
def test_bias_curve_of_gae(gamma: float, lam: float) -> None:
    mdp, policy, error = gae_case()
    found = exact_moments(gae(mdp, policy, error, gamma, lam), mdp, policy, group_size=1, by="time", gamma=gamma)
    expected = np.array([gae_bias(mdp, policy, error, gamma, lam, key) for key in found.keys])
    np.testing.assert_allclose(found.bias, expected, atol=1e-13)
    # Broken twin: the curve of another lambda.
    other = np.array([gae_bias(mdp, policy, error, gamma, abs(lam - 0.1), key) for key in found.keys])
    assert np.abs(found.bias - other).max() > 1e-3


def test_gae_gradient_is_unbiased_for_any_value_at_lambda_one_only() -> None:
    mdp, policy, error = gae_case()
    full = exact_moments(gae(mdp, policy, error, 1.0, 1.0), mdp, policy, group_size=1)
    np.testing.assert_allclose(full.gradient.bias, 0.0, atol=1e-13)
    part = exact_moments(gae(mdp, policy, error, 1.0, 0.5), mdp, policy, group_size=1)
    assert np.abs(part.gradient.bias).max() > 1e-2


def test_gae_variance_rises_with_lambda_when_the_value_is_exact() -> None:
    mdp, policy, error = gae_case()
    lams = (0.0, 0.25, 0.5, 0.75, 1.0)
    found = [exact_moments(gae(mdp, policy, 0 * error, 1.0, lam), mdp, policy, group_size=1, by="time") for lam in lams]
    for moments in found:
        np.testing.assert_allclose(moments.bias, 0.0, atol=1e-13)
    variance = np.stack([moments.variance for moments in found])
    assert (np.diff(variance, axis=0) > -1e-13).all()
    assert variance[-1].sum() > variance[0].sum() + 0.1


# --- Centring rewards per turn and accumulating ---------------------------------------------------------------------


def turnwise(r: Rollouts) -> np.ndarray:
    """Reward less the mean of the group's members alive at that turn, accumulated from the turn on."""
    turns = int(r.step.max()) + 1
    return returns(r.with_columns(reward=r.reward - mean_by(r.reward, r.group_rows * turns + r.step)))


def turnwise_return(r: Rollouts) -> np.ndarray:
    """Return to go less its mean over the group's members alive at that turn."""
    turns = int(r.step.max()) + 1
    to_go = returns(r)
    return to_go - mean_by(to_go, r.group_rows * turns + r.step)


class TurnParts:
    """p_k = P(T >= k), grad p_k, p_k grad mu_k and turn k's part of the exact gradient, by sums over the law."""

    def __init__(self, mdp: TabularMDP, policy: SoftmaxPolicy) -> None:
        law: TrajectoryLaw = enumerate_trajectories(mdp, policy.probabilities(mdp))
        r = law.rollouts
        pi = policy.probabilities(mdp)
        state = r.columns["state"]
        score = np.zeros((r.n_rows, mdp.n_contexts, mdp.n_actions))
        score[np.arange(r.n_rows), mdp.context[state]] = (np.arange(mdp.n_actions) == r.action[:, None]) - pi[state]
        score = score.reshape(r.n_rows, -1)
        whole = np.zeros((r.n_trajectories, score.shape[1]))
        np.add.at(whole, r.trajectory, score)
        to_go, chance = returns(r), law.joint[r.trajectory]
        self.p, self.grad_p, self.p_grad_mu, self.part, self.mu = [], [], [], [], []
        for k in range(int(r.step.max()) + 1):
            rows = np.flatnonzero(r.step == k)
            p = chance[rows].sum()
            mu = chance[rows] @ r.reward[rows] / p
            grad_p = chance[rows] @ whole[r.trajectory[rows]]
            both = (chance[rows] * r.reward[rows]) @ whole[r.trajectory[rows]]
            self.p.append(p)
            self.mu.append(mu)
            self.grad_p.append(grad_p)
            self.p_grad_mu.append(both - mu * grad_p)
            self.part.append((chance[rows] * to_go[rows]) @ score[rows])

    def shrink(self, n: int) -> list[float]:
        """c_k = 1 - (1 - (1 - p_k)^n) / (n p_k): what the self-term leaves of turn k."""
        return [1 - (1 - (1 - p) ** n) / (n * p) for p in self.p]


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("q", [0.2, 0.5, 0.9])
def test_turnwise_centring_has_the_wrong_sign_at_every_group_size(q: float, n: int) -> None:
    mdp = make("stopping", turns=2, stop=0.6, go=0.3, last=0.5)
    policy = policy_of(mdp, [[1 - q, q]])
    found = exact_moments(turnwise, mdp, policy, group_size=n).gradient
    slope = q * (1 - q)  # dq / d logit
    assert found.exact[1] == pytest.approx(0.2 * slope, rel=1e-12)
    assert found.mean[1] == pytest.approx(-0.3 * (n - 1) / n * slope, rel=1e-12)
    assert found.cosine == pytest.approx(-1.0, abs=1e-12)


def test_turnwise_centring_sees_nothing_where_every_turn_pays_the_same() -> None:
    mdp = make("stopping", turns=4, stop=0.25, go=0.25, last=0.25)
    policy = random_policy(mdp, 3)
    found = exact_moments(turnwise, mdp, policy, group_size=3).gradient
    assert found.mean.tolist() == [0.0] * found.mean.size
    parts = TurnParts(mdp, policy)
    np.testing.assert_allclose(found.exact, 0.25 * np.sum(parts.grad_p, axis=0), atol=1e-14)
    assert np.abs(found.exact).max() > 1e-3


@pytest.mark.parametrize("n", [2, 3])
def test_turnwise_centring_equals_its_formula_and_the_return_form_is_unbiased_per_turn(n: int) -> None:
    mdp = make("stopping", turns=3, stop=(0.7, 0.1), go=(0.3, -0.2), last=0.5, noise=0.2)
    policy = random_policy(mdp, 4)
    parts = TurnParts(mdp, policy)
    np.testing.assert_allclose(np.sum(parts.part, axis=0), policy_gradient(mdp, policy), atol=1e-14)
    c = parts.shrink(n)
    found = exact_moments(turnwise, mdp, policy, group_size=n).gradient
    np.testing.assert_allclose(found.mean, sum(ck * g for ck, g in zip(c, parts.p_grad_mu, strict=True)), atol=1e-14)
    to_go = exact_moments(turnwise_return, mdp, policy, group_size=n).gradient
    np.testing.assert_allclose(to_go.mean, sum(ck * g for ck, g in zip(c, parts.part, strict=True)), atol=1e-14)
    # The formula can fail: neither estimator has the other's expectation, nor that of another group size.
    assert np.abs(found.mean - to_go.mean).max() > 1e-2
    wrong = sum(ck * g for ck, g in zip(parts.shrink(n + 1), parts.p_grad_mu, strict=True))
    assert np.abs(found.mean - wrong).max() > 1e-3


def test_only_the_factors_remain_where_the_environment_alone_ends_the_episode() -> None:
    mdp = make("stopping", turns=3, stop=(0.7, 0.1), go=(0.3, -0.2), last=0.5, control=0.0)
    policy = random_policy(mdp, 4)
    parts = TurnParts(mdp, policy)
    np.testing.assert_allclose(parts.grad_p, 0.0, atol=1e-14)
    np.testing.assert_allclose(np.sum(parts.p_grad_mu, axis=0), policy_gradient(mdp, policy), atol=1e-14)
    found = exact_moments(turnwise, mdp, policy, group_size=3).gradient
    expected = sum(ck * g for ck, g in zip(parts.shrink(3), parts.p_grad_mu, strict=True))
    np.testing.assert_allclose(found.mean, expected, atol=1e-14)
    assert found.cosine > 0.9
