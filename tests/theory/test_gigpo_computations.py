"""The sums behind GiGPO's claims, against plain loops over groups, and against broken versions of themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.exact.dp import solve
from creditsim.exact.moments import exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.rollouts import Rollouts
from theory.claim import CLAIMS, Trial
from theory.claims import gigpo, gigpo_anchors, gigpo_edge, gigpo_fatal, gigpo_singletons, gigpo_weighting
from theory.shared import alignment, credit_column

# --- Statistics over rows, by hand ------------------------------------------------------------------------------------


def listed(p: float, n: int, weighting: str, normalize: str) -> tuple[float, float]:
    """E[baseline] and E[gradient] by listing all 2^n outcomes of n trajectories, rows written out one by one."""
    baseline = gradient = 0.0
    for outcome in product((True, False), repeat=n):
        chance = float(np.prod([p if won else 1.0 - p for won in outcome]))
        length = [1 if weighting == "trajectory" else 5 if won else 50 for won in outcome]
        rows = [float(won) for won, t in zip(outcome, length, strict=True) for _ in range(t)]
        mean = sum(rows) / len(rows)
        advantage = np.array([won - mean for won in outcome])
        if normalize == "mean_std":
            spread = sum((x - mean) ** 2 for x in rows) / (len(rows) - 1)
            advantage = advantage / (spread**0.5 + 1e-6)
        score = np.array([1.0 - p if won else -p for won in outcome])
        baseline += chance * mean
        gradient += chance * float(advantage @ score) / n
    return baseline, gradient


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("weighting", "normalize"), [("step", "mean"), ("trajectory", "mean"), ("trajectory", "mean_std")]
)
def test_sums_over_successes_equal_a_list_of_outcomes(p: float, n: int, weighting: str, normalize: str) -> None:
    baseline, gradient = listed(p, n, weighting, normalize)
    assert gigpo_weighting.expected_baseline(p, n, weighting) == pytest.approx(baseline, abs=1e-13)
    assert gigpo_weighting.expected_gradient(p, n, weighting, normalize) == pytest.approx(gradient, abs=1e-13)


def test_the_list_tells_the_weightings_apart() -> None:
    assert abs(listed(0.9, 5, "step", "mean")[1] - gigpo_weighting.expected_gradient(0.9, 5, "trajectory")) > 0.02


@settings(max_examples=25, deadline=None)
@given(p=st.floats(0.01, 0.99), n=st.integers(2, 40))
def test_trajectory_weighting_is_leave_one_out_for_every_p_and_n(p: float, n: int) -> None:
    expected = (n - 1) / n * p * (1 - p)
    assert gigpo_weighting.expected_gradient(p, n, "trajectory") == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(p=st.floats(0.01, 0.99), n=st.integers(2, 200))
def test_the_deviation_factor_stays_below_bound_and_curve(p: float, n: int) -> None:
    factor = gigpo.std_factor(p, n)
    assert 0.0 < factor <= (n - 1) / n**0.5 * (1 + 1e-12)
    assert factor < 1 / (p * (1 - p)) ** 0.5
    assert factor == pytest.approx(gigpo.std_factor(1.0 - p, n), rel=1e-9)


def test_the_deviation_factor_of_two_by_hand() -> None:
    # One success of two, chance 2 p (1-p): gradient (1/2) / (1/sqrt 2), hence 2 p (1-p) * sqrt(2)/4 / (p (1-p)).
    for p in (0.1, 0.5):
        assert gigpo.std_factor(p, 2) == pytest.approx(2**0.5 / 2, rel=2e-6)  # eps = 1e-6


@settings(max_examples=25, deadline=None)
@given(won=st.integers(1, 60), lost=st.integers(1, 60))
def test_a_group_of_four_and_four_by_hand(won: int, lost: int) -> None:
    mean = won / (won + lost)
    assert gigpo_weighting._sample((won, lost), "step") == pytest.approx((1.0 - mean, -mean), abs=1e-12)
    assert gigpo_weighting._sample((won, lost), "trajectory") == pytest.approx((0.5, -0.5), abs=1e-12)


def test_the_mean_over_rows_of_an_advantage_shows_its_weighting() -> None:
    # What a training log shows: statistics over rows average to 0 over rows, those over trajectories do not.
    for weighting, expected in (("step", 0.0), ("trajectory", -9 / 22)):
        won, lost = gigpo_weighting._sample((5, 50), weighting)
        assert (5 * won + 50 * lost) / 55 == pytest.approx(expected, abs=1e-12)


# --- Anchor groups ----------------------------------------------------------------------------------------------------


def listed_baseline(visits: np.ndarray, total: np.ndarray, chance: np.ndarray, n: int) -> np.ndarray:
    """E[mean return of the anchor group | own trajectory] by listing the n - 1 others."""
    out = np.zeros(visits.size)
    for own in np.flatnonzero(visits):
        for others in product(range(visits.size), repeat=n - 1):
            members = [own, *others]
            weight = float(np.prod(chance[list(others)]))
            out[own] += weight * total[members].sum() / visits[members].sum()
    return out


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 4))
def test_expected_baseline_of_an_anchor_group(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    visits = rng.integers(0, 4, size=5)
    visits[0] = 1
    total = np.where(visits > 0, rng.normal(size=5), 0.0)
    chance = rng.dirichlet(np.ones(5))
    got = gigpo_anchors._expected_baseline(visits, total, chance, n)
    met = visits > 0
    np.testing.assert_allclose(got[met], listed_baseline(visits, total, chance, n)[met], rtol=0, atol=1e-12)


def test_power_of_a_law() -> None:
    law = np.array([0.2, 0.3, 0.5])
    assert gigpo_anchors._power(law, 0).tolist() == [1.0]
    binomial = [comb(5, k) * 0.3**k * 0.7 ** (5 - k) for k in range(6)]
    np.testing.assert_allclose(gigpo_anchors._power(np.array([0.7, 0.3]), 5), binomial, rtol=1e-12)
    np.testing.assert_allclose(gigpo_anchors._power(law, 3), np.convolve(law, np.convolve(law, law)), rtol=1e-12)


def test_first_visits() -> None:
    observation = np.array([4, 1, 4, 1, 1, 4])
    trajectory = np.array([0, 0, 0, 1, 1, 1])
    assert gigpo_anchors._first(observation, trajectory).tolist() == [True, True, False, True, False, True]


def test_weighted_by_chance_the_step_advantages_of_a_state_cancel() -> None:
    # An anchor group's advantages sum to zero, so the pooled means do, weighted by the policy.
    mdp = make("loop", states=1, horizon=20, gamma=0.7)
    for n in (2, 9):
        mean, exact = gigpo_anchors.pooled_means(mdp, SoftmaxPolicy.uniform(mdp), n)
        assert mean.sum() == pytest.approx(0.0, abs=1e-13)
        assert exact.sum() == pytest.approx(0.0, abs=1e-13)


def test_without_revisits_pooled_means_are_exact_for_any_discount() -> None:
    mdp = make("layered@tiny", gamma=0.6)
    policy = SoftmaxPolicy.random(mdp, 3)
    for n in (2, 7):
        mean, exact = gigpo_anchors.pooled_means(mdp, policy, n)
        np.testing.assert_allclose(mean, (n - 1) / n * exact, rtol=0, atol=1e-13)
        np.testing.assert_allclose(exact, solve(mdp, policy.probabilities(mdp)).advantage[-1, 0], rtol=0, atol=1e-13)


def test_bias_of_revisits_grows_as_gamma_falls_and_shrinks_with_the_loop() -> None:
    trial = Trial("quick", 1e-4, 0)
    gigpo_anchors._bias_table(trial)
    data = {name: column for name, column in trial.data.items()}
    for states, n in product((1, 2, 3), (2, 8, 32)):
        keep = (data["method"] == "sums") & (data["states"] == states) & (data["n"] == n)
        bias = data["bias"][keep][np.argsort(data["gamma"][keep])]
        assert (np.diff(bias) < 0).all()
        assert bias[-1] < 1e-12 < bias[-2]
    at = (data["method"] == "sums") & (data["gamma"] == 0.8) & (data["n"] == 2)
    assert (np.diff(data["bias"][at]) < 0).all()
    for row in np.flatnonzero(data["method"] == "enumeration"):
        twin = (data["method"] == "sums") & (data["states"] == data["states"][row]) & (data["n"] == 2)
        twin &= data["gamma"] == data["gamma"][row]
        assert data["bias"][twin] == pytest.approx(data["bias"][row], abs=1e-6)


# --- Groups of one ----------------------------------------------------------------------------------------------------


def test_a_singleton_keeps_the_direction_of_every_state_under_either_rule() -> None:
    mdp = make("layered@tiny", paying=0.2)
    policy = SoftmaxPolicy.uniform(mdp)
    exact = gigpo_edge.policy_gradient(mdp, policy).reshape(-1, 2)
    for rule in ("zero", "raw"):
        step = credit_column("gigpo", "step_advantage", normalize="mean", gamma=1.0, step_singleton=rule)
        mean = exact_moments(step, mdp, policy, group_size=2, covariance=False).gradient.mean.reshape(-1, 2)
        parts = exact[:, 0] != 0
        factor = mean[parts, 0] / exact[parts, 0]
        assert (factor > 0).all()
        assert np.ptp(factor) > 0.01  # states count differently


def test_a_constant_reward_changes_raw_singletons_only() -> None:
    table = Trial("quick", 1e-4, 0)
    gigpo_singletons._zero_or_raw(table, 0)
    zero, raw = (table.data["alignment"][table.data["rule"] == rule] for rule in ("zero", "raw"))
    assert np.ptp(zero) < 1e-12
    assert (np.diff(raw) < 0).all()


# --- The step level's edge --------------------------------------------------------------------------------------------


def brute_decision(n: int, reach: float, right: float, after: float, marks: int) -> gigpo_fatal.Law:
    """Moments of one decision by listing every rollout's fate and mark."""
    fates: list[tuple[float, int, str]] = [(1.0 - reach, 0, "absent")]
    for mark in range(marks):
        fates.append((reach * (1.0 - right) / marks, mark, "wrong"))
        fates.append((reach * right * (1.0 - after) / marks, mark, "failed"))
        fates.append((reach * right * after / marks, mark, "won"))
    moments = np.zeros(5)
    for group in product(fates, repeat=n):
        chance = float(np.prod([fate[0] for fate in group]))
        mean = sum(fate[2] == "won" for fate in group) / n
        episode = step = 0.0
        for _, mark, kind in group:
            if kind == "absent":
                continue
            score = 1.0 - right if kind in ("failed", "won") else -right
            peers = [other[2] == "won" for other in group if other[2] != "absent" and other[1] == mark]
            episode += score * ((kind == "won") - mean) / n
            step += score * ((kind == "won") - sum(peers) / len(peers)) / n
        moments += chance * np.array([episode, step, episode**2, step**2, episode * step])
    return gigpo_fatal.Law(*moments.tolist())


