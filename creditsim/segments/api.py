"""The public signatures of the segment primitives, and the choice of the body that runs them."""

from __future__ import annotations

import operator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from creditsim.arrays import Array, is_torch, namespace, native, restorer
from creditsim.errors import InputError, choose

if TYPE_CHECKING:
    from creditsim.rollouts import Rollouts

Singleton = Literal["zero", "raw"]
Backup = Literal["mean", "sum", "max", "min"]


def _run(name: str, *arrays: Any, **options: Any) -> Any:
    """Call the body's function `name` on native arrays and give the result back in the caller's library."""
    if all(type(a) is np.ndarray for a in arrays):
        return getattr(_cpu(), name)(*arrays, **options)
    back = restorer(next((a for a in arrays if is_torch(a)), None))
    arrays = tuple(native(a) for a in arrays)
    options = {key: native(value) for key, value in options.items()}
    body = _cpu() if namespace(*arrays) is np else _gpu()
    result = getattr(body, name)(*arrays, **options)
    return tuple(back(r) if hasattr(r, "shape") else r for r in result) if isinstance(result, tuple) else back(result)


# Bodies are imported when first used: listing estimators must not wait for Numba.
@cache
def _cpu() -> ModuleType:
    from creditsim.segments import cpu

    return cpu


@cache
def _gpu() -> ModuleType:
    from creditsim.segments import gpu

    return gpu


def _size(n: Any) -> int:
    size = operator.index(n)
    if size < 0:
        raise InputError("n", size, "a number of segments >= 0")
    return size


def segment_sum(x: Array, ids: Array, n: int, *, where: Array | None = None) -> Array:
    """Sum of each segment: s_j = sum over i with ids_i = j of x_i. Shapes (M,), (M,) -> (n,); empty segments get 0."""
    return _run("segment_sum", x, ids, n=_size(n), where=where)


def segment_count(x: Array, ids: Array, n: int, *, where: Array | None = None) -> Array:
    """Number of members of each segment, int64 (n,); `x` only fixes the signature and the array library."""
    return _run("segment_count", x, ids, n=_size(n), where=where)


def segment_mean(x: Array, ids: Array, n: int, *, where: Array | None = None) -> Array:
    """Mean (n,) of each segment, taken about its first member, so exact for equal members; empty ones get 0."""
    return _run("segment_mean", x, ids, n=_size(n), where=where)


def segment_std(x: Array, ids: Array, n: int, *, ddof: int = 1, where: Array | None = None) -> Array:
    """Standard deviation (n,) with divisor count - ddof; 0 where all members are equal or count <= ddof."""
    return _run("segment_std", x, ids, n=_size(n), ddof=ddof, where=where)


def segment_min(x: Array, ids: Array, n: int, *, where: Array | None = None) -> Array:
    """Smallest member (n,) of each segment; +inf where there is none, NaN where one is NaN."""
    return _run("segment_min", x, ids, n=_size(n), where=where)


def segment_max(x: Array, ids: Array, n: int, *, where: Array | None = None) -> Array:
    """Largest member (n,) of each segment; -inf where there is none, NaN where one is NaN."""
    return _run("segment_max", x, ids, n=_size(n), where=where)


def segment_rank(x: Array, ids: Array, n: int) -> Array:
    """Rank (M,) of each row inside its segment, 0 the smallest, ties in row order; -1 for rows in no segment."""
    return _run("segment_rank", x, ids, n=_size(n))


def segment_normalise(
    x: Array,
    ids: Array,
    n: int,
    *,
    scale: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    eps_inside: float = 0.0,
    variance_floor: float = 0.0,
    singleton: Singleton = "zero",
    where: Array | None = None,
) -> Array:
    """Centre each row by its segment's mean and, with `scale`, divide by its standard deviation, in one pass.

    y_i = (x_i - m_j) / (sqrt(max(v_j, variance_floor) + eps_inside) + eps), j = ids_i, v_j with divisor count - ddof;
    y_i = x_i - m_j without `scale`. Shapes (M,) -> (M,).
    Statistics are over rows with `where` (default: all); rows outside `where` are normalised by them all the same.
    Degenerate segments: members that are all equal give exactly 0 at any magnitude, because moments are of differences
    to the first member. Members some ulp apart are different and follow the formula: their differences are exact, and
    only eps makes the result small. A denominator of 0 (eps = 0, all equal) gives 0.
    One member: `singleton="zero"` takes mean = itself, std = 1, so the member gets 0; "raw" takes mean = 0, std = 1,
    so it keeps its value (divided by 1 + eps with `scale`). No member: 0.
    Errors: InputError for a segment whose statistics are not finite (NaN, infinity, a spread above 1e154).
    """
    choose("singleton", singleton, ("zero", "raw"))
    options = {"scale": scale, "ddof": ddof, "eps": eps, "eps_inside": eps_inside, "variance_floor": variance_floor}
    return _run("segment_normalise", x, ids, n=_size(n), singleton_raw=singleton == "raw", where=where, **options)


