"""Rate fits: known exponents with coverage, correlated curves, the law of growth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.stats.rates import compare_growth, fit_rate

Band = Callable[[float, int], tuple[float, float]]
X = np.geomspace(10, 10_000, 9)
RUNS = 2000


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_exact_power_law_is_recovered(exponent: float) -> None:
    fit = fit_rate(X, 3.0 * X**exponent, standard_error=0.1)
    assert fit.exponent.estimate == pytest.approx(exponent, abs=1e-12)
    assert np.exp(fit.log_factor.estimate) == pytest.approx(3.0)
    assert fit.chi2 == pytest.approx(0.0, abs=1e-15) and fit.p_fit == pytest.approx(1.0)
    assert fit.exponent.n == X.size


def test_closed_form_of_two_clusters() -> None:
    # Exact twin: three points at two x; slope and its variance by hand.
    x, y, se = np.array([1.0, np.e, np.e]), np.array([1.0, 2.0, 2.0]), np.array([0.1, 0.4, 0.4])
    fit = fit_rate(x, y, standard_error=se)
    variance = 0.1**2 + (0.4 / 2) ** 2 / 2
    assert fit.exponent.estimate == pytest.approx(np.log(2))
    assert fit.exponent.width / 2 == pytest.approx(1.959963984540054 * np.sqrt(variance))


def coverage(use_errors: bool) -> float:
    truth, covered, g = -0.5, 0, generator(1)
    relative = np.geomspace(0.002, 0.06, X.size)  # the far points are the noisy ones
    for _ in range(RUNS):
        clean = 2.0 * X**truth
        y = clean * (1 + relative * g.normal(size=X.size))
        claimed = relative if use_errors else np.full(X.size, relative.mean())
        fit = fit_rate(X, y, standard_error=claimed * clean)
        covered += bool(fit.exponent.contains(truth))
    return covered / RUNS


def test_exponent_interval_covers_with_unequal_errors_and_not_without(band: Band) -> None:
    low, high = band(0.95, RUNS)
    assert low <= coverage(use_errors=True) <= high
    assert not low <= coverage(use_errors=False) <= high


def test_exponent_interval_covers_without_standard_errors(band: Band) -> None:
    g, low_high = generator(2), band(0.95, RUNS)
    covered = [
        bool(fit_rate(X, 2.0 * X**0.7 * np.exp(0.1 * g.normal(size=X.size))).exponent.contains(0.7))
        for _ in range(RUNS)
    ]
    assert low_high[0] <= np.mean(covered) <= low_high[1]


def test_points_of_one_curve_need_their_covariance(band: Band) -> None:
    # Regret-like curves: the sum of steps so far, so later points contain the earlier ones.
    t = np.array([50, 100, 200, 400, 800])
    replicates, low_high = 400, band(0.95, 1000)
    shared = np.minimum.outer(t, t).astype(float)
    root = np.linalg.cholesky(shared)
    covered, covered_twin = 0, 0
    g = generator(3)
    for _ in range(1000):
        curves = t + (root @ g.normal(size=(t.size, replicates))).T
        matrix = np.cov(curves.T) / replicates
        y = curves.mean(axis=0)
        covered += bool(fit_rate(t, y, covariance=matrix).exponent.contains(1.0))
        covered_twin += bool(fit_rate(t, y, standard_error=np.sqrt(np.diagonal(matrix))).exponent.contains(1.0))
    assert low_high[0] <= covered / 1000 <= low_high[1]
    assert not low_high[0] <= covered_twin / 1000 <= low_high[1]
    assert np.isnan(fit_rate(t, t, covariance=shared).p_fit)


def test_a_curve_that_is_no_power_law_says_so() -> None:
    g = generator(4)
    y = np.log(X) * (1 + 0.005 * g.normal(size=X.size))
    assert fit_rate(X, y, standard_error=0.005 * y).p_fit < 1e-6
    y = X**0.5 * (1 + 0.005 * g.normal(size=X.size))
    assert fit_rate(X, y, standard_error=0.005 * y).p_fit > 1e-6


@pytest.mark.parametrize(
    ("model", "curve"),
    [("logarithm", 3 * np.log(X) + 2), ("power", 2 * X**0.5), ("linear", 0.3 * X + 5), ("power", 4 * X ** (2 / 3))],
)
def test_growth_is_told_apart(model: str, curve: np.ndarray) -> None:
    y = curve * (1 + 0.01 * generator(6).normal(size=X.size))
    best, *others = compare_growth(X, y, standard_error=0.01 * curve)
    assert best.model == model and best.weight > 0.99
    assert best.weight + sum(fit.weight for fit in others) == pytest.approx(1.0)
    assert all(best.aic <= fit.aic for fit in others)


def test_growth_parameters_are_recovered() -> None:
    fits = {fit.model: fit for fit in compare_growth(X, 2 * X**0.5, standard_error=0.1)}
    assert fits["power"].parameters == pytest.approx({"b": 2.0, "p": 0.5}, rel=1e-6)
    assert fits["power"].chi2 == pytest.approx(0.0, abs=1e-6)


def test_bad_input_to_a_fit_gets_one_line() -> None:
    good = X**0.5
    with pytest.raises(InputError, match="k >= 3"):
        fit_rate(X[:2], good[:2])
    with pytest.raises(InputError, match="<= 0"):
        fit_rate(X, good - good[3])
    with pytest.raises(InputError, match="distinct"):
        fit_rate(np.ones(4), good[:4])
    with pytest.raises(InputError, match="standard_error"):
        fit_rate(X, good, standard_error=0.0)
    with pytest.raises(InputError, match="one of the two"):
        fit_rate(X, good, standard_error=1.0, covariance=np.eye(9))
    with pytest.raises(InputError, match="covariance"):
        fit_rate(X, good, covariance=np.eye(3))
    with pytest.raises(InputError, match="variances > 0"):
        fit_rate(X, good, covariance=np.zeros((9, 9)))
    with pytest.raises(InputError, match="x, y"):
        compare_growth(-X, good, standard_error=1.0)
