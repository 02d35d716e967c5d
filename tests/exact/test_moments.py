from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from exact_cases import (
    against_first,
    batch_whitened,
    centred,
    episode_return,
    errors_line,
    leave_one_out,
    mean_by,
    policy_of,
    random_mdp,
    random_policy,
    reward_to_go,
    standardised,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError, NumericalError, TooLargeError
from creditsim.exact.compositions import compositions
from creditsim.exact.dp import solve
from creditsim.exact.gradient import policy_gradient
from creditsim.exact.moments import Credit, Moments, by_anchor_size, exact_moments, moments_of
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts


def assert_same(a: Moments, b: Moments, tolerance: float) -> None:
    for name in ("keys", "rows", "mean", "variance", "target", "mse", "degenerate", "singleton_anchors"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=0, atol=tolerance, err_msg=name)
    for field in fields(a.gradient):
        np.testing.assert_allclose(
            getattr(a.gradient, field.name), getattr(b.gradient, field.name), rtol=0, atol=tolerance, err_msg=field.name
        )


def two_armed(p: float = 0.3) -> tuple[TabularMDP, SoftmaxPolicy]:
    """Action 0 pays 1, action 1 nothing; P(action 0) = p."""
    mdp = make("answers", p=((1.0, 0.0),))
    return mdp, policy_of(mdp, [[p, 1 - p]])


def test_bandit_equals_rational_arithmetic() -> None:
    p, n = Fraction(3, 10), 4
    rows = {0: Fraction(0), 1: Fraction(0)}
    first, second = dict(rows), dict(rows)
    grad, grad2 = Fraction(0), Fraction(0)
    for group in product((0, 1), repeat=n):
        wins = n - sum(group)
        chance = p**wins * (1 - p) ** (n - wins)
        g = Fraction(0)
        for a in group:
            credit = (1 - a) - Fraction(wins, n)
            rows[a] += chance
            first[a] += chance * credit
            second[a] += chance * credit**2
            g += credit * ((1 - a) - p) / n
        grad += chance * g
        grad2 += chance * g**2
    mdp, policy = two_armed(0.3)
    found = exact_moments(centred, mdp, policy, group_size=n)
    for a in (0, 1):
        at = found.index(0, a)
        mean = first[a] / rows[a]
        target = (1 - a) - p
        assert found.rows[at] == pytest.approx(float(rows[a]), rel=1e-14)
        assert found.mean[at] == pytest.approx(float(mean), rel=1e-14)
        assert found.variance[at] == pytest.approx(float(second[a] / rows[a] - mean**2), rel=1e-14)
        assert found.target[at] == pytest.approx(float(target), rel=1e-13)
        mse = second[a] / rows[a] - 2 * target * mean + target**2
        assert found.mse[at] == pytest.approx(float(mse), rel=1e-13)
    assert found.gradient.mean[0] == pytest.approx(float(grad), rel=1e-14)
    assert found.gradient.covariance is not None
    assert found.gradient.covariance[0, 0] == pytest.approx(float(grad2 - grad**2), rel=1e-13)
    assert found.gradient.trace == pytest.approx(2 * float(grad2 - grad**2), rel=1e-13)
    assert found.degenerate == pytest.approx(float(p**n + (1 - p) ** n), rel=1e-14)
    assert found.singleton_anchors == 0.0
    assert found.batches == 5


@pytest.mark.parametrize("credit", [centred, leave_one_out, standardised, reward_to_go])
@pytest.mark.parametrize("by", ["state", "time"])
def test_multisets_and_ordered_tuples_agree(credit: Credit, by: str) -> None:
    mdp = random_mdp(2, states=3, horizon=2, starts=2)
    policy = random_policy(mdp, 4)
    sets = exact_moments(credit, mdp, policy, group_size=3, by=by)
    tuples = exact_moments(credit, mdp, policy, group_size=3, by=by, symmetric=False)
    assert tuples.batches > 2 * sets.batches
    assert_same(sets, tuples, 1e-13)


def test_order_dependent_estimators_need_ordered_tuples() -> None:
    mdp, policy = two_armed(0.3)
    ordered = exact_moments(against_first, mdp, policy, group_size=3, symmetric=False)
    # The first member meets itself; for the others the first is an independent baseline.
    assert ordered.gradient.mean[0] == pytest.approx(2 / 3 * 0.3 * 0.7, rel=1e-13)
    wrong = exact_moments(against_first, mdp, policy, group_size=3)
    assert abs(wrong.gradient.mean[0] - ordered.gradient.mean[0]) > 1e-2


def test_several_groups_in_a_batch() -> None:
    mdp = make("answers@tiny")
    policy = random_policy(mdp, 3)
    sets = exact_moments(batch_whitened, mdp, policy, group_size=2, groups=2)
    tuples = exact_moments(batch_whitened, mdp, policy, group_size=2, groups=2, symmetric=False)
    assert_same(sets, tuples, 1e-13)
    alone = exact_moments(batch_whitened, mdp, policy, group_size=2)
    assert abs(sets.gradient.trace - alone.gradient.trace) > 1e-2
    # An estimator that keeps groups apart has the same mean, and half the variance of one group.
    one = exact_moments(centred, mdp, policy, group_size=2)
    two = exact_moments(centred, mdp, policy, group_size=2, groups=2)
    np.testing.assert_allclose(two.mean, one.mean, atol=1e-14)
    np.testing.assert_allclose(two.rows, 2 * one.rows, atol=1e-14)
    assert one.gradient.covariance is not None
    assert two.gradient.covariance is not None
    np.testing.assert_allclose(two.gradient.covariance, one.gradient.covariance / 2, atol=1e-15)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_reinforce_and_leave_one_out_are_unbiased(seed: int) -> None:
    mdp = random_mdp(seed, horizon=2, starts=2)
    policy = random_policy(mdp, seed)
    single = exact_moments(reward_to_go, mdp, policy, group_size=1, gamma=1.0)
    pair = exact_moments(leave_one_out, mdp, policy, group_size=2, gamma=1.0)
    np.testing.assert_allclose(single.gradient.mean, policy_gradient(mdp, policy, 1.0), atol=1e-13)
    np.testing.assert_allclose(pair.gradient.bias, 0.0, atol=1e-13)


@pytest.mark.parametrize(
    "broken",
    [
        lambda r: -leave_one_out(r),  # sign
        centred,  # the baseline holds the member itself
        lambda r: standardised(r),  # divided by the group's deviation
        lambda r: leave_one_out(r.with_columns(reward=np.roll(r.reward, 1))),  # reward off by one row
        lambda r: leave_one_out(r) * (1 - 1e-9),
    ],
)
def test_the_unbiasedness_check_rejects_broken_estimators(broken: Credit) -> None:
    mdp = random_mdp(1, horizon=2)
    policy = random_policy(mdp, 1)
    found = exact_moments(broken, mdp, policy, group_size=3, gamma=1.0)
    assert np.abs(found.gradient.bias).max() > 1e-12


@pytest.mark.parametrize("chunk_rows", [1, 50, 1000])
def test_chunks_do_not_change_a_bit(chunk_rows: int) -> None:
    mdp = make("loop@tiny")
    policy = random_policy(mdp, 0)
    whole = exact_moments(standardised, mdp, policy, group_size=3)
    assert_same(exact_moments(standardised, mdp, policy, group_size=3, chunk_rows=chunk_rows), whole, 0.0)


def test_pooled_keys_average_over_time() -> None:
    mdp = make("loop@tiny")
    policy = random_policy(mdp, 0)
    time = exact_moments(centred, mdp, policy, group_size=2, by="time")
    state = exact_moments(centred, mdp, policy, group_size=2)
    solution = solve(mdp, policy.probabilities(mdp))
    for (step, s, a), rows, target, mse, mean, variance in zip(
        time.keys, time.rows, time.target, time.mse, time.mean, time.variance, strict=True
    ):
        assert target == pytest.approx(solution.advantage[mdp.horizon - step, s, a], abs=1e-14)
        assert rows == pytest.approx(2 * solution.occupancy[step, s] * policy.probabilities(mdp)[s, a], abs=1e-14)
        assert mse == pytest.approx(variance + (mean - target) ** 2, abs=1e-13)
    for (s, a), rows, mean, second in zip(state.keys, state.rows, state.mean, state.second_moment, strict=True):
        here = (time.keys[:, 1:] == (s, a)).all(axis=1)
        assert rows == pytest.approx(time.rows[here].sum(), rel=1e-13)
        assert mean == pytest.approx(np.average(time.mean[here], weights=time.rows[here]), abs=1e-13)
        assert second == pytest.approx(np.average(time.second_moment[here], weights=time.rows[here]), abs=1e-13)


def test_keys_of_the_callers_own() -> None:
    mdp = make("loop@tiny")
    policy = random_policy(mdp, 0)

    def first_or_later(r: Rollouts) -> tuple[np.ndarray, int]:
        return (r.step > 0).astype(np.int64), 2

    own = exact_moments(centred, mdp, policy, group_size=2, by=first_or_later)
    time = exact_moments(centred, mdp, policy, group_size=2, by="time")
    assert own.keys.tolist() == [[0], [1]]
    first = time.keys[:, 0] == 0
    assert own.mean[0] == pytest.approx(np.average(time.mean[first], weights=time.rows[first]), abs=1e-14)
    sizes = exact_moments(centred, mdp, policy, group_size=2, by=by_anchor_size(mdp, 20))
    entry, size = np.divmod(sizes.keys[:, 0], 21)
    assert set(size.tolist()) == {2, 3, 4, 5, 6, 7, 8}  # one looping state, two trajectories of one to four rows
    assert set(entry.tolist()) == {0, 1, 2}
    state = exact_moments(centred, mdp, policy, group_size=2)
    np.testing.assert_allclose([sizes.rows[entry == e].sum() for e in range(3)], state.rows, atol=1e-14)
    with pytest.raises(InputError, match=r"^by: got keys .* allowed 0 \.\. 0$"):
        exact_moments(centred, mdp, policy, group_size=2, by=lambda r: (r.step, 1))


def test_shares_of_degenerate_and_singleton_groups() -> None:
    # Three prompts' answers seen as one state: with one answer per trajectory every anchor group is the whole group.
    mdp, policy = two_armed(0.2)
    assert exact_moments(centred, mdp, policy, group_size=1).singleton_anchors == 1.0
    assert exact_moments(centred, mdp, policy, group_size=1).degenerate == 1.0
    chain = make("chain", length=2, horizon=2)
    uniform = SoftmaxPolicy.uniform(chain)
    found = exact_moments(centred, chain, uniform, group_size=2)
    # States after the first step: (1,1) w.p. 1/4: one anchor group of two; (0,1), (1,0) w.p. 1/2: state 0 three times
    # and state 1 once; (0,0) w.p. 1/4: state 0 four times. Groups: 2, 2, 1; singletons: 0, 1, 0.
    assert found.singleton_anchors == pytest.approx(0.5 / (0.25 * 2 + 0.5 * 2 + 0.25 * 1), rel=1e-14)
    assert found.degenerate == pytest.approx((1 / 4) ** 2 + (3 / 4) ** 2, rel=1e-14)


def listed(mdp: TabularMDP, policy: SoftmaxPolicy, n: int) -> tuple[Rollouts, np.ndarray]:
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    ((index, probability),) = compositions(law, group_size=n)
    return law.compose(index), probability


def test_listed_outcomes_in_any_order_give_the_same() -> None:
    mdp = make("loop@tiny")
    policy = random_policy(mdp, 0)
    rollouts, probability = listed(mdp, policy, 2)
    expected = exact_moments(centred, mdp, policy, group_size=2)
    assert_same(moments_of(rollouts, probability, centred, mdp, policy), expected, 0.0)
    order = np.random.default_rng(0).permutation(rollouts.n_trajectories)
    shuffled = rollouts.take(order, group=rollouts.group[order], batch=rollouts.batch[order])
    assert_same(moments_of(shuffled, probability, centred, mdp, policy), expected, 1e-14)


def test_rows_of_weight_zero_do_not_count() -> None:
    mdp = make("loop@tiny")
    policy = random_policy(mdp, 0)
    rollouts, probability = listed(mdp, policy, 1)
    plain = moments_of(rollouts, probability, reward_to_go, mdp, policy)
    twice = np.concatenate([np.arange(rollouts.n_trajectories)] * 2)
    doubled = rollouts.take(twice, group=rollouts.group[twice], batch=rollouts.batch[twice])
    auxiliary = (doubled.trajectory < rollouts.n_trajectories).astype(float)
    found = moments_of(doubled.with_columns(weight=auxiliary), probability, reward_to_go, mdp, policy)
    for name in ("keys", "rows", "mean", "variance"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), atol=1e-15, err_msg=name)
    np.testing.assert_allclose(found.gradient.mean, plain.gradient.mean, atol=1e-15)
    half = moments_of(rollouts.with_columns(weight=np.full(rollouts.n_rows, 0.5)), probability, centred, mdp, policy)
    np.testing.assert_allclose(half.rows, plain.rows / 2, atol=1e-15)


