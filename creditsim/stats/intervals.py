"""Fixed-n intervals: mean, variance, ratio, smooth function, proportion, two samples, bootstrap.

Each covers with probability 1 - alpha when looked at once, at an n chosen beforehand; to look again and again, or to
stop when the interval is short enough, use `creditsim.stats.sequences`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError, choose
from creditsim.stats.sums import Summary

__all__ = [
    "Interval",
    "bootstrap_interval",
    "check_alpha",
    "delta_interval",
    "mean_interval",
    "normal_quantile",
    "proportion_interval",
    "ratio_interval",
    "t_interval",
    "t_quantile",
    "two_sample_interval",
    "variance_interval",
    "variance_ratio_interval",
]


@dataclass(frozen=True, eq=False)
class Interval:
    """`low` <= truth <= `high` with probability at least 1 - `alpha`, under `assumption`.

    Numbers or arrays of one shape; `n` is the number of replicates (an array over looks in a confidence sequence).
    For arrays the error level holds for each entry by itself unless `method` says otherwise.
    """

    estimate: Array
    low: Array
    high: Array
    alpha: float
    n: Array
    method: str
    assumption: str

    @property
    def level(self) -> float:
        """Confidence level 1 - alpha."""
        return 1.0 - self.alpha

    @property
    def width(self) -> Array:
        """High - low."""
        return self.high - self.low

    def at(self, index: Any) -> Interval:
        """One entry, or a slice of them: `at((..., -1))` is the last look of a confidence sequence."""
        n = np.broadcast_to(self.n, np.shape(self.low))[index]
        return Interval(
            self.estimate[index], self.low[index], self.high[index], self.alpha, n, self.method, self.assumption
        )

    def contains(self, value: Array) -> Array:
        """Tell whether `value` lies in the closed interval, entry by entry."""
        return (self.low <= value) & (value <= self.high)


def check_alpha(alpha: float) -> float:
    """Return `alpha` if it is an error level in (0, 1); InputError otherwise."""
    if not 0.0 < alpha < 1.0:
        raise InputError("alpha", alpha, "0 < alpha < 1")
    return alpha


def normal_quantile(alpha: float) -> float:
    """Z with P(|Z| > z) = alpha."""
    from scipy.special import ndtri

    return -float(ndtri(check_alpha(alpha) / 2.0))


def t_quantile(alpha: float, df: Array) -> Array:
    """T with P(|T_df| > t) = alpha; infinite where df <= 0."""
    from scipy.special import stdtrit

    df = np.asarray(df, np.float64)
    return np.where(df > 0, -stdtrit(np.where(df > 0, df, 1.0), check_alpha(alpha) / 2.0), np.inf)


def _around(
    estimate: Array, standard_error: Array, quantile: Array, alpha: float, n: Array, method: str, assumption: str
) -> Interval:
    estimate, standard_error = np.asarray(estimate, np.float64), np.asarray(standard_error, np.float64)
    # An unknown spread (n too small) leaves the truth anywhere.
    unknown = ~np.isfinite(quantile) | np.isnan(standard_error) | np.isnan(estimate)
    with np.errstate(invalid="ignore"):
        half = np.where(unknown, np.inf, quantile * standard_error)
    centre = np.where(np.isnan(estimate), 0.0, estimate)
    return Interval(estimate, centre - half, centre + half, alpha, n, method, assumption)


def t_interval(n: Array, mean: Array, variance: Array, *, alpha: float = 0.05) -> Interval:
    """T interval for a mean: mean +- t_{n-1} sqrt(s^2/n), s^2 with ddof = 1; arguments broadcast.

    n < 2 gives the whole line. Zero sample variance gives zero width: that says that no spread was seen, not that
    there is none (for bounded values use `proportion_interval` or the bounded confidence sequences).
    Errors: InputError for a negative variance.
    """
    n, variance = np.asarray(n), np.asarray(variance, np.float64)
    if (variance < 0).any():
        raise InputError("variance", float(variance.min()), "a number >= 0")
    standard_error = np.sqrt(variance / np.maximum(n, 1))
    return _around(mean, standard_error, t_quantile(alpha, n - 1), alpha, n, "t", "independent; normal, or n large")


def mean_interval(summary: Summary, *, alpha: float = 0.05) -> Interval:
    """T interval for the mean of every coordinate of `summary`, of its shape."""
    return t_interval(summary.n, summary.mean, summary.variance(), alpha=alpha)


def variance_interval(summary: Summary, *, alpha: float = 0.05) -> Interval:
    """Interval for the variance of every coordinate, from the fourth moment, symmetric in ln s^2.

    ln s^2 +- t_{n-1} se, se^2 = Var(s^2) / s^4 with Var(s^2) = (mu4 - sigma^4 (n-3)/(n-1)) / n (delta method). On the
    log scale the law of s^2 is closer to normal and the bounds stay positive. Zero variance gives [0, 0]; n < 2 gives
    [0, inf).
    """
    s2 = summary.variance()
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(s2 == 0.0, 0.0, summary.variance_standard_error() / s2)
    factor = np.exp(np.where(np.isnan(s2), np.inf, t_quantile(alpha, summary.n - 1) * relative))
    centre = np.where(np.isnan(s2), 1.0, s2)
    assumption = "independent; finite fourth moment; n large"
    return Interval(s2, centre / factor, centre * factor, alpha, summary.n, "log variance, delta method", assumption)


def variance_ratio_interval(first: Summary, second: Summary, *, alpha: float = 0.05) -> Interval:
    """Interval for Var(first) / Var(second) of independent samples, symmetric in the logarithm.

    For two estimators on the same rollouts accumulate (x - c)^2 and (y - c)^2 about the known centre c as one vector
    with cross-moments and take `ratio_interval` of their means: pairing is then used instead of lost.
    Zero variances give NaN and an interval that is the half line.
    """
    a, b = first.variance(), second.variance()
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = a / b
        relative = np.hypot(first.variance_standard_error() / a, second.variance_standard_error() / b)
        half = normal_quantile(alpha) * relative
        low, high = np.exp(np.log(ratio) - half), np.exp(np.log(ratio) + half)
    known = np.isfinite(low) & np.isfinite(high)
    assumption = "independent samples; finite fourth moments; n large"
    low, high = np.where(known, low, 0.0), np.where(known, high, np.inf)
    return Interval(ratio, low, high, alpha, min(first.n, second.n), "log variance ratio, delta method", assumption)


def delta_interval(
    summary: Summary, function: Callable[[np.ndarray], float], gradient: np.ndarray, *, alpha: float = 0.05
) -> Interval:
    """Delta-method interval for g(mean) of a vector mean: g +- t_{n-1} sqrt(grad' S grad / n), grad at the mean.

    `summary` of shape (K,) with cross-moments, `gradient` (K,) of `function` at `summary.mean`.
    """
    gradient = np.asarray(gradient, np.float64)
    if gradient.shape != summary.mean.shape or gradient.ndim != 1:
        raise InputError("gradient", f"shape {gradient.shape}", f"{summary.mean.shape}, one entry per coordinate")
    spread = np.einsum("i,ij,j->", gradient, summary.covariance(), gradient, optimize=False)
    standard_error = np.sqrt(np.maximum(spread, 0.0) / max(summary.n, 1))
    quantile, assumption = t_quantile(alpha, summary.n - 1), "independent; smooth near the mean; n large"
    return _around(function(summary.mean), standard_error, quantile, alpha, summary.n, "delta method", assumption)


def ratio_interval(summary: Summary, *, alpha: float = 0.05, method: str = "fieller") -> Interval:
    """Interval for E[x] / E[y] from pairs; `summary` of shape (2,) = (x, y) with cross-moments.

    `delta`: r +- t se, se^2 = (Sxx - 2 r Sxy + r^2 Syy) / (n y^2). `fieller` (default): all r with
    (x - r y)^2 <= t^2 (Sxx - 2 r Sxy + r^2 Syy) / n; the whole line where the mean of y is not told from 0, which is
    the truth there. For pooled quantities (a sum over rows per number of rows) each replicate is one pair.
    """
    choose("method", method, ("fieller", "delta"))
    if summary.mean.shape != (2,):
        raise InputError("summary", f"shape {summary.mean.shape}", "(2,): numerator and denominator")
    x, y = (float(v) for v in summary.mean)
    n, t = summary.n, float(t_quantile(alpha, summary.n - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = float(np.float64(x) / y)
    (sxx, sxy), (_, syy) = summary.covariance() / max(n, 1)
    if method == "delta":
        spread = max(sxx - 2.0 * ratio * sxy + ratio * ratio * syy, 0.0)
        assumption = "independent pairs; denominator far from 0; n large"
        return _around(ratio, np.sqrt(spread) / abs(y) if y else np.nan, t, alpha, n, "ratio, delta", assumption)
    assumption = "independent pairs; normal means, or n large"
    if not np.isfinite(t) or y * y <= t * t * syy:
        return Interval(ratio, -np.inf, np.inf, alpha, n, "ratio, Fieller", assumption)
    a, b, c = y * y - t * t * syy, x * y - t * t * sxy, x * x - t * t * sxx
    root = np.sqrt(max(b * b - a * c, 0.0))
    return Interval(ratio, float((b - root) / a), float((b + root) / a), alpha, n, "ratio, Fieller", assumption)


def proportion_interval(
    successes: Array, n: Array, *, alpha: float = 0.05, method: str = "clopper-pearson"
) -> Interval:
    """Interval for a probability from `successes` of `n` independent trials; arguments broadcast.

    `clopper-pearson`: the exact test inverted, at least 1 - alpha at every n. `wilson`: the score test inverted, 1 -
    alpha on average over p and shorter. n = 0 gives [0, 1]. Errors: InputError for counts outside 0..n.
    """
    from scipy.special import betainccinv, betaincinv

    choose("method", method, ("clopper-pearson", "wilson"))
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(n, np.float64))
    if ((k < 0) | (k > n)).any():
        raise InputError("successes", "a count below 0 or above n", "0 <= successes <= n")
    trials = np.maximum(n, 1.0)
    estimate = np.where(n > 0, k / trials, np.nan)
    if method == "wilson":
        z = normal_quantile(alpha)
        centre = (k + z * z / 2.0) / (n + z * z)
        half = z * np.sqrt(k * (n - k) / trials + z * z / 4.0) / (n + z * z)
        return Interval(estimate, centre - half, centre + half, alpha, n, "Wilson", "independent trials; n large")
    tail = check_alpha(alpha) / 2.0
    low = np.where(k > 0, betaincinv(np.maximum(k, 1.0), n - k + 1.0, tail), 0.0)
    high = np.where(k < n, betainccinv(k + 1.0, np.maximum(n - k, 1.0), tail), 1.0)
    return Interval(estimate, low, high, alpha, n, "Clopper-Pearson", "independent trials")


def two_sample_interval(first: Summary, second: Summary, *, alpha: float = 0.05) -> Interval:
    """Welch's interval for mean(first) - mean(second) of independent samples, Satterthwaite's degrees of freedom.

    For paired samples take `mean_interval` of the differences. Fewer than two replicates on a side: the whole line.
    """
    a, b = first.variance() / max(first.n, 1), second.variance() / max(second.n, 1)
    total = a + b
    with np.errstate(invalid="ignore", divide="ignore"):
        df = total**2 / (a**2 / (first.n - 1) + b**2 / (second.n - 1))
    # Both variances zero: any positive number of degrees of freedom gives the same zero width.
    df = np.where(total == 0.0, 1.0, df)
    quantile, assumption = t_quantile(alpha, np.nan_to_num(df)), "independent samples; normal, or n large"
    difference = first.mean - second.mean
    return _around(difference, np.sqrt(total), quantile, alpha, min(first.n, second.n), "Welch t", assumption)


def bootstrap_interval(
    samples: np.ndarray,
    statistic: Callable[..., Array],
    *,
    alpha: float = 0.05,
    method: str = "BCa",
    resamples: int = 4999,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval for `statistic(samples, axis=)` over the first axis of `samples` (n, ...).

    `method`: BCa, percentile or basic (scipy.stats.bootstrap); draws are Philox from `seed`, so the result is a
    function of the arguments. Equal samples give zero width. Errors: InputError for n < 2, and for an alpha whose tails
    hold fewer than ten resamples each: such quantiles are made of noise.
    """
    from scipy.stats import bootstrap

    choose("method", method, ("BCa", "percentile", "basic"))
    samples = np.asarray(samples, np.float64)
    n = samples.shape[0]
    if n < 2:
        raise InputError("samples", f"{n} replicates", "at least 2")
    if check_alpha(alpha) * resamples < 20:
        raise InputError("alpha", alpha, f"at least {20 / resamples:.3g} with {resamples} resamples")
    estimate = np.asarray(statistic(samples, axis=0))
    assumption = "independent; n large"
    if (samples == samples[:1]).all():
        return Interval(estimate, estimate, estimate, alpha, n, f"bootstrap {method}", assumption)
    found = bootstrap(
        (samples,),
        statistic,
        axis=0,
        n_resamples=resamples,
        batch=max(1, 2**22 // samples.size),
        confidence_level=1.0 - alpha,
        method=method,
        rng=np.random.Generator(np.random.Philox(key=seed)),
    ).confidence_interval
    return Interval(estimate, found.low, found.high, alpha, n, f"bootstrap {method}", assumption)
