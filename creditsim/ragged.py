"""Index arithmetic of ragged rows and trees, on NumPy or CuPy arrays; the inner work of Rollouts."""

from __future__ import annotations

from creditsim.arrays import Array, namespace
from creditsim.errors import InputError

__all__ = [
    "checked_index",
    "dense",
    "leaf_paths",
    "moved_parents",
    "previous_rows",
    "ranges",
    "reduce_ranges",
    "repeated",
    "rows_of",
    "sibling_ids",
]


def rows_of(offsets: Array, m: int) -> Array:
    """Return (M,) the index of the range that each row lies in, for ranges `offsets[i]:offsets[i+1]`."""
    xp = namespace(offsets)
    if xp.__name__ == "numpy":
        return xp.repeat(xp.arange(offsets.shape[0] - 1), offsets[1:] - offsets[:-1])
    return xp.searchsorted(offsets[1:], xp.arange(m), side="right")


def repeated(values: Array, offsets: Array, m: int) -> Array:
    """Return (M, ...) the value of the range that each row lies in, for values (N, ...) per range."""
    if namespace(values).__name__ == "numpy":
        return values.repeat(offsets[1:] - offsets[:-1], axis=0)
    return values[rows_of(offsets, m)]


def ranges(starts: Array, offsets: Array) -> Array:
    """Return the rows `starts[i], starts[i]+1, ...` of every range i of `offsets`, one after the other."""
    m = int(offsets[-1])
    which = rows_of(offsets, m)
    return (starts - offsets[:-1])[which] + namespace(offsets).arange(m)


def checked_index(index: Array, n: int) -> Array:
    """Return (K,) trajectory numbers from numbers or a mask."""
    xp = namespace(index)
    if index.dtype.kind == "b" and index.shape == (n,):
        return xp.flatnonzero(index)
    if index.shape[0] == 0:
        return index.astype(xp.int64)
    if index.ndim != 1 or index.dtype.kind not in "iu" or int(index.min()) < 0 or int(index.max()) >= n:
        raise InputError(
            "trajectories", f"shape {tuple(index.shape)} of {index.dtype}", f"numbers in 0..{n - 1}, or a mask ({n},)"
        )
    return index


def dense(ids: Array) -> Array:
    """Relabel integer ids as 0..n-1, keeping their order; ids that are dense already come back as they are."""
    xp = namespace(ids)
    if ids.shape[0] == 0:
        return ids.astype(xp.int64)
    return xp.unique(ids, return_inverse=True)[1].astype(xp.int64)


def previous_rows(offsets: Array, parent: Array, m: int) -> Array:
    """Return (M,) the row before each row, through forks; -1 at the start."""
    xp = namespace(offsets)
    previous = xp.arange(-1, m - 1)
    filled = offsets[1:] > offsets[:-1]
    previous[offsets[:-1][filled]] = parent[filled]
    return previous


def sibling_ids(previous: Array, group_rows: Array, n_groups: int) -> tuple[Array, int]:
    """Return ids (M,) shared by rows after the same row (or opening the same group), dense, and their number."""
    xp = namespace(previous)
    key = xp.where(previous >= 0, previous + n_groups, group_rows)
    values, ids = xp.unique(key, return_inverse=True)
    return ids.astype(xp.int64), int(values.shape[0])


def moved_parents(parent: Array, rows: Array, m: int) -> Array:
    """Return parents after `rows` were taken; a parent not taken, or taken twice, is an error."""
    xp = namespace(parent)
    place = xp.full(m + 1, -1, xp.int64)
    place[rows] = xp.arange(rows.shape[0])
    count = xp.zeros(m + 1, xp.int64)
    xp.add.at(count, rows, 1)
    branches = parent >= 0
    needed = count[parent[branches]]
    if bool((needed != 1).any()):
        raise InputError(
            "trajectories", "branches without their parent, or a parent twice", "each branch with its parent, once"
        )
    return xp.where(branches, place[parent], -1)


def leaf_paths(offsets: Array, parent: Array, m: int) -> tuple[Array, Array, Array]:
    """Return the leaf trajectories, the rows of their paths from the start, and the paths' offsets."""
    xp = namespace(offsets)
    last = offsets[1:] - 1
    filled = offsets[1:] > offsets[:-1]
    has_child = xp.zeros(m + 1, bool)
    has_child[parent[parent >= 0]] = True
    leaf = xp.flatnonzero(filled & ~has_child[last])
    previous = previous_rows(offsets, parent, m)
    # Walk all paths backwards at once: one round per step of depth.
    layers = []
    at = last[leaf]
    while at.shape[0] and bool((at >= 0).any()):
        layers.append(at)
        at = xp.where(at >= 0, previous[at], -1)
    if not layers:
        return leaf, xp.zeros(0, xp.int64), xp.zeros(1, xp.int64)
    table = xp.stack(layers[::-1], axis=1)
    rows = table[table >= 0]
    path_offsets = xp.zeros(leaf.shape[0] + 1, xp.int64)
    path_offsets[1:] = xp.cumsum((table >= 0).sum(axis=1))
    return leaf, rows, path_offsets


def reduce_ranges(values: Array, starts: Array, m: int, how: str) -> Array:
    """Reduce consecutive ranges of rows that begin at `starts` by sum, min or max, in row order."""
    xp = namespace(values)
    if xp.__name__ == "numpy":
        return {"sum": xp.add, "min": xp.minimum, "max": xp.maximum}[how].reduceat(values, starts, axis=0)
    ends = xp.concatenate([starts[1:], xp.asarray([m])])
    combine = {"sum": xp.add, "min": xp.minimum, "max": xp.maximum}[how]
    out = values[starts]
    for ahead in range(1, int((ends - starts).max())):
        at = xp.minimum(starts + ahead, m - 1)
        inside = (starts + ahead < ends).reshape(-1, *(1,) * (out.ndim - 1))
        out = xp.where(inside, combine(out, values[at]), out)
    return out
