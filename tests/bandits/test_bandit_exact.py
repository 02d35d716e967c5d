"""Exact numbers: tables of acceptance values, second derivations by brute force, simulation beside them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from creditsim.bandits import exact
from creditsim.bandits.instances import bernoulli
from creditsim.bandits.simulate import simulate
from creditsim.bandits.truncation import cut_at, kept_at, simulated_truncation, truncation_probability
from creditsim.errors import InputError

P, NEAR = (0.3, 0.5), (0.05, 0.1)
DECADES = np.array([10**2, 10**3, 10**4, 10**5])


def test_chance_that_a_rate_is_off() -> None:
    found = [exact.miss_probability(P, i, 0.05) for i in (100, 300, 1000, 2000, 3233)]
    np.testing.assert_allclose(found, [0.4386, 0.1202, 1.88e-3, 7.82e-6, 1.24e-8], rtol=2e-3)
    open_ = [exact.miss_probability(P, i, 0.05, closed=False) for i in (100, 300, 1000, 2000)]
    np.testing.assert_allclose(open_, [0.5742, 0.1550, 2.36e-3, 9.69e-6], rtol=2e-3)


@pytest.mark.parametrize(
    ("p", "alpha", "expected"),
    [
        (P, 2.0, (21.9, 98.5, 405.0, 1639.0)),
        (P, 10.0, (6.77, 7.03, 7.03, 7.03)),
        (P, 50.0, (5.82, 5.86, 5.86, 5.86)),
        (NEAR, 10.0, (25.3, 89.7, 242.0, 682.0)),
        (NEAR, 50.0, (20.0, 28.9, 28.9, 28.9)),
    ],
)
def test_expected_waste_under_full_information(p: tuple[float, float], alpha: float, expected: tuple) -> None:
    found = exact.expected_waste(p, DECADES, alpha)
    np.testing.assert_allclose(found, expected, rtol=4e-3)
    if p == P and alpha == 2.0:
        assert math.log10(found[3] / found[2]) == pytest.approx(0.607, abs=1e-3)


def test_interpolated_waste_is_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.array([500, 1500, 2000])
    whole = exact.expected_waste(P, times, 2.0)
    monkeypatch.setattr(exact, "_EXACT_UP_TO", 200)
    np.testing.assert_allclose(exact.expected_waste(P, times, 2.0), whole, rtol=1e-6)


def test_waste_is_what_enumeration_gives() -> None:
    i, alpha = 4, 3.0
    total = 0.0
    for draws in itertools.product((0, 1), repeat=2 * i):
        low, high = sum(draws[:i]), sum(draws[i:])
        weight = P[0] ** low * (1 - P[0]) ** (i - low) * P[1] ** high * (1 - P[1]) ** (i - high)
        scores = [i ** (-alpha * s / i) for s in (low, high)]
        total += weight * scores[1] / sum(scores)
    assert exact.waste_per_iteration(P, i, alpha) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(2.0, (-0.353, -0.383, -0.393)), (10.0, (-1.997, -2.0, -2.0)), (50.0, (-9.996, -10, -10))]
)
def test_slope_of_the_mean_log_share(alpha: float, expected: tuple[float, ...]) -> None:
    slopes = np.diff([exact.log_share(P, int(i), alpha) for i in DECADES]) / math.log(10)
    np.testing.assert_allclose(slopes, expected, atol=6e-4)


def test_rare_runs_decide_the_log_of_the_mean_share() -> None:
    slopes = {
        a: np.diff(np.log([exact.waste_per_iteration(P, int(i), a) for i in DECADES[1:]])) / math.log(10)
        for a in (10.0, 50.0)
    }
    np.testing.assert_allclose(slopes[10.0], [-2.39, -2.07], atol=6e-3)
    np.testing.assert_allclose(slopes[50.0], [-19.9, -11.8], atol=0.08)


def test_simulated_waste_has_the_exact_mean() -> None:
    n = 3000
    for alpha, deviation in ((2.0, 40.0), (10.0, 10.0)):
        run = simulate(
            bernoulli(P), "3spo_proportional", alpha=alpha, horizon=1000, replications=n, feedback="full",
            objective="min", record_times=[100, 1000],
        )  # fmt: skip
        expected = exact.expected_waste(P, run.times, alpha)
        error = np.maximum(run.waste.std(axis=0, ddof=1), deviation / 10) / math.sqrt(n)
        assert (np.abs(run.waste.mean(axis=0) - expected) < 5 * error).all()
        assert (np.abs(run.waste.mean(axis=0) - 1.3 * expected) > 5 * error)[0]


def test_samples_needed() -> None:
    table = {P: (20, 32, 64, 113), NEAR: (91, 148, 294, 517)}
    for p, expected in table.items():
        assert [exact.samples_needed(p, d) for d in (0.1, 0.05, 0.01, 0.001)] == list(expected)
    middle = [exact.samples_needed((0.5 - d / 2, 0.5 + d / 2), 0.05) for d in (0.2, 0.1, 0.05)]
    assert middle == [34, 135, 541]
    assert exact.identification_error(P, 1) == pytest.approx(0.3 * 0.5 + 0.5 * (0.15 + 0.35))
    for p, steps, rate in ((P, 49, 54.0), (NEAR, 223, 248.0)):
        needed = exact.samples_needed(p, 0.001) - exact.samples_needed(p, 0.01)
        bhattacharyya = -2 * math.log(math.sqrt(p[0] * p[1]) + math.sqrt((1 - p[0]) * (1 - p[1])))
        assert needed == steps and math.log(10) / bhattacharyya == pytest.approx(rate, abs=0.5)


def test_no_smaller_sample_is_enough() -> None:
    errors = [exact.identification_error(P, n) for n in range(1, 40)]
    assert all(e > 0.05 for e in errors[:31]) and all(e <= 0.05 for e in errors[31:])


# --- Lock-in ----------------------------------------------------------------------------------------------------------


def test_never_again_by_brute_force() -> None:
    horizon, alpha = 5, 8.0
    total = 0.0
    for target, *draws in itertools.product((0, 1), repeat=1 + 1 + horizon):
        weight = P[0] if target else 1 - P[0]
        weight *= math.prod(P[1] if d else 1 - P[1] for d in draws)
        for i in range(1, horizon + 1):
            rate = sum(draws[:i]) / i
            weight *= 1.0 / (1.0 + i ** (alpha * (rate - target)))
        total += weight
    assert exact.never_again(P, alpha, np.array([horizon]))[0] == pytest.approx(total, rel=1e-12)


def test_simulated_lock_in_is_never_below_the_exact_part() -> None:
    n = 4000
    run = simulate(
        bernoulli(P), "3spo_proportional", horizon=500, replications=n, objective="min", charge_initial=False,
        clock="decisions", record_times=[500],
    )  # fmt: skip
    never = float(exact.never_again(P, 50.0, np.array([500]))[0])
    found = (run.pulls[:, 0] == 1).mean()
    assert abs(found - never) < 5 * math.sqrt(never * (1 - never) / n)
    assert never == pytest.approx(0.125, abs=1e-6)


LOCKED = {
    ((0.3, 0.5), 50.0, 1, "decisions"): 0.220,
    ((0.3, 0.5), 50.0, 1, "pulls"): 0.251,
    ((0.3, 0.5), 50.0, 10, "decisions"): 0.045,
    ((0.3, 0.5), 10.0, 1, "decisions"): 0.196,
    ((0.3, 0.5, 0.7, 0.9), 50.0, 1, "decisions"): 0.270,
    ((0.05, 0.1), 50.0, 1, "decisions"): 0.232,
    ((0.05, 0.1), 50.0, 10, "pulls"): 0.132,
}


@pytest.mark.parametrize("case", LOCKED)
def test_lock_in_rates(case: tuple) -> None:
    p, alpha, initial, clock = case
    n = 1500
    run = simulate(
        bernoulli(p), "3spo_proportional", alpha=alpha, horizon=3000, replications=n, objective="min", clock=clock,
        charge_initial=False, initial_pulls=initial, record_times=[3000],
    )  # fmt: skip
    # The tabulated rate has a standard error of 0.3 points itself, and a shorter horizon than its own moves it by less.
    error = math.hypot(math.sqrt(LOCKED[case] * (1 - LOCKED[case]) / n), 0.003)
    assert abs(run.lock_in - LOCKED[case]) < 5 * error
    assert np.median(run.waste[:, -1]) < 20


def test_forced_exploration_waste() -> None:
    for arms, expected in (((0.3, 0.5), (31.7, 61.6, 90.3)), ((0.3, 0.5, 0.7, 0.9), (65.0, 155.0, 241.0))):
        run = simulate(
            bernoulli(arms), "3spo_forced", horizon=10_000, replications=400, objective="min", clock="decisions",
            charge_initial=False, record_times=[100, 1000, 10_000],
        )  # fmt: skip
        error = run.waste.std(axis=0, ddof=1) / math.sqrt(400)
        assert (np.abs(run.waste.mean(axis=0) - expected) < 5 * error + 0.01 * np.array(expected)).all()
        assert run.lock_in == 0.0


@pytest.mark.parametrize(
    ("alpha", "clock", "waste", "spent"),
    [
        (50.0, "decisions", 1007, 2014),
        (50.0, "pulls", 1007, 2014),
        (1.0, "decisions", 1096, 3155),
        (1.0, "pulls", 1020, 2378),
    ],
)
def test_ceil_waste(alpha: float, clock: str, waste: float, spent: float) -> None:
    run = simulate(
        bernoulli(P), "3spo_ceil", alpha=alpha, clock=clock, horizon=1000, replications=500, objective="min",
        record_times=[1000],
    )  # fmt: skip
    for found, expected in ((run.waste, waste), (run.spent, spent)):
        assert abs(found.mean() - expected) < 5 * found.std(ddof=1) / math.sqrt(500) + 0.0075 * expected


# --- Truncation -------------------------------------------------------------------------------------------------------


def test_truncation_table() -> None:
    p = [0.05, 0.10, 0.12, 0.15, 0.20, 0.25, 0.30, 0.40, 0.50]
    found = truncation_probability(np.array(p))
    np.testing.assert_allclose(found[:, -1], [1, 0.977, 0.840, 0.636, 0.386, 0.223, 0.123, 0.0312, 0.0059], atol=6e-4)
    np.testing.assert_allclose(found[:, 9], (1 - np.array(p)) ** 10, rtol=1e-12)
    assert found[4, 10] == pytest.approx(0.322, abs=5e-4)
    assert (np.diff(found, axis=1) >= -1e-15).all()


def test_truncation_by_brute_force() -> None:
    p, xi, zeta, horizon = 0.3, 2, 0.25, 9
    total = np.zeros(horizon)
    for path in itertools.product((0, 1), repeat=horizon):
        weight = math.prod(p if x else 1 - p for x in path)
        for n in range(1, horizon + 1):
            s = sum(path[:n])
            if n - s >= xi and s / (n + 1e-6) <= zeta:
                total[n - 1 :] += weight
                break
    np.testing.assert_allclose(truncation_probability(p, xi=xi, zeta=zeta, horizon=horizon)[0], total, rtol=1e-12)


def test_simulated_truncation_agrees_and_a_shifted_rate_does_not() -> None:
    n = 4000
    found = (simulated_truncation(0.2, n, horizon=400) > 0).mean()
    exact_value = truncation_probability(0.2, horizon=400)[0, -1]
    error = math.sqrt(exact_value * (1 - exact_value) / n)
    assert abs(found - exact_value) < 5 * error
    assert abs(found - truncation_probability(0.25, horizon=400)[0, -1]) > 5 * error


def test_one_visit_laws_add_up() -> None:
    for n in (9, 10, 11, 12, 50):
        assert cut_at(0.2, n) + kept_at(0.2, n) == pytest.approx(1.0)
    assert cut_at(0.2, 9) == 0.0 and cut_at(0.2, 10) == pytest.approx(0.8**10)


@pytest.mark.parametrize(
    "call",
    [
        lambda: truncation_probability(1.5),
        lambda: truncation_probability(0.5, xi=0),
        lambda: truncation_probability(0.5, zeta=1.0),
        lambda: truncation_probability(0.5, horizon=0),
        lambda: exact.samples_needed((0.5, 0.3), 0.1),
        lambda: exact.samples_needed(P, 0.7),
        lambda: exact.never_again(P, 2.0, np.array([0])),
    ],
)
def test_bad_input_is_an_input_error(call) -> None:
    with pytest.raises(InputError):
        call()
