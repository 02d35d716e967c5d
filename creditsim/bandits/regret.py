"""What replications say: means with bands, quantiles, lock-in, least pulls, and the law by which regret grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditsim.bandits.simulate import Run
from creditsim.errors import InputError, choose
from creditsim.stats.intervals import Interval, proportion_interval, t_interval
from creditsim.stats.moments import Moments
from creditsim.stats.rates import GrowthFit, RateFit, compare_growth, fit_rate
from creditsim.stats.sequences import asymptotic_mixture

__all__ = ["QUANTITIES", "Curve", "curve", "growth", "least_pulls", "lock_in", "rate"]

QUANTITIES = ("regret", "waste", "spent")
BANDS = ("simultaneous", "anytime")


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity of a run over its record times: arrays (T,), `quantiles` (Q, T) at `levels` (Q,)."""

    times: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    median: np.ndarray
    levels: tuple[float, ...]
    quantiles: np.ndarray
    alpha: float


def _values(run: Run, quantity: str) -> np.ndarray:
    return getattr(run, choose("quantity", quantity, QUANTITIES))


def curve(
    run: Run,
    quantity: str = "regret",
    *,
    alpha: float = 0.05,
    band: str = "simultaneous",
    levels: tuple[float, ...] = (0.05, 0.25, 0.75, 0.95),
) -> Curve:
    """Mean of "regret", "waste" or "spent" with a band that holds at all record times together, at level alpha.

    `band` "simultaneous": t intervals, alpha shared among the times, for the replications as planned. "anytime":
    normal-mixture confidence sequences with estimated variance, also shared among the times, which may be looked at
    while replications are added. Regret has heavy tails where a rule locks in: then look at the quantiles too.
    """
    values = _values(run, quantity)
    moments = Moments((values.shape[1],)).add(values, 0).summary()
    each = alpha / values.shape[1]
    if choose("band", band, BANDS) == "simultaneous":
        found = t_interval(moments.n, moments.mean, moments.variance(), alpha=each)
    else:
        found = asymptotic_mixture(
            moments.n, moments.mean, moments.variance(), alpha=each, optimal_n=moments.n, tuned_for=each
        )
    return Curve(
        run.times, moments.mean, np.asarray(found.low), np.asarray(found.high), np.median(values, axis=0), levels,
        np.quantile(values, levels, axis=0), alpha,
    )  # fmt: skip


def lock_in(run: Run, *, alpha: float = 0.05) -> Interval:
    """Clopper-Pearson interval for the probability that wrong arms hold most of the later half of the pulls."""
    return proportion_interval(int(run.locked.sum()), run.replications, alpha=alpha)


def least_pulls(run: Run) -> np.ndarray:
    """(N,) observations of the least observed arm over ln I, I the last record time: Omega(ln I) keeps this above 0.

    Error: InputError for a run whose last record time is 1.
    """
    if run.times[-1] < 2:
        raise InputError("times", "1 alone", "a last record time >= 2")
    return run.pulls.min(axis=1) / np.log(run.times[-1])


def rate(run: Run, quantity: str = "regret", *, first: int = 1, alpha: float = 0.05) -> RateFit:
    """Exponent a of mean ~ I^a over the record times >= `first`, with an interval that knows the curve's covariance.

    a near 0 is ln I or less, a near 1 linear; the fit's residuals say whether one exponent describes the curve at all.
    Errors: InputError for fewer than three such times, or a mean that is not positive there.
    """
    at = run.times >= first
    values = _values(run, quantity)[:, at]
    moments = Moments((values.shape[1],), cross=True).add(values, 0).summary()
    return fit_rate(run.times[at], moments.mean, covariance=moments.covariance() / moments.n, alpha=alpha)


def growth(run: Run, quantity: str = "regret", *, first: int = 1) -> list[GrowthFit]:
    """Laws a + b ln I, b I^p and a + b I fitted to the mean over record times >= `first`, best first."""
    at = run.times >= first
    values = _values(run, quantity)[:, at]
    moments = Moments((values.shape[1],)).add(values, 0).summary()
    error = np.sqrt(moments.variance() / moments.n)
    return compare_growth(run.times[at], moments.mean, standard_error=np.maximum(error, 1e-12))
