"""Holm against the closure of Bonferroni tests, simultaneous levels, the budget."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from creditsim.errors import InputError
from creditsim.stats.intervals import t_interval
from creditsim.stats.multiple import allocate, bonferroni, holm

P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.floats(0, 0.05)), min_size=1, max_size=6)


def closure(p: np.ndarray, alpha: float) -> np.ndarray:
    """Closed testing: reject i where Bonferroni rejects every intersection that contains i (Holm's definition)."""
    m = p.size
    sets = [set(c) for k in range(1, m + 1) for c in combinations(range(m), k)]
    return np.array([all(min(p[j] for j in c) <= alpha / len(c) for c in sets if i in c) for i in range(m)])


@settings(max_examples=300, deadline=None)
@given(P_VALUES, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_is_the_closure_of_bonferroni(values: list[float], alpha: float) -> None:
    p = np.array(values)
    result = holm(p, alpha=alpha)
    # A product that lands on alpha to the last digit may round either way.
    if np.abs(result.adjusted - alpha).min() > 1e-12:
        np.testing.assert_array_equal(result.reject, closure(p, alpha))
    assert (result.adjusted >= p).all() and (result.adjusted <= 1).all()
    assert result.alpha == alpha


@settings(max_examples=100, deadline=None)
@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_order(values: list[float], random: object) -> None:
    p = np.array(values)
    order = np.random.Generator(np.random.Philox(len(values))).permutation(p.size)
    np.testing.assert_array_equal(holm(p[order]).adjusted, holm(p).adjusted[order])


def test_known_case_and_degenerate_input() -> None:
    result = holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(result.adjusted, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(result.reject, [True, False, False, True])
    assert holm([]).reject.size == 0
    for bad in ([0.1, np.nan], [1.2], [-0.1]):
        with pytest.raises(InputError, match="p_values"):
            holm(bad)
    with pytest.raises(InputError, match="p_values"):
        holm([[0.1]])


def family_errors(adjust: bool, runs: int = 4000, m: int = 20) -> int:
    g = np.random.Generator(np.random.Philox(5))
    p = g.random((runs, m))
    p[:, m // 2 :] **= 8  # half the hypotheses are false and get small p-values
    rejected = np.array([holm(row).reject for row in p]) if adjust else p <= 0.05
    return int(rejected[:, : m // 2].any(axis=1).sum())


def test_family_error_is_controlled_and_unadjusted_is_not() -> None:
    limit = int(binom.isf(1e-6, 4000, 0.05))
    assert family_errors(adjust=True) <= limit
    assert family_errors(adjust=False) > limit


def test_bonferroni_intervals_cover_together() -> None:
    x = np.random.Generator(np.random.Philox(2)).normal(size=(12, 4000, 10))
    x += np.random.Generator(np.random.Philox(3)).normal(size=(12, 4000, 1))  # dependent coordinates
    limit = int(binom.isf(1e-6, 4000, 0.05))

    def misses(alpha: float) -> int:
        i = t_interval(12, x.mean(axis=0), x.var(axis=0, ddof=1), alpha=alpha)
        return int((~i.contains(0.0)).any(axis=1).sum())

    assert misses(bonferroni(0.05, 10)) <= limit
    assert misses(0.05) > limit
    assert bonferroni(0.05, 1) == 0.05
    with pytest.raises(InputError, match="count"):
        bonferroni(0.05, 0)


def test_allocation_spends_the_budget() -> None:
    shares = allocate(0.05, {"a": 1.0, "b": 3.0, "exact": 0.0})
    assert shares == pytest.approx({"a": 0.0125, "b": 0.0375, "exact": 0.0})
    for bad in ({}, {"a": 0.0}, {"a": -1.0, "b": 3.0}, {"a": float("nan")}):
        with pytest.raises(InputError, match="weights"):
            allocate(0.05, bad)
