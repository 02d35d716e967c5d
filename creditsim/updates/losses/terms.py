"""What clipped surrogates share: the two clips, ratios of rows and of units of rows, and the checks of their ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.updates.losses.base import LossResult, Rows, StepAggregation, Units

__all__ = ["LogRatio", "Terms", "check_clip", "clipped", "clipped_arrays", "row_ratio", "unit_ratio"]


@dataclass(frozen=True, eq=False)
class LogRatio:
    """(M,) logs of ratios, cut at `bottom` and `top` before they are raised; no gradient passes where they are cut."""

    log_prob: Array
    old_log_prob: Array | None
    """What is taken off; None for nothing."""
    bottom: float
    top: float

    @cached_property
    def value(self) -> Array:
        """(M,) the logs, uncut."""
        return self.log_prob if self.old_log_prob is None else self.log_prob - self.old_log_prob


@dataclass(frozen=True, eq=False)
class Terms:
    """The rows' losses (M,) of a clipped surrogate, and their derivatives by the rows' own log-ratio."""

    slope: Array
    """(M,) the derivatives."""
    details: Callable[[], tuple[Array, Array, Array]]
    """Computes (M,) the losses, the share of the row whose clipped term is strictly beyond the plain one (False | True
    or a number between), and the same of the dual clip: a step on the loss asks for none of them."""

    @cached_property
    def detail(self) -> tuple[Array, Array, Array]:
        """Loss, clipped, dual clipped, all (M,)."""
        return self.details()

    def blended(self, other: Terms, blend: Array) -> Terms:
        """Mix row by row: blend times this and (1 - blend) times the other."""

        def mix(mine: Array, theirs: Array) -> Array:
            return blend * mine + (1.0 - blend) * theirs

        def details() -> tuple[Array, Array, Array]:
            loss, cut, lower = map(mix, self.detail, other.detail)
            return loss, cut, lower

        return Terms(mix(self.slope, other.slope), details)

    def result(
        self, rows: Rows, aggregation: StepAggregation, norm: float | None = None, steps: Units | None = None
    ) -> LossResult:
        """Aggregate; metrics are weighted means over rows: `ppo_kl`, `clip_fraction`, `clip_fraction_lower`."""

        def measure() -> dict[str, Any]:
            _, cut, lower = self.detail
            return {
                "ppo_kl": rows.mean(rows.old_log_prob - rows.log_prob),
                "clip_fraction": rows.mean(cut.astype(float)),
                "clip_fraction_lower": rows.mean(lower.astype(float)),
            }

        return rows.result(lambda: self.detail[0], self.slope, aggregation, norm, steps, measure=measure)


def clipped(
    advantage: Array, ratio: LogRatio, low: Array | float, high: Array | float, dual_clip: float | None = None
) -> Terms:
    """L = max(-A r, -A clip(r, 1 - low, 1 + high)), where A < 0 at most -A dual_clip; slope -A r where nothing cuts.

    On a boundary the plain side counts.
    """
    if namespace(advantage) is not np:
        return clipped_arrays(advantage, ratio, low, high, dual_clip)
    from creditsim.updates.losses.row_kernels import clip_slope

    slope = clip_slope(advantage, ratio.log_prob, ratio.old_log_prob, ratio.bottom, ratio.top, low, high, dual_clip)
    return Terms(slope, lambda: clipped_arrays(advantage, ratio, low, high, dual_clip).detail)


def clipped_arrays(
    advantage: Array, ratio: LogRatio, low: Array | float, high: Array | float, dual_clip: float | None
) -> Terms:
    """`clipped` in the array arithmetic of any library."""
    xp, log_ratio = namespace(advantage), ratio.value
    r = xp.exp(xp.clip(log_ratio, ratio.bottom, ratio.top))
    plain, held = -advantage * r, -advantage * xp.clip(r, 1.0 - low, 1.0 + high)
    term, cut = xp.maximum(plain, held), held > plain
    lower = xp.zeros(term.shape, bool)
    if dual_clip is not None:
        lower = (advantage < 0) & (term > -advantage * dual_clip)
        term = xp.where(lower, -advantage * dual_clip, term)
    passes = (log_ratio >= ratio.bottom) & (log_ratio <= ratio.top)
    return Terms(xp.where(cut | lower | ~passes, 0.0, plain), lambda: (term, cut, lower))


def row_ratio(rows: Rows, limit: float) -> LogRatio:
    """Ratio of each row, its log cut at +-limit."""
    return LogRatio(rows.log_prob, rows.old_log_prob, -limit, limit)


def unit_ratio(rows: Rows, units: Units, limit: float) -> LogRatio:
    """Geometric mean of the ratios of each row's unit, its log cut from above at limit."""
    return LogRatio(rows.mean_over(rows.log_prob - rows.old_log_prob, units), None, -np.inf, limit)


def check_clip(low: float, high: float, limit: float, dual_clip: float | None = None) -> None:
    """InputError for a clip that is not above 0 or lets the lower bound go below 0, and for limits out of range."""
    if not 0.0 < low <= 1.0:
        raise InputError("clip_low", low, "0 < clip_low <= 1")
    if not high > 0.0:
        raise InputError("clip_high", high, "a number > 0")
    if dual_clip is not None and not dual_clip > 1.0:
        raise InputError("dual_clip", dual_clip, "a number > 1, or None")
    if not 0.0 < limit <= 700.0:
        raise InputError("log_ratio_limit", limit, "0 < log_ratio_limit <= 700")
