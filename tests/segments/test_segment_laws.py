"""Laws that every segment primitive must obey, on random ragged input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import creditsim.segments as segments
from creditsim.rollouts import Rollouts

_VALUES = st.floats(-1e3, 1e3).map(lambda v: round(v, 3))


@st.composite
def grouped(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Values, ids in -1..n-1 and n; segments may be empty."""
    n = draw(st.integers(1, 6))
    rows = draw(st.lists(st.tuples(_VALUES, st.integers(-1, n - 1)), max_size=30))
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows], np.int64), n


@st.composite
def forests(draw: st.DrawFn) -> np.ndarray:
    """A forest whose rows come in any order."""
    m = draw(st.integers(1, 25))
    before = [draw(st.integers(-1, row - 1)) for row in range(m)]
    order = np.array(draw(st.permutations(range(m))))
    previous = np.empty(m, np.int64)
    for row, at in enumerate(before):
        previous[order[row]] = order[at] if at >= 0 else -1
    return previous


@given(grouped(), st.randoms(use_true_random=False))
def test_normalise_follows_permuted_rows(given_rows: tuple[np.ndarray, np.ndarray, int], random: Any) -> None:
    x, ids, n = given_rows
    order = np.array(random.sample(range(x.size), x.size), np.int64)
    straight = segments.segment_normalise(x, ids, n)
    permuted = segments.segment_normalise(x[order], ids[order], n)
    np.testing.assert_allclose(permuted, straight[order], rtol=1e-9, atol=1e-9)


@given(grouped(), st.floats(0.1, 50.0), st.floats(-1e4, 1e4))
def test_normalise_ignores_shift_and_scale(
    given_rows: tuple[np.ndarray, np.ndarray, int], scale: float, by: float
) -> None:
    x, ids, n = given_rows
    # A spread near the rounding of x + by is not the same spread any more.
    before = segments.segment_normalise(x, ids, n, eps=0.0)
    after = segments.segment_normalise(scale * x + by, ids, n, eps=0.0)
    wide = segments.segment_max(x, ids, n) - segments.segment_min(x, ids, n) > 1e-2
    kept = (ids >= 0) & wide[np.maximum(ids, 0)]
    np.testing.assert_allclose(after[kept], before[kept], rtol=1e-6, atol=1e-6)


@given(grouped(), st.integers(0, 1))
def test_normalised_rows_sum_to_zero_and_have_unit_variance(
    given_rows: tuple[np.ndarray, np.ndarray, int], ddof: int
) -> None:
    x, ids, n = given_rows
    y = segments.segment_normalise(x, ids, n, ddof=ddof, eps=0.0)
    assert np.abs(segments.segment_sum(y, ids, n)).max() < 1e-9 * max(1, x.size)
    spread = segments.segment_std(x, ids, n, ddof=ddof) > 0
    np.testing.assert_allclose(segments.segment_std(y, ids, n, ddof=ddof)[spread], 1.0, rtol=1e-9)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(2, 40), st.integers(0, 1))
def test_equal_members_give_exact_zero_at_any_magnitude(value: float, size: int, ddof: int) -> None:
    ids = np.zeros(size, np.int64)
    y = segments.segment_normalise(np.full(size, value), ids, 1, ddof=ddof, eps=0.0)
    assert (y == 0).all() and not np.signbit(y).any()
    assert segments.segment_std(np.full(size, value), ids, 1, ddof=ddof)[0] == 0
    assert segments.segment_mean(np.full(size, value), ids, 1)[0] == value


def test_the_textbook_formula_fails_where_the_shifted_one_does_not() -> None:
    x = np.full(7, 1e8 + 0.1)
    textbook = (x - x.mean()) / (np.sqrt(abs((x * x).mean() - x.mean() ** 2)) + 1e-6)
    noisy = (np.float32(0.1) - np.full(7, 0.1, np.float32).sum(dtype=np.float32) / np.float32(7)) / 1e-6
    assert textbook.any() or noisy != 0
    assert not segments.segment_normalise(x, np.zeros(7, np.int64), 1).any()


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 1e8])
@pytest.mark.parametrize("sides", [(0, 1), (0, 1, 1, 1), (-1, 0, 1, 0)])
def test_members_one_ulp_apart_follow_the_formula(magnitude: float, sides: tuple[int, ...]) -> None:
    steps = np.array(sides, float)
    x = magnitude + steps * np.spacing(magnitude)
    for eps in (0.0, 1e-6):
        y = segments.segment_normalise(x, np.zeros(x.size, np.int64), 1, eps=eps)
        exact = (steps - steps.mean()) / (steps.std(ddof=1) + eps / np.spacing(magnitude))
        np.testing.assert_allclose(y, exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [3, 5_000])
