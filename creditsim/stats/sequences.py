"""Confidence sequences: intervals that may be looked at after every replicate, and stopped on.

P(truth in the interval at every n) >= 1 - alpha, so a study may stop when the width suits it. Two are functions of
running moments (normal mixture, known or estimated spread), two of the stream of bounded values itself (empirical
Bernstein, betting). Arrays run over looks; several coordinates at once share alpha by `multiple.bonferroni`.

Each sequence has a free choice (a mixture width, the size of bets) that is best for one error level. It is made for
`tuned_for`, apart from `alpha`, so that sequences at different alpha are nested and can be inverted into a p-value that
holds at every n; away from `tuned_for` they stay valid and lose a little width.
"""

from __future__ import annotations

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.stats.intervals import Interval, check_alpha

__all__ = [
    "asymptotic_mixture",
    "betting",
    "empirical_bernstein",
    "hedged_capital",
    "log_spaced_looks",
    "normal_mixture",
    "running_intersection",
]

_CAP = 0.5
"""Largest predictable bet; 1/2 as the authors advise, any value below 1 is valid."""


def log_spaced_looks(first: int, last: int, count: int = 100) -> np.ndarray:
    """Distinct integers from `first` to `last`, about evenly spaced in the logarithm."""
    if not 1 <= first <= last or count < 1:
        raise InputError("looks", f"{count} from {first} to {last}", "1 <= first <= last and at least one look")
    return np.unique(np.geomspace(first, last, count).round().astype(np.int64))


def running_intersection(sequence: Interval) -> Interval:
    """Intersect each look with all before it; valid since a confidence sequence covers at all looks at once.

    low > high at some look says that the truth was missed before (an event of probability at most alpha).
    """
    low, high = np.maximum.accumulate(sequence.low, axis=-1), np.minimum.accumulate(sequence.high, axis=-1)
    return Interval(sequence.estimate, low, high, sequence.alpha, sequence.n, sequence.method, sequence.assumption)


