"""GiGPO's bias, exactly: what holds, by how much the common variants miss it, and where revisits break it."""

from __future__ import annotations

import numpy as np
import pytest
from exact_cases import Credit, episode_return, policy_of, random_policy

from creditsim.estimators.base import advantage, credit
from creditsim.exact.moments import Moments, by_anchor_size, exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts


def episode_part(weighting: str = "trajectory", normalize: str = "mean") -> Credit:
    return lambda r: advantage(
        r, "gigpo", step_weight=0.0, gamma=1.0, weighting=weighting, normalize=normalize, episode_singleton="zero"
    )


def step_part(gamma: float) -> Credit:
    def of(r: Rollouts) -> np.ndarray:
        columns = credit(r, "gigpo", gamma=gamma, normalize="mean")
        assert isinstance(columns, dict)
        return columns["step_advantage"]

    return of


def by_return(r: Rollouts) -> tuple[np.ndarray, int]:
    """Key of each row: ten times the episode return, for environments that pay multiples of a tenth."""
    return np.rint(10 * episode_return(r)).astype(np.int64)[r.trajectory], 100


# --- Episode level: (N-1)/N of the truth with trajectory statistics -------------------------------------------------


def unbiased_up_to_self_term(credit_: Credit, mdp: TabularMDP, policy: SoftmaxPolicy, n: int) -> bool:
    found = exact_moments(credit_, mdp, policy, group_size=n)
    return bool(np.abs(found.gradient.mean - (n - 1) / n * found.gradient.exact).max() < 1e-12)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_trajectory_statistics_give_the_gradient_up_to_the_self_term(n: int) -> None:
    mdp = make("stopping", turns=3, noise=0.0)
    policy = random_policy(mdp, 1)
    assert unbiased_up_to_self_term(episode_part(), mdp, policy, n)
    # Broken twins: length-weighted statistics where length goes with return, and division by the group's deviation.
    assert not unbiased_up_to_self_term(episode_part("step"), mdp, policy, n)
    assert not unbiased_up_to_self_term(episode_part(normalize="mean_std"), mdp, policy, n)


def test_given_its_trajectory_the_advantage_is_return_minus_value_up_to_the_self_term() -> None:
    mdp = make("stopping", turns=3, stop=(0.6, 0.2), go=0.3, last=0.5)
    policy, n = random_policy(mdp, 2), 4
    found = exact_moments(episode_part(), mdp, policy, group_size=n, by=by_return)
    value = exact_moments(lambda r: episode_return(r)[r.trajectory], mdp, policy, group_size=1, by="time")
    first = value.keys[:, 0] == 0
    v = np.average(value.mean[first], weights=value.rows[first])
    assert found.keys[:, 0].tolist() == [5, 6, 11]
    np.testing.assert_allclose(found.mean, (n - 1) / n * (found.keys[:, 0] / 10 - v), atol=1e-14)


# --- Row statistics where failures last ten times longer than successes ---------------------------------------------

LONG_FAILURE = make("stopping", turns=50, choices=(4,), stop=1.0, go=0.0, last=0.0)
DECIDING = 4
LOGIT = DECIDING * 2


def deciding(p: float, n: int, weighting: str) -> Moments:
    table = np.full((LONG_FAILURE.n_contexts, 2), 0.5)
    table[DECIDING] = [p, 1 - p]
    policy = policy_of(LONG_FAILURE, table)
    return exact_moments(episode_part(weighting), LONG_FAILURE, policy, group_size=n, covariance=False)


@pytest.mark.parametrize(
    ("p", "rows", "trajectories"), [(0.1, 0.0884, 0.0788), (0.5, 0.2356, 0.2188), (0.9, 0.0575, 0.0788)]
)
def test_row_statistics_bias_the_gradient_of_eight(p: float, rows: float, trajectories: float) -> None:
    assert deciding(p, 8, "step").gradient.mean[LOGIT] == pytest.approx(rows, abs=5e-5)
    fair = deciding(p, 8, "trajectory").gradient
    assert fair.mean[LOGIT] == pytest.approx(trajectories, abs=5.1e-5)  # 0.07875 ends in a five
    assert fair.mean[LOGIT] == pytest.approx(7 / 8 * p * (1 - p), rel=1e-12)
    assert fair.exact[LOGIT] == pytest.approx(p * (1 - p), rel=1e-12)


