"""A small inline picture of one interval beside what the statement allows."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

__all__ = ["interval_plot"]

_WIDTH = 160.0


def _get(evidence: Any, name: str) -> Any:
    return evidence[name] if isinstance(evidence, dict) else getattr(evidence, name)


def interval_plot(evidence: Any) -> Markup:
    """SVG of the interval (bar), the statistic (dot), the prediction (dashed) and the region allowed (shaded).

    An infinite end is drawn to the border. Nothing is drawn where no finite number is there.
    """
    kind = evidence["kind"] if isinstance(evidence, dict) else evidence.relation
    aim, margin, point = (_get(evidence, name) for name in ("prediction", "margin", "statistic"))
    low, high = _get(evidence, "interval")
    if aim is None or point is None:
        return Markup()
    margin = margin or 0.0
    allowed = (-math.inf if kind == "<=" else aim - margin, math.inf if kind == ">=" else aim + margin)
    seen = [v for v in (low, high, point, aim, *allowed) if v is not None and math.isfinite(v)]
    left, right = min(seen), max(seen)
    pad = 0.12 * (right - left) or max(abs(aim), 1.0) * 1e-3
    left, right = left - pad, right + pad

    def x(value: float | None, border: float) -> float:
        inside = border if value is None else min(max(value, left), right)
        return round(4 + (_WIDTH - 8) * (inside - left) / (right - left), 2)

    ends = (x(low, left), x(high, right))
    band = (x(allowed[0], left), x(allowed[1], right))
    shaded = (
        Markup('<rect class="allowed" x="{}" y="4" width="{}" height="16"/>').format(
            band[0], round(band[1] - band[0], 2)
        )
        if kind in ("equality", "<=", ">=", "monotone")
        else Markup()
    )
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} 24" role="img" aria-label="interval (bar) beside what is stated (dashed)">'
        '{shaded}<line class="aim" x1="{aim}" x2="{aim}" y1="2" y2="22"/>'
        '<line class="range" x1="{low}" x2="{high}" y1="12" y2="12"/>'
        '<circle class="point" cx="{point}" cy="12" r="3.4"/>'
        "</svg>"
    ).format(w=_WIDTH, shaded=shaded, aim=x(aim, aim), low=ends[0], high=ends[1], point=x(point, point))
