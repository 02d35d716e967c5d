"""SCPO's matching by exhaustive means, its laws on drawn trajectories, and the credit that follows from a matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mutants import mutant
from reference_cases import Episode, Shape, rollouts_of, shapes, standard
from step_cases import columns_of

from creditsim import sibling_match
from creditsim.errors import InputError
from creditsim.rollouts import Rollouts

Matrix = list[list[float]]
ORDERS = ("score", "chronological", "none")


def pairs_taken(m: Matrix, threshold: float, order: str) -> dict[int, int]:
    """Reference step of each failed step, by asking again and again which pair comes next."""
    rows, columns = len(m), len(m[0]) if m else 0
    taken: dict[int, int] = {}

    def free(i: int, j: int) -> bool:
        apart = all((i - k) * (j - taken[k]) > 0 for k in taken)
        return m[i][j] > threshold and i not in taken and apart

    if order == "none":
        for i in range(rows):
            if columns and max(m[i]) > threshold:
                taken[i] = m[i].index(max(m[i]))
    elif order == "chronological":
        for i in range(rows):
            ahead = [j for j in range(columns) if free(i, j)]
            if ahead:
                taken[i] = max(ahead, key=lambda j: (m[i][j], -j))
    else:
        while True:
            left = [(i, j) for i in range(rows) for j in range(columns) if free(i, j)]
            if not left:
                break
            # Highest score; among equals the smaller distance of i / rows and j / columns, then the earlier row.
            i, j = min(left, key=lambda p: (-m[p[0]][p[1]], abs(p[0] * columns - p[1] * rows), p))
            taken[i] = j
    return taken


def credits_of(m: Matrix, threshold: float, order: str) -> list[float]:
    taken = pairs_taken(m, threshold, order)
    return [(m[i][taken[i]] - threshold) / (1 - threshold) if i in taken else 0.0 for i in range(len(m))]


def library(m: Matrix, threshold: float, order: str, module: Any = sibling_match) -> list[float]:
    """The same through the library: trajectory 0 failed, 1 is its reference."""
    rows, columns = len(m), len(m[0]) if m else 0
    offsets = np.array([0, rows, rows + columns])
    keys = [np.zeros(rows + columns, np.int64)] * 2
    score = np.array([x for row in m for x in row], float)
    found = module.match_steps(
        offsets, np.array([0]), np.array([1]), keys, score, threshold=threshold, order=order
    )  # fmt: skip
    return found[:rows].tolist()


matrices = st.integers(1, 5).flatmap(
    lambda columns: st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.75, 1.0]), min_size=columns, max_size=columns),
        min_size=1,
        max_size=6,
    )
)


@pytest.mark.parametrize("order", ORDERS)
@given(matrices, st.sampled_from([0.0, 0.5, 0.7]))
def test_matching_is_the_one_found_by_asking_again_and_again(order: str, m: Matrix, threshold: float) -> None:
    np.testing.assert_allclose(library(m, threshold, order), credits_of(m, threshold, order), atol=1e-15)


@given(matrices)
def test_credit_is_bounded_by_the_reference_and_the_best_matching(m: Matrix) -> None:
    """Once-only credit: no more credited steps than the reference has, nor more than any non-crossing matching."""
    rows, columns = len(m), len(m[0])
    best = 0.0
    for size in range(1, min(rows, columns) + 1):
        for left in combinations(range(rows), size):
            for right in combinations(range(columns), size):
                best = max(best, sum(max(0.0, m[i][j] - 0.5) / 0.5 for i, j in zip(left, right, strict=True)))
    for order in ("score", "chronological"):
        found = library(m, 0.5, order)
        assert sum(x > 0 for x in found) <= columns
        assert sum(found) <= best + 1e-12
        # The greedy choices are maximal: there is credit wherever some pair was to be had.
        assert (max(found) > 0) == any(x > 0.5 for row in m for x in row)
    assert sum(library(m, 0.5, "none")) >= best - 1e-12


@given(matrices)
def test_a_higher_threshold_never_pays_more_without_an_order(m: Matrix) -> None:
    low, high = library(m, 0.25, "none"), library(m, 0.6, "none")
    assert all(a >= b for a, b in zip(low, high, strict=True))


@given(matrices)
def test_best_first_takes_the_best_pair_of_all(m: Matrix) -> None:
    top = max(x for row in m for x in row)
    assume(top > 0.5)
    assert max(library(m, 0.5, "score")) == pytest.approx((top - 0.5) / 0.5)


FAULTS = [
    ("m > threshold:", "m >= threshold:"),
    ("column[partner[before]] < j", "column[partner[before]] <= j"),
    ("column[k] > frontier", "column[k] >= frontier"),
    ("numbers[k] > numbers[best]", "numbers[k] >= numbers[best]"),
    ("numbers[x] > numbers[y]", "numbers[x] < numbers[y]"),
    ("abs(row[x] * columns - column[x] * rows) <", "abs(row[x] - column[x]) <"),
    ("- threshold) / (1.0 - threshold)", "- threshold)"),
    ("frontier = column[best]", "frontier = column[0]"),
    ("numbers[k] > numbers[partner[i]]", "numbers[k] < numbers[partner[i]]"),
]


@pytest.mark.parametrize(("old", "new"), FAULTS)
def test_changed_matching_is_noticed(old: str, new: str) -> None:
    """Crossing pairs, steps credited twice, the wrong winner among pairs: each shows on drawn matrices."""
    broken = mutant(sibling_match, old, new)
    rng = np.random.default_rng(5)
    for _ in range(300):
        rows, columns = rng.integers(1, 6, 2)
        m = (rng.integers(0, 5, (rows, columns)) / 4.0).tolist()
        for order in ORDERS:
            if not np.allclose(library(m, 0.5, order, broken), credits_of(m, 0.5, order), atol=1e-12):
                return
    # `>=` at the threshold pays (threshold - threshold) = 0, but uses the reference step up.
    pytest.fail(f"{new} went unnoticed")


# --- From matching to credit ----------------------------------------------------------------------------------------


def sibling_of(episodes: Sequence[Episode], e: Episode, longest: bool) -> Episode | None:
    """The group's successful trajectory that failed ones are held against; the first of equally long ones."""
    won = [x for x in episodes if x.group == e.group and x.score > 0 and x.counts]
    if not won:
        return None
    lengths = [sum(w != 0 for w in x.weight) for x in won]
    return won[lengths.index(max(lengths) if longest else min(lengths))]