def test_a_tree_counts_every_row_once_and_returns_along_paths() -> None:
    # One stem (right), then both second moves of a two-step chain: leaves return 1 and 0.
    mdp = make("chain", length=2, horizon=2)
    policy = SoftmaxPolicy.uniform(mdp)
    tree = Rollouts.flat(
        offsets=[0, 1, 2, 3],
        group=[0, 0, 0],
        parent=[-1, 0, 0],
        reward=[0.0, 1.0, 0.0],
        observation=[0, 1, 1],
        action=[1, 1, 0],
        columns={"state": np.array([0, 1, 1])},
    )
    found = moments_of(tree, np.ones(1), lambda r: np.array([2.0, 5.0, 7.0]), mdp, policy)
    assert found.rows.tolist() == [1.0, 1.0, 1.0]
    assert found.mean[found.index(1, 1)] == 5.0
    assert found.degenerate == 0.0
    assert found.singleton_anchors == 0.5
    assert found.gradient.trace == 0.0
    np.testing.assert_allclose(found.gradient.mean[2:4], [(7 - 5) * 0.5 / 3, (5 - 7) * 0.5 / 3], atol=1e-15)


def test_a_constant_has_no_variance_and_the_summaries_say_so() -> None:
    mdp, policy = two_armed(0.3)
    still = exact_moments(lambda r: np.full(r.n_rows, 0.1), mdp, policy, group_size=3)
    assert still.variance.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(still.mse, still.bias**2, atol=1e-16)
    nothing = exact_moments(lambda r: np.zeros(r.n_rows), mdp, policy, group_size=3)
    assert nothing.gradient.trace == 0.0
    assert np.isnan(nothing.gradient.cosine)
    assert np.isnan(nothing.gradient.signal_to_noise)
    sure = moments_of(*listed(mdp, policy_of(mdp, [[1.0, 0.0]]), 1), centred, mdp, policy)
    assert sure.gradient.trace == 0.0
    exact = exact_moments(leave_one_out, mdp, policy, group_size=3)
    assert exact.gradient.cosine == pytest.approx(1.0, abs=1e-14)
    assert exact.gradient.signal_to_noise == pytest.approx(
        np.linalg.norm(exact.gradient.exact) / exact.gradient.trace**0.5, rel=1e-12
    )
    flipped = exact_moments(lambda r: -leave_one_out(r), mdp, policy, group_size=3)
    assert flipped.gradient.cosine == pytest.approx(-1.0, abs=1e-14)


