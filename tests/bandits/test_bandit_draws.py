"""The KL index against bisection, and normal, gamma and beta draws against their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from creditsim.bandits.beta import ATTEMPTS, beta_samples, gamma, gamma_at_once, gamma_from, normal_from, ziggurat
from creditsim.bandits.bounds import bernoulli_kl
from creditsim.bandits.kl import divergence, entropy, upper_index
from creditsim.jit import kernel
from creditsim.rng import key_words, philox4x32

KS_ALPHA = 1e-6
KEY = key_words(11)
STREAM = np.uint64(3)


def bisected(mean: float, level: float) -> float:
    low, high = mean, 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        low, high = (middle, high) if float(bernoulli_kl(mean, middle)) <= level else (low, middle)
    return low


@given(st.floats(0.0, 1.0), st.floats(1e-6, 60.0))
def test_index_agrees_with_bisection(mean: float, level: float) -> None:
    assert upper_index(mean, level) == pytest.approx(bisected(mean, level), abs=1e-10)


def test_index_agrees_with_bisection_on_lattice_means() -> None:
    worst = 0.0
    for n in (1, 2, 3, 10, 100, 10_000):
        for s in np.unique(np.linspace(0, n, 12).astype(int)):
            for t in (2, 10, 10**4, 10**9):
                level = math.log(t) / n
                worst = max(worst, abs(upper_index(s / n, level) - bisected(s / n, level)))
    assert worst < 1e-10


def test_a_saturated_newton_start_would_be_caught() -> None:
    def unguarded(mean: float, level: float) -> float:
        return min(mean + math.sqrt(level / 2.0), 1.0)  # where a start at Pinsker's bound stops

    assert abs(unguarded(0.5, 0.5) - bisected(0.5, 0.5)) > 0.05


def test_divergence_and_entropy_at_the_ends() -> None:
    assert divergence(0.0, 0.3) == pytest.approx(-math.log(0.7)) and divergence(1.0, 0.3) == pytest.approx(
        -math.log(0.3)
    )
    assert divergence(0.3, 1.0) == math.inf and divergence(0.3, 0.0) == math.inf
    assert divergence(0.0, 0.0) == divergence(1.0, 1.0) == 0.0
    assert entropy(0.0) == entropy(1.0) == 0.0 and entropy(0.5) == pytest.approx(math.log(2))
    np.testing.assert_allclose(divergence(0.3, 0.5), bernoulli_kl(0.3, 0.5))


def test_ziggurat_layers_have_one_area() -> None:
    x, f = ziggurat()
    edge = x[1]
    tail = math.sqrt(math.pi / 2) * math.erfc(edge / math.sqrt(2))
    area = edge * f[1] + tail
    np.testing.assert_allclose(x[1:-1] * np.diff(f[1:]), area, rtol=1e-12)
    assert x[0] * f[1] == pytest.approx(area) and f[-1] == 1.0 and x[-1] == 0.0
    condition = brentq(lambda r: _closing(r), 3.6, 3.7, xtol=1e-14)
    assert condition == pytest.approx(edge, abs=1e-12)


def _closing(r: float) -> float:
    height = math.exp(-r * r / 2)
    area, x = r * height + math.sqrt(math.pi / 2) * math.erfc(r / math.sqrt(2)), r
    for _ in range(2, 256):
        above = area / x + math.exp(-x * x / 2)
        if above >= 1.0:
            return 1.0
        x = math.sqrt(-2 * math.log(above))
    return area / x + math.exp(-x * x / 2) - 1.0


@kernel
def _normals(out, stream, k0, k1):
    from_words = normal_from
    for i in range(out.shape[0]):
        w0, w1, _, _ = _block(np.uint64(i), np.uint64(0), stream, np.uint64(5), k0, k1)
        out[i] = from_words(w0, w1, i, 0, stream, 1, k0, k1)


_block = kernel(philox4x32)


@pytest.mark.parametrize("distorted", [False, True])
def test_normals_have_the_normal_law(distorted: bool) -> None:
    out = np.zeros(200_000)
    _normals(out, STREAM, *KEY)
    if distorted:
        out *= 1.03  # the broken twin: three per cent too wide
    p = stats.kstest(out, "norm").pvalue
    assert (p < KS_ALPHA) == distorted
    if not distorted:
        beyond = int((np.abs(out) > 3.6541528853610088).sum())
        expected = 200_000 * 2 * stats.norm.sf(3.6541528853610088)
        assert abs(beyond - expected) < 6 * math.sqrt(expected)


@pytest.mark.parametrize(
    ("a", "b"), [(1.0, 1.0), (1.0, 7.0), (0.5, 0.5), (0.3, 2.0), (3.0, 2.0), (120.0, 45.0), (4e5, 3.0)]
)
def test_betas_pass_kolmogorov_and_smirnov(a: float, b: float) -> None:
    out = np.zeros(100_000)
    beta_samples(out, a, b, 17, STREAM, *KEY)
    assert stats.kstest(out, "beta", (a, b)).pvalue > KS_ALPHA
    assert stats.kstest(out, "beta", (a * 1.05 + 0.02, b)).pvalue < KS_ALPHA


def test_what_is_accepted_at_once_is_what_the_long_way_gives() -> None:
    rng = np.random.default_rng(0)
    taken = 0
    for shape in (1.0, 2.0, 5.5, 300.0):
        d = shape - 1.0 / 3.0
        c = 1.0 / math.sqrt(9.0 * d)
        for words in rng.integers(0, 2**32, (500, 4)).astype(np.uint64):
            at_once = gamma_at_once(d, c, *words)
            if at_once >= 0.0:
                taken += 1
                assert at_once == pytest.approx(gamma_from(shape, *words, 0, 0, STREAM, 0, *KEY), rel=1e-14)
    assert taken > 1800


def test_gammas_of_one_pull_are_independent() -> None:
    pairs = np.array(
        [[gamma(2.0, r, 5, STREAM, 0, *KEY), gamma(2.0, r, 5, STREAM, ATTEMPTS, *KEY)] for r in range(5000)]
    )
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / math.sqrt(5000)
