"""HGPO's claims: verdicts, twins, controls, and the numbers they were accepted by."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hgpo_trials import VERDICTS, hgpo_claim, hgpo_detail, hgpo_result, hgpo_variant

from theory.claim import CLAIMS
from theory.claims import hgpo, hgpo_conventions, hgpo_gradient, hgpo_noise, hgpo_zeros
from theory.context_groups import gap_task, level_weights

MODULES = (hgpo, hgpo_noise, hgpo_gradient, hgpo_zeros, hgpo_conventions)


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_twin_and_control(name: str) -> None:
    found = hgpo_result(name).meta
    assert found["verdict"] == VERDICTS[name]
    assert hgpo_variant(name, "broken")["verdict"] == "refuted"
    if hgpo_claim(name).control is not None:
        assert hgpo_variant(name, "control")["verdict"] == "supported"
    if VERDICTS[name] == "refuted":
        assert hgpo_claim(name).control is not None
    if VERDICTS[name] == "conditional":
        assert [part["verdict"] for part in found["parts"]] == ["supported", "refuted"]


@pytest.mark.parametrize("name", VERDICTS)
def test_every_claim_is_exact_and_keeps_a_table(name: str) -> None:
    found = hgpo_result(name)
    assert found.meta["alpha"] == 0 and found.meta["n"] == 0
    sizes = {column.size for column in found.table.values()}
    assert len(sizes) == 1 and sizes.pop() > 0
    assert all(np.isfinite(c).all() for c in found.table.values() if c.dtype.kind == "f")


def test_the_list_above_is_all_of_them() -> None:
    own = {c.name for c in CLAIMS if c.paper == "HGPO" and c.function.__module__ in {m.__name__ for m in MODULES}}
    assert own == set(VERDICTS)
    # The others of this paper are about recorded text rollouts, and tested with those.
    others = {c.function.__module__ for c in CLAIMS if c.paper == "HGPO" and c.name not in VERDICTS}
    assert others <= {"theory.claims.bridge_groups"}


@pytest.mark.parametrize("name", VERDICTS)
def test_the_statement_is_an_equation_or_inequality(name: str) -> None:
    assert any(sign in hgpo_claim(name).statement for sign in ("=", "<", ">"))


# --- Acceptance numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["code", "paper"])
def test_context_bias_that_the_hierarchy_leaves(weights: str) -> None:
    found = hgpo_detail("hgpo.interpolation")
    for n, accepted in hgpo.ACCEPTED[weights].items():
        assert found[f"{weights} {n}"] == pytest.approx(accepted, abs=5e-5)
        assert hgpo.remaining(n, weights) == pytest.approx(accepted, abs=5e-5)


def test_levels_halve_the_mean_square_bias_and_the_deepest_has_none() -> None:
    found = hgpo_detail("hgpo.level-bias")["E[Var(V | c_k)]"]
    for spread in hgpo.SPREADS:
        assert found[f"spread {spread:g}"]["levels"] == pytest.approx([spread**2, spread**2 / 2, 0.0], abs=1e-12)
    # Nested levels, weights 2/9, 3/9, 4/9: bias (o + r) at level 0, o at level 1; large groups.
    one = found["spread 1"]
    shares = np.array([2.0, 5.0]) / 9.0
    assert one["HGPO, large N"] == pytest.approx(0.5 * (shares**2).sum(), rel=1e-12)
    assert one["HGPO"] > one["HGPO, large N"]


def test_what_lies_before_the_window_stays() -> None:
    inside, outside = hgpo_result("hgpo.deepest-level-unbiased").meta["parts"]
    assert inside["detail"]["rms_bias"] < 1e-12
    assert outside["detail"]["rms_bias"] == pytest.approx(outside["detail"]["rms_predicted"], rel=1e-12)
    assert outside["detail"]["rms_bias"] > 0.3


def test_dropping_zeros_in_the_example() -> None:
    found = hgpo_detail("hgpo.zero-drop-direction")
    assert found["factors"] == pytest.approx([0.682, 1.136], abs=5e-4)
    assert found["sums"] == pytest.approx(found["factors"], abs=1e-6)
    assert found["wrong_sign_at_gaps"] == [12.0, 14.0]
    kept = hgpo_variant("hgpo.zero-drop-direction", "control")["detail"]["factors"]
    assert kept == pytest.approx([0.805, 0.805], abs=5e-4)


def test_sums_over_the_others_agree_with_enumeration_at_every_gap() -> None:
    table = hgpo_result("hgpo.zero-drop-direction")
    np.testing.assert_allclose(table["factor"], table["predicted"], rtol=0, atol=3e-6)


def test_the_jump_is_from_dropped_to_kept() -> None:
    table = hgpo_result("hgpo.zero-drop-continuous").where(sweep="disturbed")
    np.testing.assert_allclose(table["factor"], table["kept"], rtol=0, atol=1e-5)


def test_more_noise_values_bring_the_factors_together() -> None:
    table = hgpo_result("hgpo.zero-drop-continuous").where(sweep="values")
    apart = table.where(context=1)["factor"] - table.where(context=0)["factor"]
    assert (np.diff(apart) < 0).all() and apart[0] > 0.35 and apart[-1] < 0.07


def test_code_and_paper_weights() -> None:
    code = hgpo_detail("hgpo.level-weights")["measured"]
    assert code == pytest.approx([0.222, 0.333, 0.444], abs=5e-4)
    paper = hgpo_variant("hgpo.level-weights", "control")["detail"]["measured"]
    assert paper == pytest.approx([0.167, 0.333, 0.5], abs=5e-4)


def test_k0_differs_nearly_everywhere() -> None:
    assert hgpo_detail("hgpo.k0-is-gigpo")["share"] > 0.5


def test_advantage_and_gradient_bias_are_reported_side_by_side() -> None:
    table = hgpo_result("hgpo.aliasing-keeps-gradient")
    assert table["off"].max() < 1e-12
    fair = table.where(cue=0.5)
    np.testing.assert_allclose(fair["bias"], fair["gap"] / 2, atol=1e-12)


def test_shares_of_the_own_return() -> None:
    weights = level_weights(1, 1.0, "code")
    assert hgpo_gradient.own_share(8, 0.5, weights) == pytest.approx(0.805, abs=5e-4)
    # All in one context: both levels are the whole group; never in company: level 0 alone.
    assert hgpo_gradient.own_share(8, 1.0, weights) == pytest.approx(7 / 8)
    assert hgpo_gradient.own_share(8, 0.0, weights) == pytest.approx(7 / 8)


def test_best_alpha_grows_with_n_and_with_the_gap_and_is_zero_for_little_aliasing() -> None:
    found = hgpo_detail("hgpo.alpha-minimum")["above 1/2"]
    for n in (3, 4, 6, 8, 12, 16):
        assert np.all(np.diff([found[f"best alpha, gap {g}, N={n}"] for g in ("0.25", "0.5", "1", "2")]) >= 0)
    assert found["best alpha, gap 0.25, N=8"] == 0.0
    assert found["best alpha, gap 1, N=8"] > 4.0


def test_the_minimum_lies_where_the_formula_says() -> None:
    table = hgpo_result("hgpo.alpha-minimum").where(gap=1.0, n=8)
    best = table["mse"][np.argmin(table["mse"])]
    at_formula = table["mse"][np.argmin(np.abs(table["alpha"] - table["best_predicted"][0]))]
    assert at_formula == pytest.approx(best, abs=1e-15)
    np.testing.assert_allclose(table["bias"] + table["variance"], table["mse"], atol=1e-15)


def test_raw_errors_mislead_exactly_where_returns_are_noisy() -> None:
    ratio = hgpo_detail("hgpo.raw-error-comparison")["deep_over_flat"]
    assert ratio["noise 0"] > 1 > ratio["noise 1"] > ratio["noise 2"]
    fair = hgpo_detail("hgpo.markov-no-gain")["deep_over_flat"]
    assert min(fair.values()) >= 1.0 and fair["noise 0"] > 1.3


def test_jensen_is_broken_by_small_groups_only() -> None:
    table = hgpo_result("hgpo.jensen-bound")
    broken = table["measured"] > table["bound"] + 1e-12
    assert set(table["n"][broken]) == {2, 3}
    for n, weights in ((4, "code"), (8, "paper")):
        one = table.where(n=n, weights=weights, alpha=1.0)["measured"]
        assert one == pytest.approx([(hgpo.remaining(n, weights) * n / (n - 1)) ** 2], rel=1e-6)


def test_deviations_shrink_aliased_steps() -> None:
    found = hgpo_detail("hgpo.std-rescales")
    assert np.mean(found["K=0, gap 0, N=8"]) > 8 * np.mean(found["K=0, gap 8, N=8"])


def test_gap_task_is_the_example() -> None:
    task = gap_task(hgpo_gradient.EXAMPLE)
    assert task.value == pytest.approx([0.7, 2.8])
    returns = task.mdp.reward[task.choice, :, 0]
    assert returns == pytest.approx(np.array([[0.0, 1.0], [3.0, 2.0]]))


def test_claims_are_small_functions() -> None:
    for module in MODULES:
        assert len(inspect.getsource(module).splitlines()) <= 350