def scpo(
    episodes: Sequence[Episode], *, alpha: float, threshold: float, order: str, longest: bool, level: str,
    gamma: float = 0.9, omega: float = 0.5,
) -> dict[str, list[float]]:  # fmt: skip
    """SCPO with identity as similarity, deviations with divisor n - 1 and 1e-6 added."""
    shared: list[list[float]] = []
    for e in episodes:
        reference = sibling_of(episodes, e, longest)
        mine = [t for t in range(len(e)) if e.weight[t]]
        credit = [0.0] * len(e)
        if reference is not None and not e.score > 0 and mine:
            theirs = [t for t in range(len(reference)) if reference.weight[t]]
            same = [
                [float((e.observation[t], e.action[t]) == (reference.observation[u], reference.action[u]))
                 for u in theirs]
                for t in mine
            ]  # fmt: skip
            for t, r in zip(mine, credits_of(same, threshold, order), strict=True):
                credit[t] = r
        shared.append(credit)
    out: dict[str, list[float]] = {"advantage": [], "shared_credit": [], "step_advantage": [], "step_score": []}

    def shaped(i: int, t: int) -> float:
        e, r = episodes[i], shared[i]
        ahead = range(t, len(e))
        plain = sum(gamma ** (k - t) * e.rewards[k] for k in ahead)
        bonus = r[t] if level == "return" else sum(gamma ** (k - t) * r[k] for k in ahead)
        return plain + alpha * bonus

    for i, e in enumerate(episodes):
        for t in range(len(e)):
            peers = [
                shaped(j, u)
                for j, other in enumerate(episodes) if other.group == e.group
                for u in range(len(other)) if other.weight[u] and other.observation[u] == e.observation[t]
            ]  # fmt: skip
            spread = max(peers, default=0.0) - min(peers, default=0.0)
            step = standard(shaped(i, t), peers, 1, 1e-6) if e.weight[t] and spread > 1e-12 else 0.0
            scores = [x.score for x in episodes if x.group == e.group and x.counts]
            episode = standard(e.score, scores, 1, 1e-6) if e.weight[t] else 0.0
            out["advantage"].append(episode + omega * step)
            out["shared_credit"].append(shared[i][t])
            out["step_advantage"].append(step)
            out["step_score"].append(shaped(i, t))
    return out


SETTINGS: list[dict[str, Any]] = [
    {"alpha": 0.5, "threshold": 0.5, "order": "score", "longest": True, "level": "return"},
    {"alpha": 1.0, "threshold": 0.0, "order": "chronological", "longest": False, "level": "return"},
    {"alpha": 0.25, "threshold": 0.5, "order": "none", "longest": True, "level": "reward"},
]


def library_scpo(rollouts: Rollouts, *, longest: bool = True, **options: Any) -> dict[str, np.ndarray]:
    reference = "longest" if longest else "shortest"
    return columns_of(rollouts, "scpo@paper", reference=reference, gamma=0.9, step_weight=0.5, **options)


@pytest.mark.parametrize("options", SETTINGS, ids=lambda o: f"{o['order']}, {o['level']}")
@settings(max_examples=25)
@given(shapes(lengths=(1, 5), binary=True))
def test_credit_is_that_of_the_definition(options: dict[str, Any], shape: Shape) -> None:
    episodes = shape.draw()
    found, wanted = library_scpo(rollouts_of(episodes), **options), scpo(episodes, **options)
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=1e-9, err_msg=name)