def test_an_outlier_that_comes_first_costs_no_digits(size: int) -> None:
    rest = np.random.default_rng(5).normal(size=size)
    x = np.concatenate([[1e7], rest])
    got = segments.segment_std(x, np.zeros(x.size, np.int64), 1)[0]
    mean = math.fsum(x) / x.size
    exact = math.sqrt(math.fsum((v - mean) ** 2 for v in x) / (x.size - 1))
    assert abs(got / exact - 1) < 1e-13


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2)), max_size=40))
def test_factorize_is_a_dict(rows: list[tuple[int, int, int]]) -> None:
    keys = [np.array([row[i] for row in rows], np.int64) for i in range(3)]
    ids, n = segments.factorize(*keys)
    expected, count = reference.factorize(*keys)
    np.testing.assert_array_equal(ids, expected)
    assert n == count


@pytest.mark.parametrize("distinct", [40, 3_000, 200_000])
@pytest.mark.parametrize("sorted_first", [True, False])
def test_factorize_on_many_rows(distinct: int, sorted_first: bool) -> None:
    rng = np.random.default_rng(distinct)
    a = rng.integers(0, 50, 60_000)
    a = np.sort(a) if sorted_first else a
    b = rng.integers(0, distinct, a.size) - 17
    expected = reference.factorize(a, b)
    for keys in ((a, b), (a, b * 2**40), (a * 2**50, b)):
        ids, n = segments.factorize(*keys)
        assert n == expected[1]
        np.testing.assert_array_equal(ids, expected[0])


@given(st.lists(st.lists(_VALUES, max_size=8), min_size=1, max_size=5), st.floats(-1.0, 1.0))
def test_scans_are_their_sums(trajectories: list[list[float]], decay: float) -> None:
    x = np.array([v for t in trajectories for v in t])
    offsets = np.cumsum([0, *map(len, trajectories)])
    rates = np.linspace(-decay, decay, x.size)
    for given_decay in (decay, rates):
        for name in ("scan", "reverse_scan"):
            got = getattr(segments, name)(x, given_decay, offsets)
            np.testing.assert_allclose(got, getattr(reference, name)(x, given_decay, offsets), rtol=1e-9, atol=1e-9)


@given(forests(), st.sampled_from(["mean", "sum", "max", "min"]), st.floats(-1.0, 1.0))
def test_backup_is_the_recursion(previous: np.ndarray, how: Any, decay: float) -> None:
    x = np.cos(np.arange(previous.size) * 1.7)
    got = segments.backup(x, previous, how, decay)
    np.testing.assert_allclose(got, reference.backup(x, previous, how, decay), rtol=1e-10, atol=1e-10)


def test_backup_of_equal_children_is_exact() -> None:
    previous = np.array([-1, *[0] * 7])
    assert segments.backup(np.array([0.0, *[0.1] * 7]), previous, "mean")[0] == 0.1
    assert sum([0.1] * 7) / 7 != 0.1  # the plain mean is not


@given(grouped())
def test_rank_is_sorted_order(given_rows: tuple[np.ndarray, np.ndarray, int]) -> None:
    x, ids, n = given_rows
    rank = segments.segment_rank(x.round(), ids, n)
    np.testing.assert_array_equal(rank, reference.segment_rank(x.round(), ids, n))


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=5),
    st.integers(0, 4),
    st.data(),
)
def test_context_ids_are_windows(episodes: list[list[int]], k: int, data: st.DataObject) -> None:
    lengths = np.cumsum([0, *map(len, episodes)])
    parent = [-1] + [data.draw(st.integers(-1, int(lengths[i]) - 1)) for i in range(1, len(episodes))]
    observation = np.concatenate([np.array(e) for e in episodes])
    rollouts = Rollouts.flat(
        offsets=lengths,
        group=np.zeros(len(episodes), int),
        parent=np.array(parent),
        observation=observation,
        reward=np.zeros(observation.size),
    )
    ids, n = segments.context_ids(rollouts, k)
    table: dict[tuple[int, ...], int] = {}
    windows = reference.windows(observation, rollouts.previous, k)
    np.testing.assert_array_equal(ids, [table.setdefault(w, len(table)) for w in windows])
    assert n == len(table)


def test_a_window_cut_short_is_no_full_one() -> None:
    rollouts = Rollouts.flat(offsets=[0, 3], group=[0], observation=[0, 0, 0], reward=np.zeros(3))
    assert segments.context_ids(rollouts, 1)[0].tolist() == [0, 1, 1]
    padded = segments.factorize(segments.shift(rollouts.observation, rollouts.offsets, 1, 0), rollouts.observation)
    assert padded[1] == 1  # keys filled up with a real observation cannot tell the start
