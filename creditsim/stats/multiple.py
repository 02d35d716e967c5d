"""Several statements at once: Holm, Bonferroni, and the allocation of an error budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.stats.intervals import check_alpha

__all__ = ["HolmResult", "allocate", "bonferroni", "holm"]


@dataclass(frozen=True, eq=False)
class HolmResult:
    """`adjusted` p-values and decisions `reject`, in the order given, at family-wise error level `alpha`."""

    adjusted: np.ndarray
    reject: np.ndarray
    alpha: float


def holm(p_values: Array, *, alpha: float = 0.05) -> HolmResult:
    """Holm's step-down test of m null hypotheses (m,): P(any true one rejected) <= alpha under any dependence.

    With p sorted, adjusted_(k) = max_{j<=k} min(1, (m - j + 1) p_(j)); rejected where adjusted <= alpha. No hypotheses
    give empty arrays. Errors: InputError for p outside [0, 1] or NaN.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1:
        raise InputError("p_values", f"shape {p.shape}", "(m,)")
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError("p_values", "NaN or a number outside", "numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(np.arange(p.size, 0, -1) * p[order], 1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return HolmResult(adjusted, adjusted <= check_alpha(alpha), alpha)


def bonferroni(alpha: float, count: int) -> float:
    """Error level for each of `count` intervals, so that all cover together with probability >= 1 - alpha."""
    if count < 1:
        raise InputError("count", count, "at least 1 statement")
    return check_alpha(alpha) / count


def allocate(alpha: float, weights: Mapping[str, float]) -> dict[str, float]:
    """Share the budget `alpha` among named statements in proportion to their weights.

    Intervals at these levels cover all together with probability >= 1 - alpha, whatever their dependence. Weight 0 is
    for exact statements, which spend nothing. Errors: InputError for negative weights or none positive.
    """
    total = sum(weights.values())
    worst = min(weights.values(), default=0.0)
    if not worst >= 0.0 or not 0.0 < total < np.inf:
        raise InputError("weights", f"smallest {worst}, sum {total}", "numbers >= 0 with a finite positive sum")
    return {name: check_alpha(alpha) * weight / total for name, weight in weights.items()}