@settings(max_examples=25)
@given(shapes(lengths=(1, 5), binary=True))
def test_success_and_hopeless_groups_keep_gigpo_to_the_last_bit(shape: Shape) -> None:
    episodes = shape.draw()
    rollouts = rollouts_of(episodes)
    plain = columns_of(rollouts, "gigpo@paper", gamma=0.9, step_weight=0.5)
    found = library_scpo(rollouts)
    np.testing.assert_array_equal(found["episode_advantage"], plain["episode_advantage"])
    np.testing.assert_array_equal(library_scpo(rollouts, alpha=0.0)["advantage"], plain["advantage"])
    won = np.array([e.score > 0 and e.counts for e in episodes])
    hopeful = np.isin(rollouts.group, rollouts.group[won])
    rows = ~hopeful[rollouts.trajectory]
    np.testing.assert_array_equal(found["advantage"][rows], plain["advantage"][rows])
    paid = np.array([e.score > 0 for e in episodes])[rollouts.trajectory]
    assert (found["shared_credit"][paid] == 0).all()


@given(shapes(lengths=(2, 6), binary=True, members=(2, 5)), st.sampled_from(["score", "chronological"]))
def test_total_bonus_is_at_most_the_length_of_the_reference(shape: Shape, order: str) -> None:
    episodes = shape.draw()
    rollouts = rollouts_of(episodes)
    total = np.bincount(
        rollouts.trajectory, library_scpo(rollouts, order=order)["shared_credit"], rollouts.n_trajectories
    )
    for e, got in zip(episodes, total, strict=True):
        reference = sibling_of(episodes, e, longest=True)
        assert got <= (sum(reference.weight) if reference else 0) + 1e-12


@pytest.mark.parametrize("repeats", [1, 3, 8])
def test_a_loop_collects_once_where_matches_are_monotone(repeats: int) -> None:
    """A failed trajectory walks one matched step over and over; without an order each visit is paid."""
    base = replace(Shape(0, binary=True).draw()[0], group=0, batch=0, step=())

    def walk(seen: Sequence[int], won: bool) -> Episode:
        n = len(seen)
        return replace(
            base, observation=tuple(seen), action=(0,) * n, rewards=(0.0,) * (n - 1) + (float(won),),
            weight=(1.0,) * n, gain=(0.0,) * n, value=(0.0,) * n,
        )  # fmt: skip

    rollouts = rollouts_of([walk([0, 1, 2], True), walk([0] + [1] * repeats, False)])
    paid = {order: library_scpo(rollouts, order=order)["shared_credit"].sum() for order in ORDERS}
    assert paid == {"score": 2.0, "chronological": 2.0, "none": 1.0 + repeats}


@settings(max_examples=20)
@given(shapes(lengths=(1, 4), binary=True, masked=0.0), st.integers(0, 99))
def test_names_of_observations_and_actions_do_not_matter(shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, done = rng.permutation(5), rng.permutation(4)
    episodes = shape.draw()
    other = [
        replace(e, observation=tuple(int(seen[o]) for o in e.observation), action=tuple(int(done[a]) for a in e.action))
        for e in episodes
    ]
    plain, renamed = library_scpo(rollouts_of(episodes)), library_scpo(rollouts_of(other))
    for name in ("advantage", "shared_credit"):
        np.testing.assert_allclose(renamed[name], plain[name], atol=1e-12)


@settings(max_examples=20)
@given(shapes(lengths=(1, 4), binary=True), st.integers(0, 99))
def test_identity_may_be_written_as_a_table_or_a_function(shape: Shape, seed: int) -> None:
    rollouts = rollouts_of(shape.draw())
    eye = np.eye(6).reshape(3, 2, 3, 2)

    def same(r: Rollouts, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return ((r.observation[left] == r.observation[right]) & (r.action[left] == r.action[right])).astype(float)

    plain = library_scpo(rollouts)
    for written in (eye, same):
        for name, values in library_scpo(rollouts, similarity=written).items():
            np.testing.assert_array_equal(values, plain[name])
    # Broken twin: observations alone are another similarity, on some draw.
    loose = library_scpo(rollouts, similarity=lambda r, a, b: 1.0 * (r.observation[a] == r.observation[b]))
    assert loose["shared_credit"].sum() >= plain["shared_credit"].sum() - 1e-12


@pytest.mark.parametrize(
    "table", ["abc", [[1.0, 2.0], [3.0]], np.full((3, 2, 3, 2), 1.5), np.full((3, 2, 3, 2), np.nan)]
)
def test_similarities_of_the_wrong_kind_are_one_line(table: Any) -> None:
    rollouts = rollouts_of(Shape(1, members=(3, 5), binary=True).draw())
    with pytest.raises(InputError) as error:
        library_scpo(rollouts, similarity=table)
    assert error.value.field == "similarity" and "\n" not in str(error.value)