def factorize(*keys: Array) -> tuple[Array, int]:
    """Give rows with equal keys the same dense id, in order of first appearance.

    Shapes: each key (M,) integers of any sign and spread -> ids (M,) int64 and their number. Negative entries are
    values like any other. Floats are refused: two computations of one quantity may differ in the last bit.
    """
    return _run("factorize", *keys)


def scan(x: Array, decay: Array | float, offsets: Array) -> Array:
    """Forward recursion in each trajectory: y_t = x_t + decay_t y_{t-1}, y before the first row 0.

    Shapes: x (M,), decay a number or (M,), offsets (N+1,) -> (M,).
    """
    return _run("scan", x, decay=decay, offsets=offsets)


def reverse_scan(x: Array, decay: Array | float, offsets: Array) -> Array:
    """Backward recursion in each trajectory: y_t = x_t + decay_t y_{t+1}, y after the last row 0.

    Shapes: x (M,), decay a number or (M,), offsets (N+1,) -> (M,).
    With x = rewards and decay = gamma it is the return to go; with x = TD errors and decay = gamma lambda it is GAE.
    """
    return _run("reverse_scan", x, decay=decay, offsets=offsets)


def backup(x: Array, previous: Array, how: Backup, decay: Array | float = 1.0) -> Array:
    """Backward recursion up a tree: y_r = x_r + decay_r * agg of y_c over the rows c right after r; leaves keep x.

    `previous` (M,) is `Rollouts.previous`; `how` aggregates children by mean, sum, max or min. Shapes (M,) -> (M,).
    Equal children have exactly their value as mean. Error: InputError where rows follow each other in a circle.
    """
    choose("how", how, ("mean", "sum", "max", "min"))
    return _run("backup", x, previous, how=how, decay=decay)


def shift(x: Array, offsets: Array, by: int, fill: Any) -> Array:
    """y_t = x_{t-by} inside each trajectory (by > 0 looks back, by < 0 ahead), `fill` where that lies outside.

    Shapes (M, ...) -> (M, ...) of the same type.
    """
    return _run("shift", x, offsets, by=by, fill=fill)


def context_ids(rollouts: Rollouts, k: int) -> tuple[Array, int]:
    """Intern the last k+1 observations of each row, through forks: HGPO's key of length k+1.

    Returns ids (M,) and their number. A window cut short by the start of the episode is a key of its own, never equal
    to a full one; a full window of equal observations has one id wherever it lies in an episode.
    Error: InputError where k < 0.
    """
    if k < 0:
        raise InputError("k", k, "a number of earlier observations >= 0")
    observation, previous = rollouts.observation, rollouts.previous
    back = restorer(observation)
    observation, previous = native(observation), native(previous)
    xp = namespace(observation)
    ids, n = factorize(observation)
    for _ in range(k):
        before = xp.where(previous >= 0, ids[previous], -1)
        ids, n = factorize(before, observation)
    return back(ids), n


def repeat_to_rows(x: Array, offsets: Array) -> Array:
    """Repeat a value per trajectory to the trajectory's rows. Shapes (N, ...) -> (M, ...)."""
    return _run("repeat_to_rows", x, offsets)


def sum_rows(x: Array, offsets: Array) -> Array:
    """Sum of each trajectory's rows: s_i = sum over t of x_{i,t}, as `segment_sum` by trajectory. Shapes (M,) -> (N,).

    Rows are added in order; a trajectory without rows gets 0.
    """
    return _run("sum_rows", x, offsets)
