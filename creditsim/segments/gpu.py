"""Device bodies of the segment primitives: the semantics of the CPU bodies, from a stable sort instead of tables.

Rows are sorted by segment and reduced in fixed chunks, in order, so results are the same bits on every run; against the
CPU they agree to rounding, and exactly where the CPU promises exact zeros.
"""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError
from creditsim.ragged import rows_of
from creditsim.segments import gpu_kernels as kernels
from creditsim.segments.gpu_scan import backup, checked_offsets, repeat_to_rows, reverse_scan, scan, shift
from creditsim.segments.gpu_sorted import floats, integers, reduce_sorted, sort_rows

__all__ = [
    "backup",
    "factorize",
    "repeat_to_rows",
    "reverse_scan",
    "scan",
    "segment_count",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_normalise",
    "segment_rank",
    "segment_std",
    "segment_sum",
    "shift",
    "sum_rows",
]


def _reduced(x: Array, ids: Array, n: int, where: Array | None, how: int) -> Array:
    x = floats(x)
    rows, _ = sort_rows(x, ids, n, where)
    return reduce_sorted(x[rows.order], rows.starts, how)


def segment_sum(x: Array, ids: Array, n: int, where: Array | None = None) -> Array:
    """Sum of each segment (n,)."""
    return _reduced(x, ids, n, where, kernels.SUM)


def sum_rows(x: Array, offsets: Array) -> Array:
    """Sum (N,) of each trajectory's rows."""
    offsets = checked_offsets(namespace(x), offsets, x.shape[0])
    return segment_sum(x, rows_of(offsets, x.shape[0]), offsets.shape[0] - 1)


def segment_min(x: Array, ids: Array, n: int, where: Array | None = None) -> Array:
    """Smallest member of each segment (n,), +inf where there is none."""
    return _reduced(x, ids, n, where, kernels.MIN)


def segment_max(x: Array, ids: Array, n: int, where: Array | None = None) -> Array:
    """Largest member of each segment (n,), -inf where there is none."""
    return _reduced(x, ids, n, where, kernels.MAX)


def segment_count(x: Array, ids: Array, n: int, where: Array | None = None) -> Array:
    """Members of each segment (n,) int64."""
    return sort_rows(x, ids, n, where)[0].count.astype("int64")


def _moments(x: Array, ids: Array, n: int, where: Array | None) -> tuple[Array, Array, Array, Array, Array]:
    """Return (n,) count, first member, mean difference to it and squared deviations, and the checked ids (M,)."""
    xp = namespace(x)
    rows, ids = sort_rows(x, ids, n, where)
    members = x[rows.order]
    first = xp.zeros(n)
    filled = rows.count > 0
    first[filled] = members[rows.starts[:-1][filled]]
    difference = members - first[rows.segment]
    mean = reduce_sorted(difference, rows.starts, kernels.SUM) / xp.maximum(rows.count, 1)
    deviation = difference - mean[rows.segment]
    return rows.count, first, mean, reduce_sorted(deviation * deviation, rows.starts, kernels.SUM), ids


def segment_mean(x: Array, ids: Array, n: int, where: Array | None = None) -> Array:
    """Mean (n,) of each segment, first member plus mean difference."""
    _, first, mean, _, _ = _moments(floats(x), ids, n, where)
    return first + mean


def segment_std(x: Array, ids: Array, n: int, ddof: int = 1, where: Array | None = None) -> Array:
    """Standard deviation (n,); 0 where all members are equal or count <= ddof."""
    xp = namespace(x)
    count, _, _, square, _ = _moments(floats(x), ids, n, where)
    free = count - ddof
    return xp.sqrt(xp.where(free > 0, square / xp.maximum(free, 1), 0.0))


def segment_normalise(
    x: Array,
    ids: Array,
    n: int,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_inside: float = 0.0,
    variance_floor: float = 0.0,
    singleton_raw: bool = False,
    where: Array | None = None,
) -> Array:
    """Centre (M,) by segment means and divide by standard deviations; see `creditsim.segments.segment_normalise`."""
    xp = namespace(x)
    x = floats(x)
    count, first, mean, square, ids = _moments(x, ids, n, where)
    unfit = (count > 1) & ~(xp.isfinite(mean) & (xp.isfinite(square) if scale else True))
    if n and bool(unfit.any()):
        segment = int(unfit.argmax())
        raise InputError(
            "x", f"NaN, infinity or a spread above 1e154 in segment {segment}", "finite numbers closer together"
        )
    factor = (count > 0).astype("float64")
    if scale:
        free = count - ddof
        variance = xp.where(free > 0, square / xp.maximum(free, 1), 0.0)
        below = xp.sqrt(xp.maximum(variance, variance_floor) + eps_inside) + eps
        below = xp.where(count == 1, 1.0 + eps, below)
        factor = xp.where((count > 0) & (below > 1e-300), 1.0 / xp.maximum(below, 1e-300), 0.0)
    if singleton_raw:
        first = xp.where(count == 1, 0.0, first)
    if n == 0:
        return xp.zeros(x.shape[0])
    at = xp.maximum(ids, 0)
    factor = xp.where(ids >= 0, factor[at], 0.0)
    return xp.where(factor > 0, ((x - first[at]) - mean[at]) * factor, 0.0)


def segment_rank(x: Array, ids: Array, n: int) -> Array:
    """Rank (M,) of each row in its segment: sorted by value, then stably by segment."""
    xp = namespace(x)
    x = floats(x)
    by_value = xp.argsort(x, kind="stable")
    rows, ids = sort_rows(x, integers(ids, "ids")[by_value], n)
    rank = xp.full(x.shape[0], -1, "int64")
    rank[by_value[rows.order]] = xp.arange(rows.order.shape[0]) - rows.starts[:-1][rows.segment]
    return rank


def _interned(key: Array) -> tuple[Array, int]:
    xp = namespace(key)
    order = xp.argsort(key, kind="stable")
    ordered = key[order]
    new = xp.ones(key.shape[0], bool)
    new[1:] = ordered[1:] != ordered[:-1]
    # A stable sort puts a key's first row first, so ordering keys by that row orders them by first appearance.
    by_first = xp.argsort(order[new], kind="stable")
    place = xp.empty(by_first.shape[0], "int64")
    place[by_first] = xp.arange(by_first.shape[0])
    ids = xp.empty(key.shape[0], "int64")
    ids[order] = place[xp.cumsum(new, dtype="int64") - 1]
    return ids, int(by_first.shape[0])


def factorize(*keys: Array) -> tuple[Array, int]:
    """Give rows (M,) with equal keys the same id, and return the ids and their number."""
    if not keys:
        raise InputError("keys", "none", "at least one array of integers")
    arrays = [integers(key, f"key {i}") for i, key in enumerate(keys)]
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise InputError(f"key {i}", f"{array.shape[0]} entries", f"{arrays[0].shape[0]}, as many as key 0")
    if arrays[0].shape[0] == 0:
        return arrays[0], 0
    ids, n = _interned(arrays[0])
    for array in arrays[1:]:
        other, width = _interned(array)
        ids, n = _interned(ids * width + other)
    return ids, n