CASES = [(2, 0.7, 0.4, 0.5, 3), (3, 0.5, 0.5, 0.6, 2), (3, 1.0, 0.3, 1.0, 1), (4, 0.25, 0.5, 0.25, 1)]


@pytest.mark.parametrize("case", CASES)
def test_the_law_of_one_decision_equals_a_list_of_fates(case: tuple[int, float, float, float, int]) -> None:
    np.testing.assert_allclose(gigpo_fatal.decision_law(*case), brute_decision(*case), rtol=0, atol=1e-13)


def test_the_list_rejects_a_law_of_other_marks() -> None:
    n, reach, right, after, marks = CASES[0]
    other = gigpo_fatal.decision_law(n, reach, right, after, marks + 1)
    assert abs(other.step_square - brute_decision(*CASES[0]).step_square) > 1e-4


def test_with_endless_marks_only_the_episode_level_is_left() -> None:
    at = gigpo_fatal.fatal_alignments(4, 3, 0.5, 10**6)
    first = gigpo_fatal.fatal_alignments(4, 3, 0.5, 1)
    assert at["w = 0"] == pytest.approx(first["w = 0"], abs=1e-12)
    # The start is shared by all, whatever the marks, and keeps its step level.
    laws = [gigpo_fatal.decision_law(4, 0.5**t, 0.5, 0.5 ** (2 - t), 10**6) for t in (1, 2)]
    assert max(abs(law.step) + law.step_square for law in laws) < 1e-5


