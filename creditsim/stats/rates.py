"""Rates: the exponent of a power law with its interval, and which law of growth a curve follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.stats.intervals import Interval, normal_quantile, t_quantile

__all__ = ["GrowthFit", "RateFit", "compare_growth", "fit_rate"]


@dataclass(frozen=True, eq=False)
class RateFit:
    """y = exp(log_factor) x^exponent fitted to k points.

    `residual` (k,) of ln y; `chi2` and `p_fit` test the power law itself (NaN where errors are unknown or correlated):
    a small `p_fit` says that no single exponent describes the curve, and then its interval means little.
    """

    exponent: Interval
    log_factor: Interval
    residual: np.ndarray
    chi2: float
    p_fit: float


def fit_rate(
    x: Array,
    y: Array,
    *,
    standard_error: Array | None = None,
    covariance: Array | None = None,
    alpha: float = 0.05,
) -> RateFit:
    """Least squares of ln y on ln x over k points, with an interval on the exponent.

    With standard errors of y (k,): weights (y/se)^2, normal quantile. With `covariance` (k,k) instead (points of one
    curve share their replicates): weights from its diagonal, variance of the fit from the whole matrix. With neither:
    equal weights, t_{k-2}, and errors of ln y taken as independent and of one size. se(ln y) = se/y to first order, so
    relative errors should be small. Errors: InputError for k < 3, numbers <= 0, fewer than two distinct x, both given.
    """
    from scipy.special import chdtrc

    x, y = _points(x, y, positive=True)
    k = x.size
    if covariance is not None:
        if standard_error is not None:
            raise InputError("standard_error", "a covariance as well", "one of the two")
        matrix = np.asarray(covariance, np.float64)
        if matrix.shape != (k, k):
            raise InputError("covariance", f"shape {matrix.shape}", f"({k}, {k})")
        matrix = matrix / np.outer(y, y)
    elif standard_error is not None:
        matrix = np.diag(_errors(standard_error, k) / y) ** 2
    else:
        matrix = None
    variance = np.ones(k) if matrix is None else np.diagonal(matrix)
    if not (variance > 0).all():
        raise InputError("covariance", "a variance that is not positive", "variances > 0")
    # Least squares on rows divided by their standard error; `solve` (2, k) maps ln y to the two coefficients.
    design = np.stack([np.ones(k), np.log(x)], axis=1)
    solve = np.linalg.pinv(design / np.sqrt(variance)[:, None]) / np.sqrt(variance)
    coefficient = solve @ np.log(y)
    residual = np.log(y) - design @ coefficient
    chi2 = float((residual**2 / variance).sum())
    if matrix is None:
        spread = solve @ solve.T * chi2 / (k - 2)
        quantile, assumption = float(t_quantile(alpha, k - 2)), "independent errors of ln y, equal size"
    else:
        spread = solve @ matrix @ solve.T
        quantile, assumption = normal_quantile(alpha), "known standard errors, small against y"
    half = quantile * np.sqrt(np.diagonal(spread))
    factor, exponent = (
        Interval(float(c), float(c - h), float(c + h), alpha, k, "log-log least squares", assumption)
        for c, h in zip(coefficient, half, strict=True)
    )
    testable = covariance is None and standard_error is not None
    return RateFit(
        exponent, factor, residual, chi2 if testable else np.nan, float(chdtrc(k - 2, chi2)) if testable else np.nan
    )


@dataclass(frozen=True)
class GrowthFit:
    """One law of growth fitted by weighted least squares: parameters by name, chi2, AIC and its Akaike weight."""

    model: str
    parameters: dict[str, float]
    chi2: float
    aic: float
    weight: float


def compare_growth(x: Array, y: Array, *, standard_error: Array) -> list[GrowthFit]:
    """Compare a + b ln x, b x^p, a + b x on one curve; best first.

    AIC = chi2 + 2 (number of parameters), for independent Gaussian errors of the sizes given; weights exp(-AIC/2),
    normalised. On points of one regret curve errors are correlated and the weights are descriptive; the statement with
    an error level is the interval of `fit_rate` with the curve's covariance. Errors: InputError for k < 3, x <= 0.
    """
    x, y = _points(x, y, positive=False)
    error = _errors(standard_error, x.size)

    def least_squares(columns: list[np.ndarray]) -> tuple[np.ndarray, float]:
        design = np.stack(columns, axis=1) / error[:, None]
        coefficient = np.linalg.lstsq(design, y / error, rcond=None)[0]
        return coefficient, float(((y / error - design @ coefficient) ** 2).sum())

    one = np.ones_like(x)
    (a_log, b_log), chi_log = least_squares([one, np.log(x)])
    (a_lin, b_lin), chi_lin = least_squares([one, x])
    p = _minimum(lambda p: least_squares([x**p])[1], -3.0, 3.0)
    (b_pow,), chi_pow = least_squares([x**p])
    fits = [
        ("logarithm", {"a": float(a_log), "b": float(b_log)}, chi_log),
        ("power", {"b": float(b_pow), "p": p}, chi_pow),
        ("linear", {"a": float(a_lin), "b": float(b_lin)}, chi_lin),
    ]
    aic = np.array([chi2 + 2 * len(parameters) for _, parameters, chi2 in fits])
    weight = np.exp(-(aic - aic.min()) / 2.0)
    weight /= weight.sum()
    table = [GrowthFit(*fit, float(a), float(w)) for fit, a, w in zip(fits, aic, weight, strict=True)]
    return sorted(table, key=lambda fit: fit.aic)


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import minimize_scalar

    grid = np.linspace(low, high, 61)
    best = int(np.argmin([function(float(p)) for p in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)])
    found: Any = minimize_scalar(function, bounds=around, method="bounded", options={"xatol": 1e-10})
    return float(found.x)


def _points(x: Array, y: Array, *, positive: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < 3:
        raise InputError("x, y", f"shapes {x.shape}, {y.shape}", "one shape (k,) with k >= 3")
    if not (np.isfinite(x) & np.isfinite(y) & (x > 0)).all() or (positive and not (y > 0).all()):
        raise InputError("x, y", "NaN, infinity or a number <= 0", "finite numbers > 0")
    if np.unique(x).size < 2:
        raise InputError("x", "one value", "at least two distinct values")
    return x, y


def _errors(standard_error: Array, k: int) -> np.ndarray:
    error = np.broadcast_to(np.asarray(standard_error, np.float64), (k,))
    if not ((error > 0) & np.isfinite(error)).all():
        raise InputError("standard_error", "a number <= 0, NaN or infinity", "finite numbers > 0")
    return error
