"""The pieces that the RLOO and GRPO family's claims are made of, against hand-derived numbers and each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.estimators import ESTIMATORS, Pairs, advantage
from creditsim.estimators.base import estimator
from creditsim.mdp import SoftmaxPolicy
from creditsim.rollouts import Rollouts
from theory.claim import CLAIMS, Trial
from theory.claims import rloo
from theory.claims.dapo import filtered, kept_mean
from theory.claims.grpo_conventions import CASES, first_advantage
from theory.claims.grpo_numerics import one_pass, two_pass
from theory.shared import binary_task, responses


def test_a_binary_task_succeeds_with_its_chance():
    mdp, policy = binary_task(0.3)
    np.testing.assert_allclose(policy.probabilities(mdp)[0], [0.7, 0.3], rtol=1e-12)
    assert mdp.horizon == 1 and mdp.n_actions == 2


@pytest.mark.parametrize("one_batch", [False, True])
def test_responses_are_groups_of_one_row_trajectories(one_batch: bool):
    rollouts = responses([[1.0, 0.0], [0.5]], one_batch=one_batch)
    assert rollouts.group.tolist() == [0, 0, 1] and rollouts.reward.tolist() == [1.0, 0.0, 0.5]
    assert rollouts.n_batches == (1 if one_batch else 2)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("n", [2, 3])
def test_what_is_kept_does_not_depend_on_the_number_of_tries(p: float, n: int):
    means = []
    for tries in (1, 2, 3):
        rollouts, probability = filtered(p, n, tries=tries)
        live = probability[rollouts.batch_rows] * rollouts.columns["weight"]
        means.append(live @ rollouts.reward / live.sum())
    np.testing.assert_allclose(means, kept_mean(p, n), rtol=1e-12)


@given(p=st.floats(0.01, 0.49), n=st.integers(3, 32))
def test_the_filter_pulls_towards_one_half(p: float, n: int):
    hard, easy = kept_mean(p, n), kept_mean(1 - p, n)
    assert p < hard < 0.5 < easy < 1 - p
    assert hard + easy == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
def test_two_answers_that_differ_are_one_success(p: float):
    assert kept_mean(p, 2) == pytest.approx(0.5, abs=1e-12)


def test_rejection_in_the_baseline_adds_its_formula_in_large_groups(monkeypatch: pytest.MonkeyPatch):
    """E[g] tends to dE[r|acc] + (E[r|acc] - E[r]) dlog P(acc): what is left falls like 1/n."""
    monkeypatch.setattr(rloo, "SUCCESS", (1.0, 1.0, 0.0))
    success, rejected = np.array(rloo.SUCCESS), np.array([0.0, 0.5, 0.0])
    mdp = rloo._rejecting_prompt(success, rejected)
    policy = SoftmaxPolicy.random(mdp, 3, scale=0.5)
    pi = policy.probabilities(mdp)[0]
    left = []
    for n in (6, 12, 24):
        mean, target, accepted = rloo._rejected(n, rejected, "rloo@verl", "include")
        kept = float(pi @ ((1 - rejected) * success)) / accepted
        weight = np.zeros((mdp.n_states, mdp.n_actions))
        weight[0] = pi * (1 - rejected - accepted) / accepted
        shift = (kept - kept * accepted) * policy.pullback(mdp, weight)
        left.append(float(np.linalg.norm(mean - target - shift) / np.linalg.norm(shift)))
    assert 1.0 > left[0] > left[1] > left[2]
    assert np.log2(left[1] / left[2]) == pytest.approx(1.0, abs=0.2)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=16).filter(lambda x: len(set(x)) > 1))
def test_one_pass_and_two_passes_agree_on_ordinary_scores(scores: list[int]):
    x = np.array(scores, np.float64)
    want = advantage(responses([scores]), "grpo@verl")
    # Integers up to 20: sums of squares below 2^24 are exact in float32, the rest are a few roundings of 6e-8.
    np.testing.assert_allclose(one_pass(x), want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(two_pass(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [one_pass, two_pass])
def test_equal_scores_that_are_exact_give_nothing(form: Callable[[np.ndarray], np.ndarray]):
    assert not form(np.full(8, 0.5)).any()


BY_HAND = {
    "rloo@paper": (1.0, 4 / 7, 1 / 7, 1.0),
    "dr_grpo@paper": (7 / 8, 1 / 2, 1 / 8, 1 / 2),
    "grpo@paper": tuple(
        (1 - k / n) / np.sqrt(k * (n - k) / (n * (n - 1))) for k, n in ((1, 8), (4, 8), (7, 8), (1, 2))
    ),
    "hgpo@paper": tuple(np.sqrt((n - k) / k) for k, n in ((1, 8), (4, 8), (7, 8), (1, 2))),
}


@pytest.mark.parametrize("spec", BY_HAND)
def test_first_advantages_by_hand(spec: str):
    name, preset = spec.split("@")
    bound = ESTIMATORS[name].bind(preset)
    got = [first_advantage(bound, CASES[case]) for case in ("1 of 8", "4 of 8", "7 of 8", "1 of 2")]
    np.testing.assert_allclose(got, BY_HAND[spec], rtol=1e-5)


def test_row_weighting_of_short_successes():
    bound = ESTIMATORS["dr_grpo"].bind("verl-agent")
    assert first_advantage(bound, CASES["4 of 8, 5 and 50 steps"]) == pytest.approx(10 / 11, abs=1e-12)


def test_a_refused_group_and_pairs_have_no_advantage_to_show():
    assert np.isnan(first_advantage(ESTIMATORS["grpo_passk"].bind("verl"), CASES["alone"]))

    def pairs(rollouts: Rollouts) -> Pairs:
        """Nothing but the first row against the second."""
        one = np.ones(1)
        return Pairs(np.zeros(1, np.int64), np.ones(1, np.int64), one, 0 * one)

    estimator("pairs_for_this_test", paper="none", evidence="inferred")(pairs)
    try:
        assert np.isnan(first_advantage(ESTIMATORS["pairs_for_this_test"].bind(), CASES["1 of 8"]))
    finally:
        ESTIMATORS.remove("pairs_for_this_test")


@pytest.mark.parametrize("name", ["grpo.conventions", "grpo.std-reweighting", "dapo.filtered-mean"])
def test_a_check_says_the_same_twice(name: str):
    first, second = Trial("quick", 1e-6, 0), Trial("quick", 1e-6, 0)
    assert CLAIMS[name].function(first).verdict == CLAIMS[name].function(second).verdict
    assert all(
        np.array_equal(first.data[c], second.data[c], equal_nan=first.data[c].dtype.kind == "f") for c in first.data
    )