def test_the_trace_alone_is_that_of_the_covariance() -> None:
    mdp = random_mdp(3, horizon=2)
    policy = random_policy(mdp, 3)
    full = exact_moments(standardised, mdp, policy, group_size=2)
    alone = exact_moments(standardised, mdp, policy, group_size=2, covariance=False)
    assert alone.gradient.covariance is None
    assert full.gradient.covariance is not None
    assert alone.gradient.trace == pytest.approx(full.gradient.trace, rel=1e-14)
    assert np.linalg.eigvalsh(full.gradient.covariance).min() > -1e-14


def test_covariance_equals_a_plain_numpy_twin() -> None:
    mdp = random_mdp(6, horizon=2)
    policy = random_policy(mdp, 6)
    rollouts, probability = listed(mdp, policy, 2)
    credit, pi = standardised(rollouts), policy.probabilities(mdp)
    g = np.zeros((probability.size, policy.theta.size))
    for row in range(rollouts.n_rows):
        s, a = int(rollouts.columns["state"][row]), int(rollouts.action[row])
        score = np.zeros((mdp.n_contexts, mdp.n_actions))
        score[mdp.context[s]] = (np.arange(mdp.n_actions) == a) - pi[s]
        g[rollouts.batch_rows[row]] += credit[row] * score.reshape(-1) / 2
    mean = probability @ g
    found = exact_moments(standardised, mdp, policy, group_size=2).gradient
    assert found.covariance is not None
    np.testing.assert_allclose(found.mean, mean, atol=1e-14)
    np.testing.assert_allclose(found.covariance, (g * probability[:, None]).T @ g - np.outer(mean, mean), atol=1e-14)


