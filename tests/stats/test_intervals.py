"""Fixed-n intervals: exact values, coverage, degenerate input.

Coverage is compared with the range that the share of covered runs leaves with probability at most 1e-6 at the nominal
0.95; for intervals that are right only for large n, n is such that their own error is far inside that range.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from creditsim.errors import InputError
from creditsim.stats.intervals import (
    Interval,
    bootstrap_interval,
    delta_interval,
    mean_interval,
    normal_quantile,
    proportion_interval,
    ratio_interval,
    t_interval,
    t_quantile,
    two_sample_interval,
    variance_interval,
    variance_ratio_interval,
)
from creditsim.stats.moments import Moments
from creditsim.stats.sums import Summary

Band = Callable[[float, int], tuple[float, float]]
RUNS = 20_000


def draws(*shape: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).normal(size=shape)


def summary_of(x: np.ndarray, cross: bool = False) -> Summary:
    return Moments(x.shape[1:], cross).add(x, 0).summary()


# --- small samples: the t interval and what people use instead -------------------------------------------------------


@pytest.mark.parametrize("n", [8, 30])
def test_t_interval_covers_at_its_level_and_its_twins_do_not(n: int, band: Band) -> None:
    x = draws(n, RUNS, seed=n)
    s = summary_of(x)
    low, high = band(0.95, RUNS)
    assert low <= mean_interval(s).contains(0.0).mean() <= high
    # Broken twins, each with its exact coverage from the t law: 1.96 standard errors, and these with ddof = 0.
    z = normal_quantile(0.05)
    for ddof, exact_at_8 in ((1, 0.9092), (0, 0.8906)):
        half = z * np.sqrt(s.variance(ddof) / n)
        covered = float((np.abs(s.mean) <= half).mean())
        quantile = z * np.sqrt((n - 1) / (n - ddof)) if ddof == 0 else z
        exact = 2 * stats.t.cdf(quantile, n - 1) - 1
        if n == 8:
            assert exact == pytest.approx(exact_at_8, abs=5e-5)
        below, above = band(float(exact), RUNS)
        assert below <= covered <= above
        assert covered < low


def test_quantiles_equal_the_reference() -> None:
    assert normal_quantile(0.05) == pytest.approx(1.959963984540054, rel=1e-12)
    assert normal_quantile(1e-12) == pytest.approx(stats.norm.isf(5e-13), rel=1e-9)
    np.testing.assert_allclose(t_quantile(0.01, np.array([1, 7, 1e6])), stats.t.isf(0.005, [1, 7, 1e6]), rtol=1e-9)
    assert np.isposinf(t_quantile(0.05, 0))


def test_interval_says_what_it_is() -> None:
    i = t_interval(16, 2.0, 4.0, alpha=0.1)
    assert i.level == 0.9 and i.alpha == 0.1 and int(i.n) == 16 and i.method == "t" and "independent" in i.assumption
    assert float(i.width) == pytest.approx(2 * stats.t.isf(0.05, 15) * 0.5)
    assert bool(i.contains(2.0)) and not bool(i.contains(9.0))
    pair = Interval(np.zeros(3), -np.ones(3), np.ones(3), 0.05, np.array([1, 2, 3]), "", "")
    assert int(pair.at(-1).n) == 3 and float(pair.at(-1).low) == -1.0


def test_degenerate_means() -> None:
    i = t_interval(np.array([0, 1, 5]), np.array([np.nan, 2.0, 2.0]), np.array([np.nan, np.nan, 0.0]))
    np.testing.assert_array_equal(i.low, [-np.inf, -np.inf, 2.0])
    np.testing.assert_array_equal(i.high, [np.inf, np.inf, 2.0])
    with pytest.raises(InputError, match="variance"):
        t_interval(5, 0.0, -1.0)
    for alpha in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="alpha"):
            t_interval(5, 0.0, 1.0, alpha=alpha)


# --- variances -------------------------------------------------------------------------------------------------------

LAWS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], np.ndarray], float, int]] = {
    "normal": (lambda g, size: g.normal(size=size), 1.0, 400),
    "uniform": (lambda g, size: g.random(size), 1 / 12, 400),
    "bernoulli 0.2": (lambda g, size: (g.random(size) < 0.2).astype(float), 0.16, 1000),
    "exponential": (lambda g, size: g.exponential(size=size), 1.0, 4000),
}


def variance_coverage(law: str, twin: bool = False) -> float:
    draw, truth, n = LAWS[law]
    covered = []
    for chunk in range(4):
        s = summary_of(draw(np.random.Generator(np.random.Philox([chunk, n])), (n, 500)))
        i = variance_interval(s)
        if twin:
            # The chi-square interval, which is for normal values only.
            ratio = (n - 1) / stats.chi2.ppf([0.975, 0.025], n - 1)
            i = Interval(i.estimate, s.variance() * ratio[0], s.variance() * ratio[1], 0.05, n, "chi-square", "normal")
        covered.append(i.contains(truth).mean())
    return float(np.mean(covered))


@pytest.mark.parametrize("law", LAWS)
def test_variance_interval_covers_under_any_law(law: str, band: Band) -> None:
    low, high = band(0.95, 2000)
    assert low <= variance_coverage(law) <= high


def test_chi_square_twin_fails_off_the_normal_law(band: Band) -> None:
    low, high = band(0.95, 2000)
    assert low <= variance_coverage("normal", twin=True) <= high
    assert variance_coverage("exponential", twin=True) < low
    assert variance_coverage("uniform", twin=True) > high


def test_variance_interval_degenerate() -> None:
    i = variance_interval(summary_of(np.full((9,), 3.0)))
    assert (float(i.low), float(i.high)) == (0.0, 0.0)
    i = variance_interval(summary_of(np.ones((1,))))
    assert (float(i.low), float(i.high)) == (0.0, np.inf)


def test_variance_ratio_covers_and_survives_zero(band: Band) -> None:
    a, b = summary_of(3 * draws(300, 4000, seed=1)), summary_of(draws(500, 4000, seed=2))
    i = variance_ratio_interval(a, b)
    low, high = band(0.95, 4000)
    assert low <= i.contains(9.0).mean() <= high
    assert i.n == 300
    flat = variance_ratio_interval(summary_of(np.ones(5)), summary_of(np.ones(5)))
    assert (float(flat.low), float(flat.high)) == (0.0, np.inf)


# --- ratios and smooth functions -------------------------------------------------------------------------------------


def ratio_samples(seed: int, offset: float) -> Summary:
    z = draws(60, 2, seed=seed)
    return summary_of(np.stack([2 * (offset + z[:, 0]) + 0.5 * z[:, 1], offset + z[:, 0]], axis=1), cross=True)


@pytest.mark.parametrize("method", ["fieller", "delta"])
def test_ratio_interval_covers(method: str, band: Band) -> None:
    low, high = band(0.95, 2000)
    covered = np.mean([bool(ratio_interval(ratio_samples(s, 3.0), method=method).contains(2.0)) for s in range(2000)])
    assert low <= covered <= high


def test_ratio_ignoring_the_covariance_is_caught(band: Band) -> None:
    def twin(s: Summary) -> bool:
        assert s.cross is not None
        independent = Summary(s.n, s.mean, s.m2, s.m3, s.m4, np.diag(np.diag(s.cross)))
        return bool(ratio_interval(independent, method="delta").contains(2.0))

    assert np.mean([twin(ratio_samples(s, 3.0)) for s in range(2000)]) > band(0.95, 2000)[1]


def test_fieller_solves_its_own_equation_and_gives_up_where_it_must() -> None:
    s = ratio_samples(1, 3.0)
    i = ratio_interval(s, alpha=0.01)
    c = s.covariance() / s.n
    for r in (i.low, i.high):
        left = (s.mean[0] - r * s.mean[1]) ** 2
        assert left == pytest.approx(
            float(t_quantile(0.01, s.n - 1)) ** 2 * (c[0, 0] - 2 * r * c[0, 1] + r * r * c[1, 1])
        )
    assert np.isinf(ratio_interval(ratio_samples(1, 0.0), alpha=1e-3).width)
    assert np.isinf(ratio_interval(summary_of(np.ones((1, 2)), cross=True)).width)
    zero = ratio_interval(summary_of(np.zeros((5, 2)), cross=True), method="delta")
    assert np.isinf(zero.width)
    with pytest.raises(InputError, match="nearest: fieller"):
        ratio_interval(s, method="fiellr")
    with pytest.raises(InputError, match="numerator"):
        ratio_interval(summary_of(np.ones((4, 3)), cross=True))


def test_delta_interval_agrees_with_the_ratio_and_covers_a_cosine(band: Band) -> None:
    s = ratio_samples(5, 3.0)
    x, y = s.mean
    general = delta_interval(s, lambda m: m[0] / m[1], np.array([1 / y, -x / y**2]))
    special = ratio_interval(s, method="delta")
    assert (float(general.low), float(general.high)) == pytest.approx((float(special.low), float(special.high)))

    truth, target = np.array([1.0, 0.5, -0.3]), np.array([1.0, 0.0, 0.0])

    def cosine(m: np.ndarray) -> float:
        return float(m @ target / np.linalg.norm(m))

    covered = 0
    for seed in range(1000):
        g = summary_of(truth + draws(200, 3, seed=seed), cross=True)
        norm = np.linalg.norm(g.mean)
        slope = target / norm - (g.mean @ target) * g.mean / norm**3
        covered += bool(delta_interval(g, cosine, slope).contains(cosine(truth)))
    low, high = band(0.95, 1000)
    assert low <= covered / 1000 <= high
    with pytest.raises(InputError, match="gradient"):
        delta_interval(s, cosine, np.ones(3))


# --- proportions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 10, 57])
def test_clopper_pearson_covers_exactly_and_wilson_on_average(n: int) -> None:
    k, p = np.arange(n + 1), np.linspace(0.001, 0.999, 397)[:, None]
    pmf = stats.binom.pmf(k, n, p)
    exact = (pmf * proportion_interval(k, n).contains(p)).sum(axis=1)
    wilson = (pmf * proportion_interval(k, n, method="wilson").contains(p)).sum(axis=1)
    wald = np.abs(k / n - p) <= 1.96 * np.sqrt(k / n * (1 - k / n) / n)
    assert exact.min() >= 0.95
    assert wilson.mean() >= 0.94
    assert (pmf * wald).sum(axis=1).min() < 0.5


def test_proportion_values_and_ends() -> None:
    for k, n in ((0, 12), (3, 12), (12, 12)):
        ours, reference = proportion_interval(k, n), stats.binomtest(k, n).proportion_ci()
        assert (float(ours.low), float(ours.high)) == pytest.approx((reference.low, reference.high), abs=1e-12)
        score = stats.binomtest(k, n).proportion_ci(method="wilson")
        ours = proportion_interval(k, n, method="wilson")
        assert (float(ours.low), float(ours.high)) == pytest.approx((score.low, score.high), abs=1e-12)
    nothing = proportion_interval(0, 0)
    assert (float(nothing.low), float(nothing.high)) == (0.0, 1.0) and np.isnan(nothing.estimate)
    with pytest.raises(InputError, match="successes"):
        proportion_interval(5, 4)


# --- two samples and the bootstrap -----------------------------------------------------------------------------------


def test_welch_equals_the_reference_and_covers(band: Band) -> None:
    x, y = draws(7, seed=1), 4 * draws(23, seed=2) + 1
    reference = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    ours = two_sample_interval(summary_of(x), summary_of(y))
    assert (float(ours.low), float(ours.high)) == pytest.approx((reference.low, reference.high), rel=1e-10)
    assert ours.n == 7

    a, b = summary_of(draws(10, RUNS, seed=3)), summary_of(5 * draws(40, RUNS, seed=4))
    covered = float(two_sample_interval(a, b).contains(0.0).mean())
    low, high = band(0.95, RUNS)
    assert low <= covered <= high
    # Broken twin: pooling unlike variances.
    pooled = (a.m2 + b.m2) / 48 * (1 / 10 + 1 / 40)
    twin = np.abs(a.mean - b.mean) <= stats.t.isf(0.025, 48) * np.sqrt(pooled)
    assert twin.mean() > high


def test_welch_degenerate() -> None:
    flat = two_sample_interval(summary_of(np.ones(4)), summary_of(np.zeros(3)))
    assert (float(flat.low), float(flat.high)) == (1.0, 1.0)
    assert np.isinf(two_sample_interval(summary_of(np.ones(1)), summary_of(np.zeros(3))).width)


def test_bootstrap_is_seeded_covers_and_refuses_far_tails(band: Band) -> None:
    x = draws(40, seed=1)
    one = bootstrap_interval(x, np.mean, seed=5, resamples=999)
    two = bootstrap_interval(x, np.mean, seed=5, resamples=999)
    other = bootstrap_interval(x, np.mean, seed=6, resamples=999)
    assert (one.low, one.high) == (two.low, two.high) != (other.low, other.high)
    assert float(one.width) == pytest.approx(float(mean_interval(summary_of(x)).width), rel=0.15)
    covered = 0
    for seed in range(200):
        sample = np.random.Generator(np.random.Philox(seed)).exponential(size=80)
        found = bootstrap_interval(sample, np.median, method="percentile", resamples=499, seed=seed)
        covered += bool(found.contains(np.log(2)))
    assert covered / 200 >= band(0.95, 200)[0]
    flat = bootstrap_interval(np.ones(6), np.mean)
    assert (float(flat.low), float(flat.high)) == (1.0, 1.0)
    with pytest.raises(InputError, match="resamples"):
        bootstrap_interval(x, np.mean, alpha=1e-6)
    with pytest.raises(InputError, match="at least 2"):
        bootstrap_interval(np.ones(1), np.mean)