def test_one_decision_has_no_edge_to_gain() -> None:
    # With a single decision both levels are the same numbers.
    found = gigpo_fatal.fatal_alignments(8, 1, 0.3, 1)
    assert np.ptp(list(found.values())) < 1e-12


@pytest.mark.parametrize("right", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("n", [2, 4, 8])
def test_the_step_level_loses_in_fatal_locks_of_other_sizes(right: float, n: int) -> None:
    for length, marks in product((2, 4, 6), (1, 4, 64)):
        found = gigpo_fatal.fatal_alignments(n, length, right, marks)
        assert found["w = 0.5"] <= found["w = 0"] + 1e-12
        assert found["w = 2"] <= found["w = 1"] + 1e-12


@pytest.mark.parametrize("mix", ["w = 0", "w = 1", "step only"])
def test_sampled_alignment_of_a_repairable_lock_meets_enumeration(mix: str) -> None:
    # Delta-method intervals at alpha 1e-6, n = 4000 groups of three; two marks per state.
    mdp = make("lock", length=2, actions=2, horizon=3)
    first, second = gigpo_edge.MIXES[mix]
    episode, step = (
        credit_column("gigpo@paper", f"{part}_advantage", normalize="mean", gamma=0.95) for part in ("episode", "step")
    )

    def both(rollouts: Rollouts) -> np.ndarray:
        return first * episode(rollouts) + second * step(rollouts)

    marked = gigpo_edge.tagged(mdp, 2)
    law = exact_moments(both, marked, SoftmaxPolicy.uniform(marked), group_size=2, covariance=False)
    cell = gigpo_edge.sample(mdp, 2, 2, 4000, 5)
    assert cell.alignment(mix, 1e-6).contains(alignment(law.gradient))


def test_the_edge_is_a_difference_of_alignments() -> None:
    cell = gigpo_edge.sample(gigpo_edge.environments()["layered"], 4, 8, 500, 1)
    for mix in gigpo_edge.MIXES:
        difference = cell.alignment(mix, 0.01).estimate - cell.alignment("w = 0", 0.01).estimate
        assert float(cell.edge(mix, 0.01).estimate) == pytest.approx(float(difference), abs=1e-12)
    assert float(cell.edge("w = 0", 0.01).width) == pytest.approx(0.0, abs=1e-9)
    assert 0.0 < cell.singletons < 1.0


@pytest.mark.parametrize("marks", [1, 2, 5])
def test_marks_are_drawn_evenly_and_start_at_zero(marks: int) -> None:
    mdp = replace(make("lock", length=2, actions=2, horizon=3), gamma=0.9)
    marked = gigpo_edge.tagged(mdp, marks)
    assert marked.gamma == 0.9 and marked.horizon == 3
    assert np.flatnonzero(marked.start).tolist() == [0]
    np.testing.assert_allclose(marked.probability.sum(axis=-1), 1.0, rtol=0, atol=1e-14)
    assert np.array_equal(marked.context, np.repeat(mdp.context, marks))
    value = solve(marked, SoftmaxPolicy.uniform(marked).probabilities(marked)).j
    assert value == pytest.approx(solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp)).j, abs=1e-14)


# --- Runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gigpo.step-level-edge", "gigpo.episode-leave-one-out"])
def test_equal_seeds_give_equal_tables_and_other_seeds_other_ones(name: str) -> None:
    def run(seed: int) -> dict[str, np.ndarray]:
        trial = Trial("quick", 1e-4, seed)
        CLAIMS[name].function(trial)
        return trial.data

    first, again, other = run(3), run(3), run(4)
    column = "edge" if "edge" in first else "measured"
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert not np.array_equal(first[column], other[column])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sampled_verdict_does_not_hang_on_the_seed(seed: int) -> None:
    entry = CLAIMS["gigpo.step-level-edge"]
    check: Callable[[Trial], object] = entry.broken.check
    assert entry.function(Trial("quick", 1e-4, seed)).verdict == "conditional"
    assert getattr(check(Trial("quick", 1e-4, seed)), "verdict") == "refuted"  # noqa: B009
