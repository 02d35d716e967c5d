"""Looks and widths of a variance cell: the schedule, and each half-width against its formula written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw
from scipy.stats import norm
from scipy.stats import t as student

from creditsim.study.looks import Width, looks
from creditsim.study.memory import Footprint

ALPHAS = (0.2, 0.05, 1e-3)


@given(st.integers(1, 2_000_000))
def test_looks_rise_and_end_at_the_budget(replicates: int) -> None:
    at = list(looks(replicates, True))
    assert at[-1] == replicates
    assert all(a < b for a, b in itertools.pairwise(at))
    assert all(look % 256 == 0 and look >= 1024 for look in at[:-1])
    assert all(1.25 * a <= b < 1.25 * a + 256 for a, b in itertools.pairwise(at[:-1]))
    assert list(looks(replicates, False)) == [replicates]


@given(st.integers(1024, 10**6), st.integers(1, 10**6))
def test_a_larger_budget_looks_at_the_same_places_first(replicates: int, more: int) -> None:
    early, late = list(looks(replicates, True))[:-1], list(looks(replicates + more, True))
    assert late[: len(early)] == early


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [2, 10, 5000])
def test_one_look_is_students(n: int, alpha: float) -> None:
    width = Width(n, n, alpha, False)
    assert width.mean() == pytest.approx(student.ppf(1 - alpha / 2, n - 1), rel=1e-9)
    assert width.ball(7) == pytest.approx(float(width.mean()), rel=1e-12)
    assert width.jackknife(16) == pytest.approx(student.ppf(1 - alpha / 2, 15), rel=1e-9)
    assert width.method == "t"
    few = width.mean(np.array([0, 1, 3]))
    assert few[0] == math.inf
    assert few[1:] == pytest.approx(student.ppf(1 - alpha / 2, [1, 3]), rel=1e-9)


def mixture(n: float, optimal: float, alpha: float) -> float:
    """Half-width of the normal mixture in standard errors: sqrt((1 + rho/n) ln((1 + n/rho) / alpha^2))."""
    tuned = 0.05
    rho = optimal / float(-lambertw(-(tuned**2) / math.e, -1).real - 1.0)
    return math.sqrt((1.0 + rho / n) * math.log((1.0 + n / rho) / alpha**2))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("n", [1024, 4096, 60_000])
def test_in_sequence_it_is_the_mixture_written_out(n: int, alpha: float) -> None:
    width = Width(n, 60_000, alpha, True)
    assert float(width.mean()) == pytest.approx(mixture(n, 15_000, alpha), rel=1e-6)
    assert float(width.mean()) > float(Width(n, 60_000, alpha, False).mean())
    assert width.method != "t"


def test_the_mixture_is_narrowest_near_the_place_it_is_made_for() -> None:
    budget = 400_000
    grid = np.array([2_000, 10_000, 100_000, 400_000])
    relative = [mixture(n, n, 0.05) / mixture(n, budget / 4, 0.05) for n in grid]
    assert relative[2] == pytest.approx(1.0, abs=1e-12)
    assert max(relative) == pytest.approx(1.0, abs=1e-12)
    assert relative[0] < 0.95  # far from it, another tuning would be better


@settings(max_examples=40)
@given(st.floats(1e-6, 0.2), st.floats(0.05, 0.95), st.integers(1024, 10**5), st.booleans(), st.integers(1, 40))
def test_widths_grow_as_alpha_falls(alpha: float, share: float, n: int, sequential: bool, dimensions: int) -> None:
    loose, strict = Width(n, 10**5, alpha, sequential), Width(n, 10**5, alpha * share, sequential)
    assert float(strict.mean()) > float(loose.mean())
    assert strict.ball(dimensions) > loose.ball(dimensions)
    assert strict.jackknife(16) > loose.jackknife(16)
    assert loose.halved() == Width(n, 10**5, alpha / 2, sequential)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1024, 10**5), st.floats(1e-6, 0.2))
def test_the_ball_in_sequence_grows_with_the_dimension_and_holds_one_look(p: int, n: int, alpha: float) -> None:
    width = Width(n, 10**5, alpha, True)
    assert width.ball(p + 1) > width.ball(p)
    # It covers at all looks, so it is wider than what one normal coordinate needs at one look.
    assert width.ball(p) > norm.ppf(1 - alpha / 2)


def test_the_jackknife_in_sequence_is_students_times_the_price_of_looking() -> None:
    width = Width(5_000, 20_000, 0.05, True)
    price = mixture(5_000, 5_000, 0.05) / norm.ppf(0.975)
    assert price > 1.3
    assert width.jackknife(16) == pytest.approx(student.ppf(0.975, 15) * price, rel=1e-6)


@given(st.integers(0, 10**9), st.floats(0, 10**7), st.integers(1, 10**10))
def test_the_largest_chunk_fits_and_one_more_does_not(fixed: int, per_replicate: float, limit: int) -> None:
    need = Footprint(fixed, per_replicate)
    chunk = need.largest_chunk(limit)
    assert chunk >= 1
    if need.bytes(1) <= limit:
        assert need.bytes(chunk) <= limit + 1
    if per_replicate >= 1.0 and need.bytes(1) <= limit:
        assert need.fixed + need.per_replicate * (chunk + 1) > limit * (1 - 1e-12)


def test_predicted_bytes_are_a_line() -> None:
    need = Footprint(1000, 2.5)
    assert [need.bytes(chunk) for chunk in (0, 1, 2, 4)] == [1000, 1002, 1005, 1010]
    assert need.largest_chunk(1010) == 4
    assert need.largest_chunk(10) == 1  # the caller refuses what one replicate cannot have
    assert Footprint(0, 0.0).largest_chunk(7) == 7