def _mixture_radius(n: Array, sigma: Array, alpha: float, optimal_n: float, tuned_for: float) -> Array:
    from scipy.special import lambertw

    if not optimal_n > 0:
        raise InputError("optimal_n", optimal_n, "a number > 0")
    rho = optimal_n / (-float(lambertw(-(check_alpha(tuned_for) ** 2) / np.e, -1).real) - 1.0)
    n = np.asarray(n, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = sigma * np.sqrt((n + rho) * (np.log1p(n / rho) - 2.0 * np.log(check_alpha(alpha)))) / n
    return np.where(n > 0, radius, np.inf)


def normal_mixture(
    n: Array, mean: Array, sigma: Array, *, alpha: float = 0.05, optimal_n: float, tuned_for: float = 0.05
) -> Interval:
    """Two-sided normal-mixture sequence for a mean of sigma-sub-Gaussian replicates (Robbins; Howard et al. 2021).

    mean +- sigma sqrt((n + rho) ln((n + rho) / (rho alpha^2))) / n. For S = sum (x - mu) the mixture
    sqrt(rho / (n + rho)) exp(S^2 / (2 sigma^2 (n + rho))) is a non-negative supermartingale from 1, so it reaches
    1/alpha with probability at most alpha. rho makes the radius smallest at n = `optimal_n` for alpha = `tuned_for`:
    with x = 1 + optimal_n / rho, x - ln x = 1 - 2 ln alpha, and there the radius is sqrt(x) sigma / sqrt(n). Values in
    [a, b] have sigma <= (b - a) / 2. n = 0 gives the whole line. Evidence: notes (arXiv:1810.08240), derived here.
    """
    radius = _mixture_radius(n, np.asarray(sigma, np.float64), alpha, optimal_n, tuned_for)
    return Interval(
        mean, mean - radius, mean + radius, alpha, n, "normal mixture", "independent; sub-Gaussian with known sigma"
    )


def asymptotic_mixture(
    n: Array, mean: Array, variance: Array, *, alpha: float = 0.05, optimal_n: float, tuned_for: float = 0.05
) -> Interval:
    """The normal mixture with the running s^2 (ddof = 1) for sigma^2: valid only in the limit of late first looks.

    Needs two finite moments and a first look at which s^2 is already good; with rare events it is not (a look that has
    seen none has s = 0 and zero width). n < 2 gives the whole line. Evidence: notes (arXiv:2103.06476).
    """
    n = np.asarray(n)
    spread = np.sqrt(np.where(n < 2, 0.0, np.asarray(variance, np.float64)))
    radius = np.where(n < 2, np.inf, _mixture_radius(n, spread, alpha, optimal_n, tuned_for))
    assumption = "independent; finite variance; asymptotic in the first look"
    return Interval(mean, mean - radius, mean + radius, alpha, n, "normal mixture, estimated variance", assumption)


def _unit(stream: np.ndarray, low: float, high: float) -> np.ndarray:
    x = np.asarray(stream, np.float64)
    if not low < high:
        raise InputError("low, high", f"{low}, {high}", "low < high")
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError("stream", f"shape {x.shape}", "(..., n) with n >= 1")
    if not ((x >= low) & (x <= high)).all():
        raise InputError("stream", "a value outside the bounds or NaN", f"numbers in [{low:g}, {high:g}]")
    return (x - low) / (high - low)


def _bets(x: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictable bet and running mean before each replicate: both know x_1..x_{t-1} only.

    m_t = (1/2 + sum x) / (t+1), v_t = (1/4 + sum (x_i - m_i)^2) / (t+1),
    bet_t = sqrt(2 ln(2/alpha) / (v_{t-1} t ln(1+t))).
    """
    t = np.arange(1, x.shape[-1] + 1)
    mean = (0.5 + np.cumsum(x, axis=-1)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2, axis=-1)) / (t + 1)
    first = np.ones((*x.shape[:-1], 1))
    mean_before = np.concatenate([0.5 * first, mean[..., :-1]], axis=-1)
    variance_before = np.concatenate([0.25 * first, variance[..., :-1]], axis=-1)
    return np.sqrt(2.0 * np.log(2.0 / alpha) / (variance_before * t * np.log1p(t))), mean_before


def _at_looks(looks: np.ndarray | None, n: int) -> np.ndarray:
    at = np.arange(1, n + 1) if looks is None else np.asarray(looks, np.int64)
    if at.size == 0 or at.min() < 1 or at.max() > n or (np.diff(at) <= 0).any():
        raise InputError("looks", "an order or range that does not fit", f"increasing numbers in 1..{n}")
    return at


def empirical_bernstein(
    stream: np.ndarray,
    *,
    low: float = 0.0,
    high: float = 1.0,
    alpha: float = 0.05,
    looks: np.ndarray | None = None,
    tuned_for: float = 0.05,
) -> Interval:
    """Predictable plug-in empirical-Bernstein sequence for the mean of values in [low, high]; stream (..., n).

    On the unit scale: (sum l x) / (sum l) +- (ln(2/alpha) + sum (x - m)^2 (-ln(1-l) - l)) / (sum l), l = min(bet, 1/2),
    m the running mean before x. Each side is a supermartingale because exp(l y - y^2 (-ln(1-l) - l)) <= 1 + l y for
    y >= -1. Any law on the interval, means may drift as long as the conditional mean is constant. Intersected over all
    replicates so far. `looks` (default: every replicate) picks the last axis of the result.
    Evidence: notes (arXiv:2010.09686), derived here.
    """
    x = _unit(stream, low, high)
    at = _at_looks(looks, x.shape[-1]) - 1
    bet, before = _bets(x, check_alpha(tuned_for))
    bet = np.minimum(bet, _CAP)
    total = np.cumsum(bet, axis=-1)
    centre = np.cumsum(bet * x, axis=-1) / total
    price = np.cumsum((x - before) ** 2 * (-np.log1p(-bet) - bet), axis=-1)
    radius = (np.log(2.0 / check_alpha(alpha)) + price) / total
    lower = np.maximum.accumulate(np.maximum(centre - radius, 0.0), axis=-1)[..., at]
    upper = np.minimum.accumulate(np.minimum(centre + radius, 1.0), axis=-1)[..., at]
    mean = (np.cumsum(x, axis=-1) / np.arange(1, x.shape[-1] + 1))[..., at]
    scale, assumption = high - low, f"in [{low:g}, {high:g}], constant conditional mean"
    return Interval(
        low + scale * mean, low + scale * lower, low + scale * upper, alpha, at + 1, "empirical Bernstein", assumption
    )


def hedged_capital(
    stream: np.ndarray, mean: float, *, low: float = 0.0, high: float = 1.0, tuned_for: float = 0.05
) -> np.ndarray:
    """Log-capital (..., n) of a gambler who bets half on each side against "the mean is `mean`".

    ln max(K+, K-) / 2, K+- = prod (1 +- l (x - m)), l = bet capped at 1/(2m) above and 1/(2(1-m)) below, unit scale.
    At the true mean it reaches ln(1/alpha) with probability at most alpha, for every alpha at once (Ville).
    Evidence: notes (arXiv:2010.09686), derived here.
    """
    x = _unit(stream, low, high)
    m = (mean - low) / (high - low)
    bet, _ = _bets(x, check_alpha(tuned_for))
    up, down = np.cumsum(_log_growth(x, bet, m), axis=-1), np.cumsum(_log_growth(1.0 - x, bet, 1.0 - m), axis=-1)
    return np.maximum(up, down) - np.log(2.0)


def _log_growth(x: np.ndarray, bet: np.ndarray, m: float) -> np.ndarray:
    """ln(1 + l (x - m)) with l = min(bet, 1/(2m)): the bet that the mean is above m; falls with m."""
    cap = _CAP / m if m > 0.0 else np.inf
    return np.log1p(np.minimum(bet, cap) * (x - m))


def betting(
    stream: np.ndarray,
    *,
    low: float = 0.0,
    high: float = 1.0,
    alpha: float = 0.05,
    looks: np.ndarray | None = None,
    tuned_for: float = 0.05,
) -> Interval:
    """Hedged-capital betting sequence for the mean of values in [low, high]; stream (n,).

    All m at which `hedged_capital` was below ln(1/alpha) at every look. K+ falls and K- rises with m, so each bound is
    one root, found by bisection and rounded outwards. Short where n is small or the mean is near a bound. `looks`
    defaults to 100 numbers evenly spaced in the logarithm. Evidence: notes (arXiv:2010.09686), derived here.
    """
    x = _unit(stream, low, high)
    if x.ndim != 1:
        raise InputError("stream", f"shape {x.shape}", "(n,), one stream")
    at = log_spaced_looks(1, x.shape[0]) if looks is None else _at_looks(looks, x.shape[0])
    bet, _ = _bets(x, check_alpha(tuned_for))
    mean = (np.cumsum(x) / np.arange(1, x.shape[0] + 1))[at - 1]
    lower = _lower_bounds(x, bet, at, alpha)
    upper = 1.0 - _lower_bounds(1.0 - x, bet, at, alpha)
    scale, assumption = high - low, f"in [{low:g}, {high:g}], constant conditional mean"
    return Interval(low + scale * mean, low + scale * lower, low + scale * upper, alpha, at, "betting", assumption)


def _lower_bounds(x: np.ndarray, bet: np.ndarray, looks: np.ndarray, alpha: float) -> np.ndarray:
    """Running largest m, per look, at which the bet on a larger mean has won 2/alpha."""
    goal, found, bounds = np.log(2.0 / check_alpha(alpha)), 0.0, np.zeros(looks.shape[0])

    def wins(m: float, n: int) -> bool:
        return float(_log_growth(x[:n], bet[:n], m).sum()) >= goal

    for i, n in enumerate(looks):
        if found < 1.0 and wins(found, n):
            lost = 1.0
            while lost - found > 1e-9:
                middle = (found + lost) / 2.0
                found, lost = (middle, lost) if wins(middle, n) else (found, middle)
        bounds[i] = found
    return bounds
