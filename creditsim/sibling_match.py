"""Matching the steps of failed trajectories to those of a successful sibling: SCPO's sequential search, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.jit import kernel

__all__ = ["ORDERS", "match_steps"]

ORDERS = ("score", "chronological", "none")


def match_steps(
    offsets: np.ndarray,
    failed: np.ndarray,
    reference: np.ndarray,
    keys: Sequence[np.ndarray],
    score: np.ndarray | None,
    *,
    threshold: float,
    order: str,
) -> np.ndarray:
    """Soft credit (M,) of the steps of each failed trajectory for their match in its reference trajectory.

    r_i = (M_ij - threshold) / (1 - threshold) for the reference step j that row i is matched to, else 0. Only pairs
    with M_ij > threshold are candidates. With order "score" they are taken best first, ties by the smaller distance of
    relative positions, then earlier rows first, as long as i and j are free and no two matches cross; with
    "chronological" row after row takes the best step beyond the last one taken; with "none" every row takes its best
    step, used or not.

    In: offsets (N+1,), `failed` and `reference` (F,) trajectories; `keys`, two integer arrays (M,), say which rows are
    equal, M_ij = 1 or 0; `score` (P,), where given, holds M instead, for all pairs (i, j) of failed[0], then of
    failed[1], ..., j running fastest.
    """
    length = np.diff(offsets)
    most = int((length[failed] * length[reference]).max(initial=0))
    credit = np.zeros(int(offsets[-1]))
    places, numbers = np.empty((4, most), np.int64), np.empty(most)
    partner = np.empty(int(length.max(initial=0)), np.int64)
    first, second = (np.ascontiguousarray(key, np.int64) for key in keys)
    given = np.zeros(0) if score is None else np.ascontiguousarray(score, np.float64)
    _match(
        np.ascontiguousarray(offsets, np.int64), failed, reference, first, second, given, score is not None,
        float(threshold), ORDERS.index(order), credit, places, numbers, partner,
    )  # fmt: skip
    return credit


@kernel
def _match(
    offsets, failed, reference, first, second, given, dense, threshold, order, credit, places, numbers, partner
):  # fmt: skip
    at = 0
    row, column, rank, spare = places
    for f in range(failed.size):
        a, rows = offsets[failed[f]], offsets[failed[f] + 1] - offsets[failed[f]]
        b, columns = offsets[reference[f]], offsets[reference[f] + 1] - offsets[reference[f]]
        count = 0
        for i in range(rows):
            # The compiler cannot know that the lists written to are no views of the keys.
            one, two = first[a + i], second[a + i]
            for j in range(columns):
                if dense:
                    m = given[at]
                    at += 1
                else:
                    m = 1.0 if one == first[b + j] and two == second[b + j] else 0.0
                if m > threshold:
                    row[count], column[count], numbers[count] = i, j, m
                    rank[count] = count
                    count += 1
        if order == 0:
            _sort(rank, spare, count, row, column, numbers, rows, columns)
            _take_best_first(rank, count, row, column, numbers, partner, rows)
        elif order == 1:
            _take_in_time(count, row, column, numbers, partner, rows)
        else:
            _take_any(count, row, numbers, partner, rows)
        for i in range(rows):
            if partner[i] >= 0:
                credit[a + i] = (numbers[partner[i]] - threshold) / (1.0 - threshold)


@kernel
def _take_best_first(rank, count, row, column, numbers, partner, rows):
    """Partner (the candidate's number, -1: none) of each row; candidates in the order `rank`."""
    partner[:rows] = -1
    for k in range(count):
        c = rank[k]
        i, j = row[c], column[c]
        if partner[i] >= 0:
            continue
        # Matches do not cross, so the nearest one on either side bounds the reference positions left.
        before = i - 1
        while before >= 0 and partner[before] < 0:
            before -= 1
        after = i + 1
        while after < rows and partner[after] < 0:
            after += 1
        if (before < 0 or column[partner[before]] < j) and (after == rows or column[partner[after]] > j):
            partner[i] = c


@kernel
def _take_in_time(count, row, column, numbers, partner, rows):
    partner[:rows] = -1
    frontier, k = -1, 0
    for i in range(rows):
        best = -1
        while k < count and row[k] == i:
            if column[k] > frontier and (best < 0 or numbers[k] > numbers[best]):
                best = k
            k += 1
        if best >= 0:
            partner[i] = best
            frontier = column[best]


@kernel
def _take_any(count, row, numbers, partner, rows):
    partner[:rows] = -1
    for k in range(count):
        i = row[k]
        if partner[i] < 0 or numbers[k] > numbers[partner[i]]:
            partner[i] = k


@kernel
def _sort(rank, spare, count, row, column, numbers, rows, columns):
    """Stable merge sort of candidates: larger score first, then smaller distance of relative positions."""
    width = 1
    while width < count:
        for start in range(0, count, 2 * width):
            middle, end = min(start + width, count), min(start + 2 * width, count)
            a, b = start, middle
            for k in range(start, end):
                right = a >= middle
                if not right and b < end:
                    x, y = rank[b], rank[a]
                    if numbers[x] != numbers[y]:
                        right = numbers[x] > numbers[y]
                    else:
                        right = abs(row[x] * columns - column[x] * rows) < abs(row[y] * columns - column[y] * rows)
                if right:
                    spare[k] = rank[b]
                    b += 1
                else:
                    spare[k] = rank[a]
                    a += 1
        rank[:count] = spare[:count]
        width *= 2
