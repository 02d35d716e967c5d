"""Group compositions: every way to fill a batch with trajectories, and how likely each is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb

import numpy as np

from creditsim.errors import InputError, TooLargeError
from creditsim.exact.trajectories import TrajectoryLaw
from creditsim.jit import kernel

__all__ = ["LIMIT", "compositions", "count_compositions"]

LIMIT = 2_000_000
"""Compositions that enumeration takes on unless told otherwise: a few seconds for a cheap estimator."""

_TINY = 2.0**-500


def count_compositions(sizes: Sequence[int], group_size: int, groups: int = 1, symmetric: bool = True) -> int:
    """Number of compositions of a batch, `sizes` being the number of trajectories of each start state.

    A group draws one start state, then n trajectories: C = sum_s C(T_s + n - 1, n), or sum_s T_s^n where order matters;
    a batch of m groups: C(C + m - 1, m), or C^m.
    """
    for field, value in (("group_size", group_size), ("groups", groups)):
        if value < 1:
            raise InputError(field, value, "at least 1")
    one = sum(comb(t + group_size - 1, group_size) if symmetric else t**group_size for t in sizes)
    return comb(one + groups - 1, groups) if symmetric else one**groups


def compositions(
    law: TrajectoryLaw,
    *,
    group_size: int,
    groups: int = 1,
    symmetric: bool = True,
    limit: int = LIMIT,
    chunk: int = 1 << 14,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (index, probability) of at most `chunk` compositions at a time.

    `index` (B, groups * group_size) names trajectories of `law`, group after group; `probability` (B,) is
    P = prod over groups of P(s_0) n!/prod_i k_i! prod_i p_i^{k_i} for multisets (k_i copies of trajectory i), times the
    same multinomial factor for multisets of groups; the plain product where `symmetric` is False and every ordered
    tuple is listed. Over all chunks it sums to 1.
    Errors: TooLargeError with the count when there are more than `limit`; nothing is enumerated then. (inferred)
    """
    sizes = [last - first for first, last, _ in law.ranges]
    count = count_compositions(sizes, group_size, groups, symmetric)
    if count > limit:
        what = f"compositions of {groups} group(s) of {group_size} out of {law.size} trajectories"
        raise TooLargeError(what, f"{count:,}", f"at most {limit:,}")
    return _batches(law, group_size, groups, symmetric, max(int(chunk), 1))


def _batches(
    law: TrajectoryLaw, group_size: int, groups: int, symmetric: bool, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if groups == 1:
        yield from _one_group(law, group_size, symmetric, chunk)
        return
    parts = list(_one_group(law, group_size, symmetric, chunk))
    table = np.concatenate([index for index, _ in parts])
    weight = np.concatenate([probability for _, probability in parts])
    for index, probability in _selections(weight, groups, symmetric, chunk):
        yield table[index].reshape(index.shape[0], -1), probability


def _one_group(
    law: TrajectoryLaw, group_size: int, symmetric: bool, chunk: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first, last, weight in law.ranges:
        for index, probability in _selections(law.probability[first:last], group_size, symmetric, chunk):
            yield index + first, probability * weight


def _selections(p: np.ndarray, n: int, multisets: bool, chunk: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Multisets (or ordered tuples) of n out of the items with probabilities `p`, in lexicographic order."""
    at = np.zeros(n, np.int64)
    while at[0] < p.size:
        index, probability = np.empty((chunk, n), np.int64), np.empty(chunk)
        filled = _fill(at, p, multisets, index, probability)
        yield index[:filled], probability[:filled]


@kernel
def _fill(at: np.ndarray, p: np.ndarray, multisets: bool, index: np.ndarray, probability: np.ndarray) -> int:
    """Write selections from `at` on until the output is full or all are listed; `at` is left at the next one.

    The weight of a multiset is built factor by factor, p * (members so far) / (equal members so far). Every partial
    product is the probability of a smaller multiset, so nothing overflows; where one gets tiny, as the head of a large
    and likely multiset may be, a power of two is set aside until the end.
    """
    n, items = at.size, p.size
    row = 0
    while row < index.shape[0] and at[0] < items:
        weight = 1.0
        aside = 0
        run = 0
        for j in range(n):
            index[row, j] = at[j]
            weight *= p[at[j]]
            if multisets:
                run = run + 1 if j > 0 and at[j] == at[j - 1] else 1
                weight *= (j + 1) / run
            if 0.0 < weight < _TINY:
                weight *= 1.0 / _TINY
                aside += 1
            elif weight > 1.0 and aside > 0:
                weight *= _TINY
                aside -= 1
        for _ in range(aside):
            weight *= _TINY
        probability[row] = weight
        row += 1
        j = n - 1
        while j > 0 and at[j] == items - 1:
            j -= 1
        at[j] += 1
        for later in range(j + 1, n):
            at[later] = at[j] if multisets else 0
    return row
