"""What clipped surrogates share: the two clips, ratios of rows and of units of rows, and the checks of their ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.updates.losses.base import Rows

__all__ = ["Terms", "check_clip", "clipped", "row_ratio", "unit_ratio"]


@dataclass(frozen=True)
class Terms:
    """The rows' losses (M,) of a clipped surrogate, and their derivatives by the rows' own log-ratio."""

    term: Array
    slope: Array
    cut: Array
    """(M,) share of the row whose clipped term is strictly beyond the plain one: False | True, or a number between."""
    lower: Array
    """(M,) the same of the dual clip."""

    def blended(self, other: Terms, blend: Array) -> Terms:
        """Mix row by row: blend times this and (1 - blend) times the other."""
        mine, theirs = vars(self), vars(other)
        return Terms(**{name: blend * mine[name] + (1.0 - blend) * theirs[name] for name in mine})

    def metrics(self, rows: Rows) -> dict[str, Any]:
        """What clipped surrogates log, weighted means over rows: `ppo_kl`, `clip_fraction`, `clip_fraction_lower`."""
        return {
            "ppo_kl": rows.mean(rows.old_log_prob - rows.log_prob),
            "clip_fraction": rows.mean(self.cut.astype(float)),
            "clip_fraction_lower": rows.mean(self.lower.astype(float)),
        }


def clipped(
    advantage: Array,
    ratio: Array,
    passes: Array,
    low: Array | float,
    high: Array | float,
    dual_clip: float | None = None,
) -> Terms:
    """L = max(-A r, -A clip(r, 1 - low, 1 + high)), where A < 0 at most -A dual_clip; slope -A r where nothing cuts.

    On a boundary the plain side counts. `passes` (M,) says where the ratio itself passes a gradient.
    """
    xp = namespace(advantage)
    plain, held = -advantage * ratio, -advantage * xp.clip(ratio, 1.0 - low, 1.0 + high)
    term, cut = xp.maximum(plain, held), held > plain
    lower = xp.zeros(term.shape, bool)
    if dual_clip is not None:
        lower = (advantage < 0) & (term > -advantage * dual_clip)
        term = xp.where(lower, -advantage * dual_clip, term)
    return Terms(term, xp.where(cut | lower | ~passes, 0.0, plain), cut, lower)


def row_ratio(rows: Rows, limit: float) -> tuple[Array, Array]:
    """(M,) ratio of each row, its log cut at +-limit, and where it was not cut."""
    xp, log_ratio = namespace(rows.log_prob), rows.log_prob - rows.old_log_prob
    return xp.exp(xp.clip(log_ratio, -limit, limit)), abs(log_ratio) <= limit


def unit_ratio(rows: Rows, units: tuple[Array, int], limit: float) -> tuple[Array, Array]:
    """(M,) geometric mean of the ratios of each row's unit, its log cut from above at limit, and where it was not."""
    xp = namespace(rows.log_prob)
    log_s = rows.mean_over(rows.log_prob - rows.old_log_prob, units)
    return xp.exp(xp.minimum(log_s, limit)), log_s <= limit


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
