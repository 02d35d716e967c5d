"""CPU bodies of the segment primitives (plain NumPy stand-ins until the Numba kernels take their place)."""

from __future__ import annotations

import numpy as np

from creditsim.ragged import rows_of


def _members(ids, where):
    inside = ids >= 0
    return inside if where is None else inside & where


def segment_count(x, ids, n, where=None):
    return np.bincount(ids[_members(ids, where)], minlength=n)


def segment_sum(x, ids, n, where=None):
    keep = _members(ids, where)
    return np.bincount(ids[keep], weights=x[keep], minlength=n)


def _first(x, ids, n, keep):
    first = np.zeros(n)
    rows = np.flatnonzero(keep)[::-1]
    first[ids[rows]] = x[rows]
    return first


def _moments(x, ids, n, where, ddof):
    keep = _members(ids, where)
    x = x.astype(np.float64)
    count = np.bincount(ids[keep], minlength=n)
    first = _first(x, ids, n, keep)
    d = x - first[ids]
    mean_d = np.bincount(ids[keep], weights=d[keep], minlength=n) / np.maximum(count, 1)
    r = d - mean_d[ids]
    var = np.bincount(ids[keep], weights=r[keep] ** 2, minlength=n) / np.maximum(count - ddof, 1)
    equal = segment_max(x, ids, n, where) == segment_min(x, ids, n, where)
    var[(count <= ddof) | equal] = 0.0
    mean_d[equal] = 0.0
    return count, first, mean_d, var


def segment_mean(x, ids, n, where=None):
    _, first, mean_d, _ = _moments(x, ids, n, where, 1)
    return first + mean_d


def segment_std(x, ids, n, ddof=1, where=None):
    return np.sqrt(_moments(x, ids, n, where, ddof)[3])


def segment_min(x, ids, n, where=None):
    keep = _members(ids, where)
    out = np.full(n, np.inf)
    np.minimum.at(out, ids[keep], x[keep])
    return out


def segment_max(x, ids, n, where=None):
    keep = _members(ids, where)
    out = np.full(n, -np.inf)
    np.maximum.at(out, ids[keep], x[keep])
    return out


def segment_rank(x, ids, n):
    order = np.lexsort((np.arange(x.size), x, ids))
    counts = np.bincount(ids[ids >= 0], minlength=n)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) + np.count_nonzero(ids < 0)
    rank = np.empty(x.size, np.int64)
    rank[order] = np.arange(x.size) - np.where(ids[order] >= 0, starts[ids[order]], 0)
    rank[ids < 0] = -1
    return rank


def segment_normalise(x, ids, n, scale, ddof, eps, eps_inside, variance_floor, singleton_raw, where=None):
    count, first, mean_d, var = _moments(x, ids, n, where, ddof)
    single = count == 1
    denominator = np.where(single, 1.0, np.sqrt(np.maximum(var, variance_floor) + eps_inside)) + eps
    y = (x - first[ids]) - mean_d[ids]
    if singleton_raw:
        y = np.where(single[ids], x, y)
    if scale:
        y = y / denominator[ids]
    y[(ids < 0) | (count[ids] == 0)] = 0.0
    return y


def factorize(*keys):
    if len(keys) == 1:
        values, first, inverse = np.unique(keys[0], return_index=True, return_inverse=True)
    else:
        values, first, inverse = np.unique(np.stack(keys, 1), axis=0, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[inverse.reshape(-1)], int(first.size)


def reverse_scan(x, decay, offsets):
    decay = np.broadcast_to(np.asarray(decay, float), x.shape)
    y = np.array(x, float)
    for i in range(offsets.size - 1):
        for t in range(offsets[i + 1] - 2, offsets[i] - 1, -1):
            y[t] = x[t] + decay[t] * y[t + 1]
    return y


def scan(x, decay, offsets):
    decay = np.broadcast_to(np.asarray(decay, float), x.shape)
    y = np.array(x, float)
    for i in range(offsets.size - 1):
        for t in range(offsets[i] + 1, offsets[i + 1]):
            y[t] = x[t] + decay[t] * y[t - 1]
    return y


def backup(x, previous, how, decay=1.0):
    decay = np.broadcast_to(np.asarray(decay, float), x.shape)
    children: dict[int, list[int]] = {}
    for row, before in enumerate(previous):
        children.setdefault(int(before), []).append(row)
    agg = {"mean": np.mean, "sum": np.sum, "max": np.max, "min": np.min}[how]
    y = np.array(x, float)
    order, stack = [], list(children.get(-1, []))
    while stack:
        row = stack.pop()
        order.append(row)
        stack.extend(children.get(row, []))
    for row in reversed(order):
        if row in children:
            y[row] = x[row] + decay[row] * agg([y[c] for c in children[row]])
    return y


def shift(x, offsets, by, fill):
    rows = np.arange(x.shape[0])
    which = rows_of(offsets, x.shape[0])
    source = rows - by
    inside = (source >= offsets[:-1][which]) & (source < offsets[1:][which])
    out = np.full_like(x, fill)
    out[inside] = x[source[inside]]
    return out


def repeat_to_rows(x, offsets):
    return x[rows_of(offsets, int(offsets[-1]))]
