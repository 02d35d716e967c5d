"""Closed forms of what normalisation does to a mix of tasks, against the estimators on every outcome."""

from __future__ import annotations

from math import comb, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from theory.mixes import CREDITS, MIX_SCALES, enumerated_factors, mix_degrees, mix_factors
from theory.shared import angle, binomial


@pytest.mark.parametrize("scale", MIX_SCALES)
@pytest.mark.parametrize(("chance", "n"), [((0.1, 0.4, 0.8), 3), ((0.05, 0.6), 5), ((0.3,), 8)])
def test_sums_are_the_estimators(scale: str, chance: tuple[float, ...], n: int):
    want = enumerated_factors(CREDITS[scale], chance, n)
    np.testing.assert_allclose(mix_factors(chance, n, 1, scale), want, rtol=1e-11, atol=1e-12)


def test_copies_are_tasks_of_equal_difficulty():
    """Two groups of each task are a mix in which every task stands twice."""
    for scale in MIX_SCALES:
        once = mix_factors((0.1, 0.1, 0.7, 0.7), 3, 1, scale)
        twice = mix_factors((0.1, 0.7), 3, 2, scale)
        np.testing.assert_allclose(once, np.repeat(twice, 2), rtol=1e-12)


@pytest.mark.parametrize("scale", ["group", "batch", "whiten"])
def test_another_scale_is_seen(scale: str):
    """The broken twin of the comparison above: the sums of one scale are not the estimator of another."""
    chance = (0.1, 0.4, 0.8)
    for other in set(MIX_SCALES) - {scale}:
        assert np.abs(mix_factors(chance, 3, 1, scale) - enumerated_factors(CREDITS[other], chance, 3)).max() > 1e-3


def test_without_deviation_every_task_gets_the_same_share():
    np.testing.assert_allclose(mix_factors((0.02, 0.3, 0.9), 8, 4, "none"), 7 / 8, rtol=1e-12)
    assert mix_degrees(8, 4, "none") < 1e-9


def test_groups_of_two_have_one_deviation():
    np.testing.assert_allclose(mix_factors((0.02, 0.3, 0.9), 2, 1, "group"), sqrt(2) / 2, rtol=1e-12)


@given(p=st.floats(0.01, 0.99), n=st.integers(2, 40))
def test_the_factor_stays_below_both_bounds(p: float, n: int):
    factor = mix_factors([p], n, 1, "group")[0]
    assert factor <= min((n - 1) / sqrt(n), (n - 1) / n / sqrt(p * (1 - p))) * (1 + 1e-12)


def test_one_group_is_a_batch():
    for p in (0.1, 0.5):
        np.testing.assert_allclose(mix_factors([p], 6, 1, "batch"), mix_factors([p], 6, 1, "group"), rtol=1e-12)


def test_an_unknown_scale_is_named():
    with pytest.raises(InputError, match=r"^scale: got 'bach'.*nearest 'batch'|^scale: got 'bach'"):
        mix_factors([0.5], 2, 1, "bach")


@given(n=st.integers(0, 30), p=st.floats(0.0, 1.0))
def test_binomial(n: int, p: float):
    want = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    np.testing.assert_allclose(binomial(n, p), want, rtol=1e-10, atol=1e-300)


def test_angle_of_nearly_equal_vectors():
    """An arc cosine would return 0 here: 1 - 5e-17 rounds to 1."""
    assert angle(np.array([1.0, 0.0]), np.array([3.0, 3e-8])) == pytest.approx(1e-8, rel=1e-9)
    assert angle(np.array([1.0, 0.0]), np.array([-1.0, 0.0])) == pytest.approx(np.pi)
