"""Weighted means and whitening: statistics in which a row counts as many times as it has tokens."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.segments import segment_mean, segment_sum

__all__ = ["weighted_centre", "whiten"]


def weighted_centre(x: Array, ids: Array, n: int, weight: Array) -> Array:
    """Take the weighted mean of its segment off each row: y_i = x_i - sum_j w_j x_j / sum_j w_j, (M,) -> (M,).

    Weights are >= 0; a segment whose weights sum to 0 is centred by its plain mean. Rows with a negative id get 0.
    Equal members give exactly 0 at any magnitude, because the plain mean is taken off first.
    """
    xp = namespace(x)
    inside = ids >= 0
    shifted = xp.where(inside, x - segment_mean(x, ids, n)[ids], 0.0)
    total = segment_sum(weight, ids, n)
    offset = segment_sum(weight * shifted, ids, n) / xp.where(total > 0, total, 1.0)
    return xp.where(inside, shifted - offset[ids], 0.0)


def whiten(
    x: Array, ids: Array, n: int, weight: Array, *, ddof: int = 1, eps: float = 0.0, eps_inside: float = 1e-8
) -> Array:
    """Centre and scale by token-weighted statistics of the segment (here: the batch), (M,) -> (M,).

    y_i = (x_i - m) / (sqrt(v + eps_inside) + eps), m = sum w x / W, v = sum w (x - m)^2 / (W - ddof), W = sum w.
    Rows with a negative id enter nothing and get 0. Degenerate segments: equal members, or W <= ddof, give 0.
    """
    xp = namespace(x)
    y = weighted_centre(x, ids, n, weight)
    total = segment_sum(weight, ids, n) - ddof
    variance = segment_sum(weight * y * y, ids, n) / xp.where(total > 0, total, 1.0)
    scale = xp.sqrt(variance + eps_inside) + eps
    good = (total > 0) & (variance > 0)
    return xp.where((ids >= 0) & good[ids], y / xp.where(good, scale, 1.0)[ids], 0.0)
