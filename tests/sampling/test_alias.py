"""Alias tables: the law in the table is the law asked for, to the last unit, and no draw leaves the table."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import TooLargeError
from creditsim.sampling.alias import LEVEL_BITS, AliasTables, alias_tables, draw

UNIT = 2.0**-LEVEL_BITS
TOP_LEVEL = np.uint64((1 << LEVEL_BITS) - 1)


def within_a_unit(tables: AliasTables, p: np.ndarray) -> bool:
    error = np.abs(tables.law() - p).max() * tables.n_buckets / UNIT
    return bool(error <= 1.0 + 1e-3 and (tables.law().sum(axis=1) == 1.0).all())


@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1.0)), min_size=1, max_size=40).filter(
        lambda w: sum(w) > 0
    )
)
def test_law_is_within_a_unit_and_zero_stays_zero(weights: list[float]) -> None:
    p = np.array([weights]) / np.sum(weights)
    tables = alias_tables(p)
    assert within_a_unit(tables, p)
    assert (tables.law()[p == 0] == 0).all()
    assert tables.n_buckets == 1 << (len(weights) - 1).bit_length()
    assert tables.threshold.max() <= 1 << LEVEL_BITS


def test_law_by_exact_fractions() -> None:
    p = np.random.default_rng(0).dirichlet(np.full(11, 0.4), size=20)
    tables = alias_tables(p)
    for row in range(20):
        mass = [Fraction(0)] * 11
        for j in range(tables.n_buckets):
            own = Fraction(int(tables.threshold[row, j]), 1 << LEVEL_BITS)
            if own:
                mass[j] += own / tables.n_buckets
            if own < 1:
                mass[int(tables.alias[row, j])] += (1 - own) / tables.n_buckets
        assert sum(mass) == 1
        assert [float(m) for m in mass] == tables.law()[row].tolist()


def test_law_by_drawing_every_bucket_at_both_sides_of_its_threshold() -> None:
    """`draw` switches exactly at the threshold, so the mass of a slot is what `law` says it is."""
    p = np.random.default_rng(1).dirichlet(np.ones(5), size=3)
    tables = alias_tables(p)
    flat = tables.threshold.reshape(-1)
    for index, threshold in enumerate(flat.tolist()):
        row, bucket = np.uint64(index - index % 8), np.uint64(index % 8)
        if threshold:
            assert draw(row, bucket, np.uint64(threshold - 1), flat) == 2 * index
        if threshold < 1 << LEVEL_BITS:
            assert draw(row, bucket, np.uint64(threshold), flat) == 2 * index + 1


def test_wrong_pairing_is_caught() -> None:
    """Broken twins: an alias off by one bucket, a threshold of one outcome given to another."""
    p = np.random.default_rng(2).dirichlet(np.ones(8), size=4)
    good = alias_tables(p)
    assert within_a_unit(good, p)
    assert not within_a_unit(AliasTables(good.threshold, (good.alias + 1) % 8, 8), p)
    assert not within_a_unit(AliasTables(np.roll(good.threshold, 1, axis=1), good.alias, 8), p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_last_word_stays_inside(dtype: type) -> None:
    """10^5 rows whose cumulative sum rounds below or above 1: the largest bucket and level draw a possible outcome."""
    p = np.random.default_rng(3).dirichlet(np.ones(10), size=100_000).astype(dtype)
    p[:, -1] = 0.0
    p = (p / p.sum(axis=1, keepdims=True, dtype=dtype)).astype(np.float64)
    tables = alias_tables(p)
    flat, outcome = tables.threshold.reshape(-1), tables.slot_outcome
    rows = np.arange(100_000, dtype=np.uint64) * np.uint64(tables.n_buckets)
    for bucket in (0, tables.n_buckets - 1):
        for level in (np.uint64(0), TOP_LEVEL):
            index = rows + np.uint64(bucket)
            slot = 2 * index + (level >= flat[index])
            drawn = outcome[slot.astype(np.int64)]
            assert drawn.min() >= 0
            assert drawn.max() < 9
            assert (p[np.arange(100_000), drawn] > 0).all()


def test_sure_outcomes() -> None:
    tables = alias_tables(np.eye(6))
    assert np.array_equal(tables.law(), np.eye(6))
    assert np.array_equal(alias_tables(np.ones((2, 1))).law(), np.ones((2, 1)))


def test_too_many_outcomes() -> None:
    with pytest.raises(TooLargeError, match="alias table: got 1048577 outcomes"):
        alias_tables(np.broadcast_to(1.0, (1, (1 << 20) + 1)))
