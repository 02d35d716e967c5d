"""Baselines, PPO, pass@k, GSPO and per-turn rewards: verdicts, twins, controls, and independent second derivations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from base_trials import VERDICTS, detail, result, variant

from creditsim.exact import exact_moments, policy_gradient, solve
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.sampling.designs import base as designs
from creditsim.sampling.table import TableSampler
from theory.claim import CLAIMS
from theory.claims import gae, gspo, opo, passk, per_turn, remax
from theory.laws import ScoredLaw, bandit, policy_of, row_scores


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_twin_and_control(name: str) -> None:
    found = result(name).meta
    assert found["verdict"] == VERDICTS[name]
    assert variant(name, "broken")["verdict"] == "refuted"
    if CLAIMS[name].control is not None:
        assert variant(name, "control")["verdict"] == "supported"
    if VERDICTS[name] == "refuted":
        assert CLAIMS[name].control is not None
    if VERDICTS[name] == "conditional":
        assert [part["verdict"] for part in found["parts"]] == ["supported", "refuted"]


@pytest.mark.parametrize("name", VERDICTS)
def test_only_the_share_of_random_bandits_is_statistical(name: str) -> None:
    found = result(name).meta
    assert (found["alpha"] == 0) == (name != "opo.usually-better-than-mean")
    assert (found["n"] == 0) == (found["alpha"] == 0)


@pytest.mark.parametrize("name", VERDICTS)
def test_table_is_long_form_and_the_statement_an_equation(name: str) -> None:
    sizes = {column.size for column in result(name).table.values()}
    assert len(sizes) == 1 and sizes.pop() > 0
    assert any(sign in CLAIMS[name].statement for sign in ("=", "<=", ">=", "->"))


# --- The law that hand-written credits are summed over ----------------------------------------------------------------


def test_the_law_gives_the_exact_gradient_and_the_enumerated_variance() -> None:
    mdp = make("chain", length=3, horizon=4, slip=0.2)
    policy = SoftmaxPolicy.random(mdp, 1)
    law = ScoredLaw.of(mdp, policy)
    assert law.chance.sum() == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(law.mean(law.whole), 0.0, atol=1e-13)
    mean, trace = law.gradient(law.to_go)
    np.testing.assert_allclose(mean, policy_gradient(mdp, policy), atol=1e-13)
    solution = solve(mdp, policy.probabilities(mdp))
    found = exact_moments(lambda r: solution.row_q(r), mdp, policy, group_size=1).gradient
    own, own_trace = law.gradient(solution.row_q(law.rollouts))
    np.testing.assert_allclose(own, found.mean, atol=1e-13)
    assert own_trace == pytest.approx(found.trace, rel=1e-12)
    assert trace > own_trace  # the return is louder than its conditional mean


def test_scores_are_derivatives_of_the_log_probability() -> None:
    mdp = make("random@tiny", seed=2)
    policy = SoftmaxPolicy.random(mdp, 2)
    law = ScoredLaw.of(mdp, policy)
    state, action = law.rollouts.columns["state"], law.rollouts.action
    step = 1e-6
    for i in range(policy.theta.size):
        ahead, behind = (
            np.log(policy.with_theta(policy.theta + s * np.eye(policy.theta.size)[i]).probabilities(mdp)[state, action])
            for s in (step, -step)
        )
        np.testing.assert_allclose(
            row_scores(mdp, policy, law.rollouts)[:, i], (ahead - behind) / (2 * step), atol=1e-8
        )


def test_bandit_and_policy_of() -> None:
    mdp = bandit((0.3, 0.9))
    policy = policy_of(mdp, [[0.25, 0.75]])
    np.testing.assert_allclose(policy.probabilities(mdp)[0], (0.25, 0.75))
    assert solve(mdp, policy.probabilities(mdp)).j == pytest.approx(0.25 * 0.3 + 0.75 * 0.9)


# --- Baselines --------------------------------------------------------------------------------------------------------


def test_best_baseline_of_two_arms_is_the_mean_with_swapped_chances() -> None:
    mdp = bandit((1.0, 0.2))
    law = ScoredLaw.of(mdp, policy_of(mdp, [[0.7, 0.3]]))
    assert opo.best(law, np.ones(2)) == pytest.approx(0.3 * 1.0 + 0.7 * 0.2, rel=1e-13)
    assert opo.plain_mean(law, np.ones(2)) == pytest.approx(0.7 * 1.0 + 0.3 * 0.2, rel=1e-13)
    # Two arms and their best baseline leave no variance at all.
    assert law.gradient(law.total - 0.44)[1] == pytest.approx(0.0, abs=1e-15)


def test_opo_loses_to_the_mean_in_six_of_ten_random_bandits() -> None:
    found = result("opo.usually-better-than-mean").meta
    assert found["detail"]["share_worse"] == pytest.approx(0.6, abs=0.02)
    assert found["interval"][1] < 0.5


def test_marks_lie_on_their_parabola() -> None:
    data = result("opo.best-constant-baseline")
    for environment in data.unique("environment"):
        part = data.where(environment=environment)
        curve = part.where(method="any constant")
        fit = np.polynomial.Polynomial.fit(curve["baseline"], curve["variance"], 2)
        np.testing.assert_allclose(fit(part["baseline"]), part["variance"], atol=1e-12)
        best = part.where(method="score-weighted (best)")["variance"][0]
        assert (part["variance"] >= best - 1e-12).all()


def test_token_baseline_by_regime() -> None:
    worse = detail("otb.no-worse-than-any-constant")["share_worse"]
    assert worse["orthogonal scores"] == 0.0
    assert all(worse[regime] > 0.0 for regime in ("shared logits", "variable length", "intermediate rewards"))
    assert detail("otb.best-by-position")["share_worse"] == 1.0


def test_self_inclusion_falls_like_one_over_n() -> None:
    data = result("opo.self-inclusion-bias")
    for name in ("OPO", "OTB"):
        part = data.where(estimator=name)
        slope = np.diff(np.log(part["bias"][-2:])) / np.diff(np.log(part["n"][-2:]))
        assert slope[0] == pytest.approx(-1.0, abs=0.1)


# --- ReMax ------------------------------------------------------------------------------------------------------------


def test_variances_of_two_arms_are_a_square_distance_to_the_best_baseline() -> None:
    data = result("remax.less-variance")
    p, r = data["p"], data["other"]
    best = (1 - p) + p * r
    np.testing.assert_allclose(data["variance_none"], 2 * p * (1 - p) * best**2, atol=1e-13)
    np.testing.assert_allclose(data["variance_remax"], 2 * p * (1 - p) * (1 - best) ** 2, atol=1e-13)
    found = detail("remax.less-variance")
    assert found["share_worse_outside"] == 1.0
    chance = np.array(found["binary_reward_p"])
    np.testing.assert_allclose(found["binary_reward_ratio"], (chance / (1 - chance)) ** 2, rtol=1e-6)


def test_remax_variance_ratio_by_sampling_agrees_with_the_closed_form() -> None:
    p, n = 0.8, 40_000
    mdp = bandit((1.0, 0.0))
    policy = policy_of(mdp, [[p, 1.0 - p]])
    sampler = TableSampler(mdp, seed=3, batches=n)
    rollouts, _ = designs.DESIGNS.bind("independent_with_greedy", group_size=1)(sampler, policy, None)
    score = row_scores(mdp, policy, rollouts)[:, 0]
    credit = rollouts.reward - rollouts.trajectory_columns["greedy_score"]
    found, exact = (credit * score).mean(), p * (1 - p)
    # Two outcomes, 0 and p: a deviation of five standard errors has alpha = 6e-7.
    assert abs(found - exact) < 5.0 * math.sqrt((1 - p) * p**2 / n)
    # Broken twin: the same check on the sum without its baseline's sign.
    assert abs(-found - exact) > 5.0 * math.sqrt((1 - p) * p**2 / n)


def test_border_values() -> None:
    np.testing.assert_allclose(remax.border(np.array([0.5, 0.75, 1.0])), (0.0, 1 / 3, 0.5))


# --- pass@k -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5])
def test_gradient_of_the_best_of_n_is_a_numerical_derivative(n: int) -> None:
    mdp = bandit((0.1, 0.45, 0.6, 1.0))
    policy = SoftmaxPolicy.random(mdp, 0)

    def expected_best(theta: np.ndarray) -> float:
        pi = policy.with_theta(theta).probabilities(mdp)[0]
        below = np.cumsum(pi) ** n
        return float(np.array((0.1, 0.45, 0.6, 1.0)) @ np.diff(below, prepend=0.0))

    found = passk.best_of_n_gradient(ScoredLaw.of(mdp, policy), n)
    for i in range(4):
        step = 1e-6 * np.eye(policy.theta.size)[i]
        slope = (expected_best(policy.theta + step) - expected_best(policy.theta - step)) / 2e-6
        assert found[i] == pytest.approx(slope, abs=1e-9)


def test_the_deviation_turns_the_gradient_and_the_mean_baseline_more() -> None:
    data = result("passk.std-keeps-direction")
    assert data.where(series="lead")["cosine"].min() == pytest.approx(1.0, abs=1e-12)
    assert data.where(series="lead / std")["cosine"].min() < 0.95
    assert data.where(series="mean baseline")["cosine"][-1] < 0.7


# --- GAE --------------------------------------------------------------------------------------------------------------


def test_bias_at_the_ends_of_lambda() -> None:
    ahead = np.array([0.3, -0.2, 0.5])
    assert gae.full_bias(ahead, 0.9, 1.0) == pytest.approx(-0.3)
    assert gae.full_bias(ahead, 0.9, 0.0) == pytest.approx(-0.3 + 0.9 * -0.2)
    assert gae.full_bias(ahead, 1.0, 0.5) == pytest.approx(-0.3 + 0.5 * (-0.2 + 0.5 * 0.5))
    assert gae.one_step_bias(ahead, 1.0, 0.0) == gae.full_bias(ahead, 1.0, 0.0)


def test_what_a_wrong_critic_costs() -> None:
    found = detail("gae.best-lambda")
    shares = {error: values for error, values in found["bias_share"].items()}
    assert shares["0"] == pytest.approx((0, 0, 0), abs=1e-12)
    assert all(values[0] > values[1] > 1e-3 and values[2] < 1e-12 for e, values in shares.items() if e != "0")
    # The bias is linear in the error of the critic.
    assert shares["0.3"][0] / shares["0.03"][0] == pytest.approx(10.0, rel=1e-9)
    assert found["best_lambda"]["0"] == [0.0] * 5
    assert 0.0 < detail("gae.variance-rises")["share_falling_outside"] < 1.0
    assert detail("gae.gradient-variance-rises")["share_falling"]["own"] == 0.0


# --- GSPO -------------------------------------------------------------------------------------------------------------


def test_weights_are_the_ratios_they_are_named_after() -> None:
    case = gspo.OffPolicy.drift(4, 0.5, seed=1)
    r = case.law.rollouts
    ratio = np.exp(case.log_prob - r.columns["log_prob"])
    product = np.multiply.reduceat(ratio, r.offsets[:-1])[r.trajectory]
    np.testing.assert_allclose(case.weight("token ratios"), ratio, rtol=1e-12)
    np.testing.assert_allclose(case.weight("full product"), product, rtol=1e-12)
    np.testing.assert_allclose(case.weight("sequence ratio"), product**0.25, rtol=1e-12)
    assert case.law.chance @ product[r.offsets[:-1]] == pytest.approx(1.0, abs=1e-12)


def test_on_policy_all_weights_are_one() -> None:
    case = gspo.OffPolicy.drift(3, 0.0)
    for which in gspo.WEIGHTS:
        np.testing.assert_allclose(case.weight(which), 1.0, rtol=1e-12)
        np.testing.assert_allclose(case.gradient(which)[0], case.exact, atol=1e-13)


def test_one_token_makes_the_three_weights_one() -> None:
    case = gspo.OffPolicy.eliminated(1, 0.3, 0.5)
    variances = [case.weight_variance(which) for which in gspo.WEIGHTS]
    # r = 1/2 with chance 0.3 and 0.85 / 0.7 with chance 0.7.
    assert variances == pytest.approx([0.3 * 0.25 + 0.7 * (0.85 / 0.7) ** 2 - 1.0] * 3, rel=1e-12)


def test_giving_up_a_rare_token_hits_the_whole_sequence() -> None:
    assert detail("gspo.ratio-variance")["largest_eliminated"] > 4.0
    assert detail("gspo.ratio-variance")["largest_drift"] < 1.0
    assert detail("gspo.gradient-variance")["largest"] > 1.0


# --- Per turn ---------------------------------------------------------------------------------------------------------


def test_acceptance_numbers_of_the_two_turn_task() -> None:
    data = result("per-turn.wrong-sign")
    assert data["exact"] == pytest.approx(0.2, abs=1e-12)
    claimed = data.where(form="reward, alive members")
    np.testing.assert_allclose(claimed["measured"], -0.3 * (claimed["n"] - 1) / claimed["n"], atol=1e-12)
    np.testing.assert_allclose(data["measured"], data["formula"], atol=1e-12)
    for form in ("reward, all members, to the end", "return-to-go, alive members"):
        part = data.where(form=form)
        np.testing.assert_allclose(part["measured"], 0.2 * (part["n"] - 1) / part["n"], atol=1e-12)


def test_factors_of_the_closed_form() -> None:
    parts = per_turn.Parts(np.array([1.0, 0.5]), *(np.zeros((2, 1)) for _ in range(4)))
    assert parts.shrink(2) == pytest.approx((1 / 2, 1 - 0.75 / 1.0))
    # A binomial sum: turn k keeps E[(n_k - 1) / n_k, n_k >= 1] n_k / (N p_k).
    n, p = 5, 0.3
    k = np.arange(1, n + 1)
    chance = np.array([math.comb(n, int(j)) * p**j * (1 - p) ** (n - j) for j in k])
    alone = per_turn.Parts(np.array([p]), *(np.zeros((1, 1)) for _ in range(4)))
    assert alone.shrink(n)[0] == pytest.approx(float(chance @ (k - 1)) / (n * p), rel=1e-12)


def test_the_bias_vanishes_only_without_a_choice() -> None:
    found = detail("per-turn.unbiased")
    assert found["least_outside"] > 0.1
    assert detail("per-turn.blind-to-length")["exact_gradient"] > 0.1


def test_separate_turns_add_the_variance_of_the_past() -> None:
    data = result("ppo.separate-turns")
    np.testing.assert_allclose(data["separate"], data["joined"] + data["past"], atol=1e-12)
    # Each earlier turn paid 0.3 +- 0.4.
    np.testing.assert_allclose(data["past"], 0.16 * (data["turn"] - 1), atol=1e-12)
