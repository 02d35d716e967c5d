"""From a statistic and a prediction to a verdict whose error probability is known.

A statement is a set of values: within a margin of the prediction, at most a bound, rising. With I an interval that
covers the truth with probability >= 1 - alpha:

- supported: I lies inside the set (an equivalence test, never a failure to reject);
- refuted: I lies outside it;
- inconclusive: I meets both.

Either wrong verdict needs an I that misses the truth, so P(wrong verdict) <= alpha, for any kind of interval: fixed-n,
anytime-valid, simultaneous. Exact statistics (enumeration, algebra) have no interval and no error probability. A
statement that holds in one regime and fails in another is conditional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError, choose
from creditsim.stats.intervals import Interval, check_alpha

__all__ = [
    "VERDICTS",
    "Evidence",
    "Verdict",
    "equality",
    "exact_equality",
    "exact_inequality",
    "inequality",
    "monotone",
]

Verdict = Literal["supported", "refuted", "conditional", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("supported", "refuted", "conditional", "inconclusive")

IntervalAt = Callable[[float], Interval]
"""The interval as a function of alpha: shorter for larger alpha."""

_FLOOR = 1e-12
"""Smallest p-value reported by inversion; smaller ones are reported as this, which errs on the safe side."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a check found; of several numbers, `statistic`, `prediction` and `interval` are those of the critical one.

    ============= ==========================================================================================
    `kind`        equality, <=, >=, monotone, all_of, conditional
    `statistic`   the measured or computed number
    `prediction`  what the statement says it is, or the bound
    `interval`    (low, high) at `alpha`; both equal the statistic where it is exact
    `margin`      half-width of the equivalence region (statistical), tolerance for rounding (exact)
    `alpha`       probability of a wrong verdict; 0 for exact statistics
    `n`           replicates behind it; 0 for exact statistics
    `verdict`     supported, refuted, conditional or inconclusive
    `p_supported` p-value against "the statement is false": supported where <= its threshold
    `p_refuted`   p-value against "the statement is true": refuted where <= its threshold
    `method`      how the interval was made, and under which assumption
    `detail`      numbers for the figure
    `note`        one sentence for the reader
    `parts`       of a conditional statement: (inside, outside) the regime
    ============= ==========================================================================================
    """

    kind: str
    statistic: float
    prediction: float
    interval: tuple[float, float]
    margin: float
    alpha: float
    n: int
    verdict: Verdict
    p_supported: float
    p_refuted: float
    method: str = "exact"
    detail: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    parts: tuple[Evidence, ...] = ()

    @property
    def p_value(self) -> float:
        """The p-value behind the verdict; the smaller of the two where there is none."""
        by_verdict = {"supported": self.p_supported, "refuted": self.p_refuted}
        return by_verdict.get(self.verdict, min(self.p_supported, self.p_refuted))


def _finite(name: str, values: Array) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError(name, "NaN, infinity or nothing", "finite numbers")
    return values


def _region(kind: str, prediction: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the set of values that the statement allows."""
    low = np.full_like(prediction, -np.inf) if kind == "<=" else prediction - margin
    high = np.full_like(prediction, np.inf) if kind == ">=" else prediction + margin
    return low, high


def _exact(kind: str, statistic: Array, prediction: Array, tolerance: Array, detail: Any, note: str) -> Evidence:
    s, p, m = np.broadcast_arrays(
        *map(_finite, ("statistic", "prediction", "tolerance"), (statistic, prediction, tolerance))
    )
    if (m < 0).any():
        raise InputError("tolerance", float(m.min()), "numbers >= 0")
    low, high = _region(kind, p, m)
    slack = np.minimum(s - low, high - s)
    i = int(slack.argmin())
    worst, aim, margin = (float(v.flat[i]) for v in (s, p, m))
    # Compared as the distance itself: s - low with low = p - m rounds twice.
    distance = {"equality": abs(worst - aim), "<=": worst - aim, ">=": aim - worst}[kind]
    holds = distance <= margin
    return Evidence(
        kind, worst, aim, (worst, worst), margin, 0.0, 0, "supported" if holds else "refuted",
        0.0 if holds else 1.0, 1.0 if holds else 0.0, detail=detail or {}, note=note,
    )  # fmt: skip


def exact_equality(
    statistic: Array, prediction: Array, *, tolerance: Array, detail: Mapping[str, Any] | None = None, note: str = ""
) -> Evidence:
    """|statistic - prediction| <= tolerance for every entry, for numbers without sampling error; arrays broadcast."""
    return _exact("equality", statistic, prediction, tolerance, detail, note)


def exact_inequality(
    statistic: Array,
    relation: str,
    bound: Array,
    *,
    tolerance: Array = 0.0,
    detail: Mapping[str, Any] | None = None,
    note: str = "",
) -> Evidence:
    """Statistic <= bound + tolerance, or >= bound - tolerance, for every entry; `relation` is "<=" or ">="."""
    return _exact(choose("relation", relation, ("<=", ">=")), statistic, bound, tolerance, detail, note)


def _inside(interval: Interval, low: np.ndarray, high: np.ndarray) -> bool:
    return bool(((low <= interval.low) & (interval.high <= high) & (interval.low <= interval.high)).all())


def _outside(interval: Interval, low: np.ndarray, high: np.ndarray) -> bool:
    return bool((((interval.low > high) | (interval.high < low)) & (interval.low <= interval.high)).any())