def test_bad_input_gets_one_line() -> None:
    mdp, policy = two_armed()
    rollouts, probability = listed(mdp, policy, 2)
    for bad, match in (
        (lambda r: np.zeros(3), r"^credit: got a result of shape \(3,\), allowed \(6,\)"),
        (lambda r: np.full(r.n_rows, np.nan), "^credit: got NaN or infinity, allowed finite numbers$"),
    ):
        with pytest.raises(InputError, match=match) as wrong:
            exact_moments(bad, mdp, policy, group_size=2)
        errors_line(wrong.value)
    with pytest.raises(InputError, match=r"^by: got 'tme', allowed state \| time; nearest: time$"):
        exact_moments(centred, mdp, policy, group_size=2, by="tme")
    with pytest.raises(InputError, match=r"^policy: got replicates of shape \(4,\), allowed one policy$"):
        exact_moments(centred, mdp, SoftmaxPolicy.uniform(mdp, 4), group_size=2)
    with pytest.raises(InputError, match=r"^probability: got shape \(2,\), allowed \(3,\), one entry per batch$"):
        moments_of(rollouts, probability[:2], centred, mdp, policy)
    with pytest.raises(TooLargeError, match="allowed at most 100"):
        exact_moments(centred, make("loop@tiny"), random_policy(make("loop@tiny"), 0), group_size=4, limit=100)
    with pytest.raises(InputError, match=r"^key: got \(5, 5\)"):
        exact_moments(centred, mdp, policy, group_size=2).index(5, 5)
    bare = Rollouts.flat(offsets=[0, 1], group=[0], reward=[1.0])
    with pytest.raises(InputError, match="no 'state', needed by exact moments"):
        moments_of(bare, np.ones(1), centred, mdp, policy)


@pytest.mark.parametrize("scale", [1 - 1e-11, 1 + 1e-11])
def test_probabilities_that_miss_one_are_refused(scale: float) -> None:
    mdp, policy = two_armed()
    rollouts, probability = listed(mdp, policy, 2)
    with pytest.raises(NumericalError, match="allowed 1 to within 1e-12"):
        moments_of(rollouts, probability * scale, centred, mdp, policy)


def test_group_mean_given_a_group_that_is_not_degenerate() -> None:
    # Weights select outcomes: the group mean as "advantage", rows of degenerate groups at weight 0.
    mdp, policy = two_armed(0.3)
    rollouts, probability = listed(mdp, policy, 4)
    mean = mean_by(episode_return(rollouts), rollouts.group)[rollouts.trajectory]
    kept = ((mean > 0) & (mean < 1)).astype(float)
    found = moments_of(rollouts.with_columns(weight=kept), probability, lambda r: mean, mdp, policy)
    pooled = np.average(found.mean, weights=found.rows)
    assert pooled == pytest.approx((0.3 - 0.3**4) / (1 - 0.3**4 - 0.7**4), rel=1e-13)