def test_the_bias_of_row_statistics_vanishes_like_one_over_n_but_the_offset_stays() -> None:
    assert deciding(0.5, 256, "step").gradient.mean[LOGIT] == pytest.approx(0.2497, abs=5e-5)
    offsets = []
    for n in (64, 128):
        found = deciding(0.5, n, "step")
        at = [found.index(DECIDING, a) for a in (0, 1)]
        offsets.append(np.average(found.mean[at], weights=found.rows[at]) - 9 / 22)
    # E[A] -> V - E[T R]/E[T] = 1/2 - 1/11 = 9/22, with an error that halves when N doubles.
    assert abs(offsets[1]) < 0.02
    assert offsets[0] / offsets[1] == pytest.approx(2.0, abs=0.1)


# --- Division by the group's deviation ------------------------------------------------------------------------------


def factor(p: float, n: int) -> float:
    mdp = make("answers", p=((1.0, 0.0),))
    found = exact_moments(episode_part(normalize="mean_std"), mdp, policy_of(mdp, [[p, 1 - p]]), group_size=n)
    return float(found.gradient.mean[0] / (p * (1 - p)))


@pytest.mark.parametrize(
    ("n", "factors"), [(4, (1.49, 1.46, 1.42, 1.40)), (8, (2.41, 2.18, 1.84, 1.74))], ids=["four", "eight"]
)
def test_the_reweighting_by_the_deviation_is_mild_at_usual_group_sizes(n: int, factors: tuple[float, ...]) -> None:
    chances = (0.02, 0.1, 0.3, 0.5)
    assert [factor(p, n) for p in chances] == pytest.approx(factors, abs=5e-3)
    k = np.arange(1, n)
    for p in chances:
        binomial = np.array([float(np.prod(np.arange(n - j + 1, n + 1) / np.arange(1, j + 1))) for j in k])
        binomial *= p**k * (1.0 - p) ** (n - k)
        sums = binomial @ (k * (n - k) / n**2 / (np.sqrt(k * (n - k) / (n * (n - 1.0))) + 1e-6)) / (p * (1 - p))
        assert factor(p, n) == pytest.approx(sums, rel=1e-12)


def test_the_reweighting_has_a_finite_limit_and_meets_the_curve_as_groups_grow() -> None:
    for n in (4, 8):
        assert factor(1e-7, n) == pytest.approx((n - 1) / n**0.5, rel=1e-5)
    curve = [1 / (p * (1 - p)) ** 0.5 for p in (0.02, 0.1, 0.3, 0.5)]
    assert curve == pytest.approx((7.14, 3.33, 2.18, 2.00), abs=5e-3)
    assert factor(0.3, 400) == pytest.approx(curve[2], rel=5e-3)
    assert factor(0.02, 8) < 0.4 * curve[0]


# --- Step level: conditionally independent members ------------------------------------------------------------------


def step_misses(found: Moments, target: np.ndarray, width: int) -> np.ndarray:
    """Pooled mean given (s, a, n) less (n-1)/n of the exact advantage, for every key met."""
    entry, n = np.divmod(found.keys[:, 0], width)
    return found.mean - (n - 1) / n * target[entry]


@pytest.mark.parametrize("seed", [0, 1])
def test_given_the_size_of_its_anchor_group_the_step_part_is_the_advantage_up_to_the_self_term(seed: int) -> None:
    mdp = make("layered@tiny", seed=seed)
    policy, n = random_policy(mdp, seed), 3
    keys = by_anchor_size(mdp, n)
    found = exact_moments(step_part(1.0), mdp, policy, group_size=n, by=keys)
    exact = exact_moments(step_part(1.0), mdp, policy, group_size=1)
    target = np.zeros(mdp.n_states * mdp.n_actions)
    target[exact.keys[:, 0] * mdp.n_actions + exact.keys[:, 1]] = exact.target
    assert set((found.keys[:, 0] % (n + 1)).tolist()) == {1, 2, 3}
    assert np.abs(step_misses(found, target, n + 1)).max() < 1e-13