def _critical(interval: Interval, low: np.ndarray, high: np.ndarray, refutes: bool) -> int:
    """The entry farthest outside where one refutes; else the one nearest to leaving, or farthest across the border."""
    with np.errstate(invalid="ignore"):  # infinite ends on both sides leave no border to cross
        if refutes:
            return int(np.nan_to_num(np.maximum(interval.low - high, low - interval.high), nan=-np.inf).argmax())
        slack = [np.nan_to_num(end, nan=np.inf) for end in (interval.low - low, high - interval.high)]
    return int(np.minimum(*slack).argmin())


def _smallest(holds: Callable[[float], bool]) -> float:
    """Smallest alpha at which `holds`, which stays true for larger ones: bisection in ln alpha, rounded upwards."""
    if holds(_FLOOR):
        return _FLOOR
    no, yes = np.log(_FLOOR), np.log1p(-1e-9)
    if not holds(float(np.exp(yes))):
        return 1.0
    while yes - no > 1e-4:
        middle = (no + yes) / 2.0
        no, yes = (no, middle) if holds(float(np.exp(middle))) else (middle, yes)
    return float(np.exp(yes))


def _statistical(
    kind: str,
    interval: Interval | IntervalAt,
    prediction: Array,
    margin: Array,
    alpha: float | None,
    detail: Mapping[str, Any] | None,
    note: str,
) -> Evidence:
    if isinstance(interval, Interval):
        if alpha is not None and alpha != interval.alpha:
            raise InputError("alpha", alpha, f"{interval.alpha}, the interval's own")
        if np.size(interval.low) > 1:
            raise InputError(
                "interval", f"{np.size(interval.low)} entries", "a function of alpha, to share it among them"
            )
        shown, at, level = interval, None, interval.alpha
    else:
        level = check_alpha(0.05 if alpha is None else alpha)
        shown, at = interval(level), interval
    p = np.broadcast_to(_finite("prediction", prediction), np.shape(shown.low))
    m = np.broadcast_to(_finite("margin", margin), np.shape(shown.low))
    if (m < 0).any() or (kind == "equality" and (m == 0).any()):
        raise InputError("margin", float(m.min()), "> 0: no finite sample supports equality to the last digit")
    low, high = _region(kind, p, m)
    count = int(p.size)
    # All entries must hold: each is tested at the full level to support, and at level/count to refute.
    supports, refutes = _inside(shown, low, high), _outside(at(level / count) if at else shown, low, high)
    verdict: Verdict = "supported" if supports else "refuted" if refutes else "inconclusive"
    if at is None:
        p_supported, p_refuted = (level if supports else 1.0), (level if refutes else 1.0)
    else:
        p_supported = _smallest(lambda a: _inside(at(a), low, high))
        p_refuted = min(1.0, count * _smallest(lambda a: _outside(at(a), low, high)))
    i = _critical(shown, low, high, refutes)
    estimate, left, right, aim, width = (
        float(np.broadcast_to(v, p.shape).flat[i]) for v in (shown.estimate, shown.low, shown.high, p, m)
    )
    return Evidence(
        kind, estimate, aim, (left, right), width, level, int(np.min(shown.n)), verdict,
        p_supported, p_refuted, f"{shown.method}; {shown.assumption}", detail or {}, note,
    )  # fmt: skip


def equality(
    interval: Interval | IntervalAt,
    prediction: Array,
    *,
    margin: Array,
    alpha: float | None = None,
    detail: Mapping[str, Any] | None = None,
    note: str = "",
) -> Evidence:
    """|truth - prediction| <= margin, for every entry of the interval.

    `interval`: one Interval, or a function of alpha that gives it, from which p-values are found by inversion (an
    Interval alone allows only the p-values alpha and 1). `margin` > 0 is the difference that does not matter; fix it
    before the data are drawn. `alpha` defaults to 0.05, or to the interval's own.
    """
    return _statistical("equality", interval, prediction, margin, alpha, detail, note)


def inequality(
    interval: Interval | IntervalAt,
    relation: str,
    bound: Array,
    *,
    margin: Array = 0.0,
    alpha: float | None = None,
    detail: Mapping[str, Any] | None = None,
    note: str = "",
) -> Evidence:
    """Truth <= bound + margin, or >= bound - margin, for every entry; `relation` is "<=" or ">=".

    The rest as in `equality`; the margin may be 0 here.
    """
    return _statistical(choose("relation", relation, ("<=", ">=")), interval, bound, margin, alpha, detail, note)


def monotone(
    interval: IntervalAt,
    direction: str,
    *,
    margin: float = 0.0,
    alpha: float = 0.05,
    detail: Mapping[str, Any] | None = None,
    note: str = "",
) -> Evidence:
    """The k true values in a row are `rising` or `falling`: each step goes the right way, up to `margin` the wrong way.

    `interval(alpha)` gives arrays (k,), k >= 2. A step's interval joins two at alpha/2 each, whatever their dependence;
    for paired samples give intervals of the differences to `inequality` instead.
    """
    sign = {"rising": 1.0, "falling": -1.0}[choose("direction", direction, ("rising", "falling"))]

    def steps(level: float) -> Interval:
        ends = interval(level / 2.0)
        if np.ndim(ends.low) != 1 or np.size(ends.low) < 2:
            raise InputError("interval", f"shape {np.shape(ends.low)}", "(k,) with k >= 2")
        low, high = (ends.low, ends.high) if sign > 0 else (-ends.high, -ends.low)
        return Interval(
            sign * np.diff(ends.estimate), low[1:] - high[:-1], high[1:] - low[:-1], level,
            ends.n, f"differences of {ends.method}", ends.assumption,
        )  # fmt: skip

    found = _statistical(">=", steps, 0.0, margin, alpha, detail, note)
    return replace(found, kind="monotone")
