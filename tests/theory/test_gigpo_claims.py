"""GiGPO's claims: verdicts, twins, controls, and the numbers they were accepted by."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from gigpo_trials import VERDICTS, detail, entry, result, variant

from creditsim.exact.moments import exact_moments
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from theory.claims import gigpo, gigpo_anchors, gigpo_edge, gigpo_fatal, gigpo_float32, gigpo_weighting
from theory.shared import alignment, binomial, credit_column

MODULES = (gigpo, gigpo_anchors, gigpo_edge, gigpo_fatal, gigpo_float32, gigpo_weighting)


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_twin_and_control(name: str) -> None:
    found = result(name)
    assert found.meta["verdict"] == VERDICTS[name]
    assert variant(name, "broken")["verdict"] == "refuted"
    if entry(name).control is not None:
        assert variant(name, "control")["verdict"] == "supported"
    if VERDICTS[name] == "refuted":
        assert entry(name).control is not None
    if VERDICTS[name] == "conditional":
        assert [part["verdict"] for part in found.meta["parts"]] == ["supported", "refuted"]


@pytest.mark.parametrize("name", VERDICTS)
def test_table_is_complete_and_the_statement_is_an_equation(name: str) -> None:
    found = result(name)
    sizes = {column.size for column in found.table.values()}
    assert len(sizes) == 1 and sizes.pop() > 0
    assert any(sign in entry(name).statement for sign in ("= 0", "<=", ">="))
    exact = found.meta["alpha"] == 0
    assert exact == (name != "gigpo.step-level-edge")


# --- Acceptance numbers -----------------------------------------------------------------------------------------------


def test_std_factors_at_usual_group_sizes() -> None:
    found = detail("gigpo.std-reweighting")
    chances = ("0.02", "0.1", "0.3", "0.5")
    assert [found["factors_of_4"][p] for p in chances] == pytest.approx((1.49, 1.46, 1.42, 1.40), abs=5e-3)
    assert [found["factors_of_8"][p] for p in chances] == pytest.approx((2.41, 2.18, 1.84, 1.74), abs=5e-3)
    assert [found["curve"][p] for p in chances] == pytest.approx((7.14, 3.33, 2.18, 2.00), abs=5e-3)
    assert found["estimator_minus_sum"] < 1e-12
    assert gigpo.std_factor(1e-7, 8) == pytest.approx(found["largest_possible_of_8"], rel=1e-5)


def test_the_factor_never_exceeds_its_bound_and_the_bound_is_tight_for_rare_outcomes() -> None:
    table = result("gigpo.std-reweighting")
    assert (table["factor"] <= table["limit"]).all()
    assert (table["factor"] < table["curve"]).all()


def test_advantages_and_offset_of_row_weighting() -> None:
    found = detail("gigpo.row-weighting-offset")
    assert found["advantages_5_vs_50"] == pytest.approx((10 / 11, -1 / 11), abs=1e-15)
    assert found["advantages_10_vs_30"] == pytest.approx((0.75, -0.25), abs=1e-15)
    assert found["advantages_20_vs_20"] == pytest.approx((0.5, -0.5), abs=1e-15)
    assert found["predicted_at_half"] == pytest.approx(1 / 11, abs=1e-15)
    assert found["limit_baseline_at_half"] == pytest.approx(1 / 11, abs=1e-4)
    assert found["offset_at_half"] == pytest.approx(-9 / 22, abs=1e-4)


def test_gradients_of_row_weighting() -> None:
    found = detail("gigpo.code-weighting-leave-one-out")
    assert list(found["gradients_of_8"].values()) == pytest.approx((0.0884, 0.2356, 0.0575), abs=5e-5)
    assert list(found["leave_one_out_of_8"].values()) == pytest.approx((0.07875, 0.21875, 0.07875), abs=1e-15)
    assert found["enumeration_minus_sum"] < 1e-12
    vanishing = detail("gigpo.row-weighting-vanishes")
    assert vanishing["at_half_256"] == pytest.approx(0.2497, abs=5e-5)
    assert vanishing["n_times_bias"]["0.9"] == pytest.approx(-0.25, abs=1e-3)


def test_singletons() -> None:
    rules = result("gigpo.singleton-rules-agree")
    given = {
        (name, length): advantage
        for name, length, advantage in zip(
            rules["convention"].tolist(), rules["length"].tolist(), rules["advantage"].tolist(), strict=True
        )
    }
    assert given["GRPO, verl", 1] == pytest.approx(1.0, abs=2e-6)
    assert given["RLOO, verl loop", 1] == 1.0 and given["RLOO, verl vectorised", 1] == 0.0
    assert given["GiGPO episode, rows", 1] == 1.0 and given["GiGPO episode, rows", 2] == 0.0
    assert given["GiGPO step", 1] == given["HGPO", 1] == given["GRPO, TRL", 1] == 0.0
    group = detail("gigpo.singleton-group-gradient")
    assert (group["exact"], group["trajectories"], group["rows"]) == pytest.approx((0.2, 0.2, -0.6), abs=1e-12)
    step = detail("gigpo.singleton-step-zero")
    assert step["raw_offset_1"] < step["zero"] < step["raw_sparse"]


def test_pooled_means_of_a_looping_state() -> None:
    found = detail("gigpo.anchor-revisit-bias")
    assert found["gamma 0.8, N=2"] == pytest.approx((-0.06204, 0.29653, -0.23449), abs=5e-6)
    assert found["gamma 0.8, N=2, predicted"] == pytest.approx((-0.04545, 0.27273, -0.22727), abs=5e-6)
    assert found["gamma 0.8, N=8"] == pytest.approx((-0.08156, 0.48337, -0.40182), abs=5e-6)
    assert found["gamma 0.8, N=8, predicted"] == pytest.approx((-0.07955, 0.47727, -0.39773), abs=5e-6)
    assert found["gamma 1, N=2"] == pytest.approx((0.0, 0.25, -0.25), abs=1e-12)
    assert found["gamma 1, N=8"] == pytest.approx((0.0, 7 / 16, -7 / 16), abs=1e-12)


def test_float32_noise() -> None:
    worst = detail("gigpo.float32-equal-groups")["worst"]
    assert worst["10"] == pytest.approx(0.64, abs=5e-3)
    assert worst["1"] == pytest.approx(0.11, abs=5e-3)
    assert worst["0.1"] == pytest.approx(0.015, abs=5e-4)
    assert detail("gigpo.float32-equal-groups")["float64_worst"] < 1e-6
    assert variant("gigpo.float32-equal-groups", "control")["statistic"] == 0.0


# --- The computations behind them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "horizon"), [(2, 4), (3, 3)])
@pytest.mark.parametrize("states", [1, 2])
def test_pooled_means_equal_enumeration(n: int, horizon: int, states: int) -> None:
    mdp = make("loop", states=states, horizon=horizon, gamma=0.7, slip=0.2)
    policy = SoftmaxPolicy.random(mdp, 4)
    step = credit_column("gigpo", "step_advantage", normalize="mean", gamma=0.7)
    law = exact_moments(step, mdp, policy, group_size=n, covariance=False)
    for state in range(states):
        mean, exact = gigpo_anchors.pooled_means(mdp, policy, n, state=state)
        at = law.keys[:, 0] == state
        np.testing.assert_allclose(mean, law.mean[at], rtol=0, atol=1e-12)
        np.testing.assert_allclose(exact, law.target[at], rtol=0, atol=1e-12)
    # The comparison tells apart what counts first visits only.
    first, _ = gigpo_anchors.pooled_means(mdp, policy, n, first_visits=True)
    assert np.abs(first - law.mean[law.keys[:, 0] == 0]).max() > 1e-3


def test_first_visits_of_the_start_state_are_unbiased_at_any_horizon_and_policy() -> None:
    mdp = make("loop", states=2, horizon=9, gamma=0.6, loop_reward=-0.2)
    for n in (2, 5):
        mean, _ = gigpo_anchors.pooled_means(mdp, SoftmaxPolicy.random(mdp, 1), n, first_visits=True)
        one = gigpo_anchors.solve(mdp, SoftmaxPolicy.random(mdp, 1).probabilities(mdp)).advantage[-1, 0]
        np.testing.assert_allclose(mean, (n - 1) / n * one, rtol=0, atol=1e-13)


@pytest.mark.parametrize("marks", [1, 2])
def test_sums_of_the_fatal_lock_equal_enumeration(marks: int) -> None:
    length, n = 2, 3
    mdp = gigpo_edge.tagged(make("lock", length=length, actions=2, wrong="end", horizon=length), marks)
    policy = SoftmaxPolicy.uniform(mdp)
    sums = gigpo_fatal.fatal_alignments(n, length, 0.5, marks)
    for mix, (first, second) in gigpo_edge.MIXES.items():
        episode, step = (
            credit_column("gigpo@paper", f"{part}_advantage", normalize="mean", gamma=1.0)
            for part in ("episode", "step")
        )
        law = exact_moments(
            lambda r, e=episode, s=step, a=first, b=second: a * e(r) + b * s(r), mdp, policy, group_size=n
        )
        assert alignment(law.gradient) == pytest.approx(sums[mix], abs=1e-12)


def test_sampled_alignments_meet_the_sums() -> None:
    # Delta-method intervals at alpha 1e-6 from n = 4000 groups.
    mdp = gigpo_edge.environments()["lock, fatal"]
    cell = gigpo_edge.sample(mdp, 4, 4, 4000, 11, gamma=1.0)
    sums = gigpo_fatal.fatal_alignments(4, 4, 0.5, 4)
    for mix in gigpo_edge.MIXES:
        assert cell.alignment(mix, 1e-6).contains(sums[mix])
        assert cell.edge(mix, 1e-6).contains(sums[mix] - sums["w = 0"])
    # The broken twin, step advantages of strangers, is told apart.
    broken = gigpo_edge.sample(mdp, 4, 4, 4000, 11, gamma=1.0, strangers=True)
    assert not broken.alignment("step only", 1e-6).contains(sums["step only"])


def test_marks_change_neither_the_task_nor_the_exact_gradient() -> None:
    mdp = make("layered@tiny")
    marked = gigpo_edge.tagged(mdp, 3)
    assert marked.n_observations == 3 * mdp.n_observations and marked.n_contexts == mdp.n_contexts
    policy = SoftmaxPolicy.random(mdp, 2)
    plain, other = (gigpo_edge.policy_gradient(m, policy) for m in (mdp, marked))
    np.testing.assert_allclose(other, plain, rtol=0, atol=1e-14)


def test_multinomial_counts() -> None:
    counts = gigpo_fatal._counts(5, 3)
    assert counts.shape == (21, 3) and (counts.sum(axis=1) == 5).all()
    p = np.array([0.2, 0.0, 0.8])
    chance = gigpo_fatal._chance(counts, p)
    assert chance.sum() == pytest.approx(1.0, abs=1e-14)
    assert chance @ counts == pytest.approx(5 * p, abs=1e-13)


def test_expected_baseline_of_rows_by_listing_groups() -> None:
    p, n = 0.3, 4
    k = np.arange(n + 1)
    listed = sum(
        chance * sum([5.0] * int(s)) / sum([5.0] * int(s) + [50.0] * int(n - s))
        for s, chance in zip(k, binomial(n, p), strict=True)
    )
    assert gigpo_weighting.expected_baseline(p, n, "step") == pytest.approx(listed, abs=1e-15)
    assert gigpo_weighting.expected_baseline(p, n, "trajectory") == pytest.approx(p, abs=1e-15)


@pytest.mark.parametrize("size", [2, 7, 16])
def test_the_naive_formula_is_the_formula(size: int) -> None:
    x = np.linspace(-1.0, 2.0, size)
    expected = (x - x.mean()) / (x.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(gigpo_float32.naive(np.float64)(x), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(gigpo_float32.naive(np.float32)(x), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(gigpo_float32.shifted(x), expected, rtol=0, atol=1e-14)


def test_no_claim_draws_numbers_outside_the_library() -> None:
    assert not [module.__name__ for module in MODULES if "np.random" in inspect.getsource(module)]