def test_revisits_break_it() -> None:
    mdp = make("loop", states=1, horizon=12, gamma=0.8)
    policy, largest = SoftmaxPolicy.uniform(mdp), 24
    found = exact_moments(step_part(0.8), mdp, policy, group_size=2, by=by_anchor_size(mdp, largest))
    target = np.zeros(6)
    target[:3] = -1 / 11, 6 / 11, -5 / 11
    assert np.abs(step_misses(found, target, largest + 1)).max() > 0.02


# --- A looping state: pooled means over revisits --------------------------------------------------------------------


def loop_sums(gamma: float, n: int, longest: int = 120) -> np.ndarray:
    """Pooled means of loop, good exit, bad exit without a time limit, from the law of the episode lengths.

    Lengths are geometric, P(L = l) = (1/3)^(l-1) 2/3; the return R of an episode is a fair coin, independent of L; its
    returns to go sum to R s(L), s(l) = (1 - gamma^l) / (1 - gamma). The other n - 1 lengths sum to a negative binomial.
    """
    length = np.arange(1, longest + 1)
    own = (1 / 3) ** (length - 1.0) * 2 / 3
    rest = np.ones(1)  # law of the sum of the others' lengths, from 0
    for _ in range(n - 1):
        rest = np.convolve(rest, np.concatenate([[0.0], own]))
    s = length.astype(float) if gamma == 1 else (1 - gamma**length) / (1 - gamma)
    total = length[:, None] + np.arange(rest.size)
    own_share = (own[:, None] * rest * s[:, None] / total).sum()
    other_share = (n - 1) / 2 * own_share  # E[sum of the others' R_j s(L_j) / total], by exchange
    good = n / 2 * (1 - own_share - other_share)
    bad = n / 2 * -other_share
    return np.array([-(good + bad), good, bad]) / (n / 2)


@pytest.mark.parametrize(
    ("gamma", "n", "expected"),
    [
        (0.8, 2, (-0.06204, 0.29653, -0.23449)),
        (0.8, 8, (-0.08156, 0.48337, -0.40182)),
        (1.0, 2, (0.0, 0.25, -0.25)),
        (1.0, 8, (0.0, 7 / 16, -7 / 16)),
    ],
)
def test_pooled_means_of_the_looping_state(gamma: float, n: int, expected: tuple[float, ...]) -> None:
    assert loop_sums(gamma, n) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("gamma", [0.8, 1.0])
def test_enumeration_of_the_looping_state_meets_the_sums_over_lengths(gamma: float) -> None:
    mdp = make("loop", states=1, horizon=24, gamma=gamma)
    found = exact_moments(step_part(gamma), mdp, SoftmaxPolicy.uniform(mdp), group_size=2)
    # What is cut off has probability 3^-24.
    assert found.mean == pytest.approx(loop_sums(gamma, 2), abs=1e-9)
    half = found.target / 2
    if gamma == 1:
        assert half == pytest.approx((0.0, 0.25, -0.25), abs=1e-9)
        assert found.mean == pytest.approx(half, abs=1e-9)
    else:
        assert half == pytest.approx((-0.04545, 0.27273, -0.22727), abs=5e-6)
        assert np.abs(found.mean - half).min() > 5e-3


def test_the_bias_of_revisits_falls_like_one_over_n() -> None:
    truth = np.array([-1, 6, -5]) / 11
    away = [np.abs(loop_sums(0.8, n) - (n - 1) / n * truth).max() * n for n in (8, 16, 32)]
    assert away[1:] == pytest.approx(away[:-1], rel=0.15)
