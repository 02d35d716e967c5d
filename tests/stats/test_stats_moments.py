"""Streaming moments: the same bits under any chunking and merging, and the right numbers."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.stats.moments import BLOCK, Moments, merge
from creditsim.stats.sums import Summary


def bits(moments: Moments) -> bytes:
    summary = moments.summary()
    numbers = [summary.mean, summary.m2, summary.m3, summary.m4]
    if summary.cross is not None:
        numbers.append(summary.cross)
    held = b"".join(array.tobytes() for array in moments.to_arrays().values())
    return held + b"".join(np.ascontiguousarray(x).tobytes() for x in numbers)


def values_of(n: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.normal(size=(n, *shape)) * 10.0 ** rng.integers(-3, 4, size=(n, *shape))


def naive(chunks: list[np.ndarray]) -> bytes:
    """The broken twin: mean and M2 of each chunk, merged in the order they come."""
    n, mean, m2 = 0, np.zeros(chunks[0].shape[1:]), np.zeros(chunks[0].shape[1:])
    for chunk in chunks:
        k, d = chunk.shape[0], chunk.mean(axis=0) - mean
        m2 = m2 + chunk.var(axis=0) * k + d * d * n * k / (n + k)
        n, mean = n + k, mean + d * k / (n + k)
    return mean.tobytes() + m2.tobytes()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_chunking_order_and_merge_tree_gives_the_same_bits(data: st.DataObject) -> None:
    block = data.draw(st.sampled_from([1, 2, 4, 8]))
    cross = data.draw(st.booleans())
    first = data.draw(st.integers(0, 40))
    n = data.draw(st.integers(1, 90))
    x = values_of(n, (2,), seed=n)
    cuts = sorted(data.draw(st.sets(st.integers(1, n), max_size=8)) | {0, n})
    chunks = list(pairwise(cuts))
    chunks = data.draw(st.permutations(chunks))
    empty = Moments((2,), cross, block)
    whole = empty.add(x, first)

    in_turn = empty
    for a, b in chunks:
        in_turn = in_turn.add(x[a:b], first + a)
    assert bits(in_turn) == bits(whole)

    parts = [empty.add(x[a:b], first + a) for a, b in chunks]
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i].merged(parts[i + 1])]
    assert bits(parts[0]) == bits(whole)
    assert parts[0].n == n
    assert parts[0].replicates == [(first, first + n)]


def test_a_merge_that_depends_on_chunks_fails_the_same_check() -> None:
    x = values_of(1000, (2,), seed=3)
    results = {naive(np.array_split(x, parts)) for parts in (1, 3, 7, 10)}
    assert len(results) > 1
    ours = {bits(merge(Moments((2,)).add(c, 0) for c in [x]))}
    for parts in (3, 7, 10):
        starts = np.cumsum([0, *(len(c) for c in np.array_split(x, parts))])
        ours.add(
            bits(merge(Moments((2,)).add(c, int(s)) for c, s in zip(np.array_split(x, parts), starts, strict=False)))
        )
    assert len(ours) == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_finishing_in_any_order_give_the_same_bits(threads: int) -> None:
    x = values_of(5000, (3,), seed=8)
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(Moments((3,), True).add, x[a : a + 137], a) for a in range(0, 5000, 137)]
        parts = [job.result() for job in jobs]
    order = np.random.Generator(np.random.Philox(threads)).permutation(len(parts))
    assert bits(merge(parts[i] for i in order)) == bits(Moments((3,), True).add(x, 0))


def test_a_pass_limited_in_memory_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    x = values_of(40 * BLOCK + 17, (2,), seed=5)
    whole = bits(Moments((2,), True).add(x, 100))
    monkeypatch.setattr("creditsim.stats.moments._ROOM", 1)
    assert bits(Moments((2,), True).add(x, 100)) == whole


def test_bits_do_not_depend_on_neighbouring_coordinates_or_memory_layout() -> None:
    x = values_of(700, (5,), seed=2)
    alone = Moments(()).add(x[:, 3], 0).summary()
    beside = Moments((5,)).add(np.asfortranarray(x), 0).summary()
    assert alone.mean.tobytes() == beside.mean[3].tobytes()
    assert alone.m4.tobytes() == beside.m4[3].tobytes()


def test_the_number_held_is_small() -> None:
    moments = Moments(()).add(np.zeros(1000 * BLOCK + 5), 3)
    assert len(moments.nodes) <= 2 * math.ceil(math.log2(1000))
    assert len(moments.partial) == 2


def exact(x: np.ndarray) -> tuple[float, float, float, float]:
    q = [Fraction(v) for v in x.tolist()]
    mean = sum(q) / len(q)
    return tuple(float(v) for v in (mean, *(sum((v - mean) ** k for v in q) for k in (2, 3, 4))))  # pyright: ignore


@pytest.mark.parametrize("n", [1, 2, 5, 255, 256, 257, 1000])
def test_moments_equal_exact_rational_arithmetic(n: int) -> None:
    x = np.random.Generator(np.random.Philox(n)).normal(size=n) + 3.0
    s = Moments(()).add(x, 0).summary()
    for got, want in zip((s.mean, s.m2, s.m3, s.m4), exact(x), strict=True):
        # Rounding of n terms in a tree of depth log2 n + a few, each about one ulp of the absolute sum.
        scale = max(float((np.abs(x - x.mean()) ** 4).sum()), float((x - x.mean()) @ (x - x.mean())), 3.0)
        assert abs(float(got) - want) <= 1e-14 * scale


def test_an_offset_far_above_the_spread_costs_no_more_than_its_own_rounding() -> None:
    x = np.random.Generator(np.random.Philox(1)).normal(size=3000) * 1e-3 + 1e6
    s = Moments(()).add(x, 0).summary()
    _, m2, _, m4 = exact(x)
    # Means are rounded to an ulp of 1e6, 1.2e-10, against a spread of 1e-3: relative 1e-7, squared where centred.
    assert abs(float(s.m2) / m2 - 1) < 1e-7
    assert abs(float(s.m4) / m4 - 1) < 1e-6
    textbook = float((x * x).sum() - x.sum() ** 2 / x.size)
    assert abs(textbook / m2 - 1) > 1e-2


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e300, 1e300), st.integers(1, 700), st.integers(0, 300))
def test_equal_values_have_exactly_zero_spread(value: float, n: int, first: int) -> None:
    s = Moments(()).add(np.full(n, value), first).summary()
    assert float(s.mean) == value
    assert (float(s.m2), float(s.m3), float(s.m4)) == (0.0, 0.0, 0.0)


def test_covariance_and_its_diagonal() -> None:
    x = values_of(600, (2, 2), seed=11)
    s = Moments((2, 2), cross=True).add(x, 0).summary()
    want = np.cov(x.reshape(600, 4).T).reshape(2, 2, 2, 2)
    np.testing.assert_allclose(s.covariance(), want, rtol=1e-11, atol=1e-9 * np.abs(want).max())
    diagonal = np.einsum("ijij->ij", s.covariance())
    assert diagonal.tobytes() == s.variance().tobytes()


def test_ddof_shapes_and_standard_errors() -> None:
    x = np.array([1.0, 2.0, 4.0, 9.0])
    s = Moments(()).add(x, 0).summary()
    assert float(s.variance()) == pytest.approx(x.var(ddof=1), rel=1e-15)
    assert float(s.variance(ddof=0)) == pytest.approx(x.var(), rel=1e-15)
    assert float(s.standard_error()) == pytest.approx(x.std(ddof=1) / 2, rel=1e-15)
    d = x - x.mean()
    assert float(s.skewness()) == pytest.approx((d**3).mean() / (d**2).mean() ** 1.5)
    assert float(s.kurtosis()) == pytest.approx((d**4).mean() / (d**2).mean() ** 2)


def test_standard_error_of_a_variance_equals_enumeration() -> None:
    # Exact twin: Var(s^2) over all 4^6 samples of a four-point law, with the law's own moments put in.
    law = np.array([0.0, 1.0, 1.0, 5.0])
    n = 6
    grids = np.stack(np.meshgrid(*[law] * n), axis=-1).reshape(-1, n)
    truth = float(grids.var(axis=1, ddof=1).var())
    d = law - law.mean()
    sigma2, mu4 = float((d**2).mean()), float((d**4).mean())
    formula = Summary(n, *(np.asarray(v) for v in (0.0, sigma2 * (n - 1), 0.0, mu4 * n))).variance_standard_error() ** 2
    assert float(formula) == pytest.approx(truth, rel=1e-12)


def test_degenerate_counts() -> None:
    empty = Moments((2,), cross=True).summary()
    assert empty.n == 0 and np.isnan(empty.mean).all() and np.isnan(empty.variance()).all()
    one = Moments(()).add(np.array([3.0]), 9).summary()
    assert one.n == 1 and float(one.mean) == 3.0 and np.isnan(one.variance()) and np.isnan(one.standard_error())
    assert np.isnan(one.variance_standard_error())
    assert Moments(()).add(np.zeros(0), 4).n == 0


def test_gaps_are_kept_apart_and_filled_later() -> None:
    x = values_of(64, (), seed=1)
    left = Moments((), block=8).add(x[:5], 0).add(x[20:41], 20)
    assert left.replicates == [(0, 5), (20, 41)] and left.n == 26
    full = left.add(x[5:20], 5).add(x[41:], 41)
    assert bits(full) == bits(Moments((), block=8).add(x, 0))


def test_arrays_bring_back_the_same_bits_and_go_on() -> None:
    x = values_of(900, (2,), seed=7)
    half = Moments((2,), True).add(x[:450], 30)
    again = Moments.from_arrays({name: value.copy() for name, value in half.to_arrays().items()})
    assert bits(again) == bits(half)
    assert bits(again.add(x[450:], 480)) == bits(Moments((2,), True).add(x, 30))
    nothing = Moments.from_arrays(Moments((3,), True).to_arrays())
    assert nothing.shape == (3,) and nothing.n == 0


def test_bad_input_gets_one_line() -> None:
    m = Moments((2,)).add(np.zeros((3, 2)), 5)
    with pytest.raises(InputError, match="values: got shape"):
        m.add(np.zeros((3, 3)), 8)
    with pytest.raises(InputError, match="replicate 9"):
        m.add(np.array([[0.0, 1.0], [np.nan, 0.0]]), 8)
    with pytest.raises(InputError, match="number 7 twice"):
        m.add(np.zeros((4, 2)), 7)
    with pytest.raises(InputError, match="number 5 twice"):
        m.merged(m)
    with pytest.raises(InputError, match="moments cross"):
        m.merged(Moments((2,), cross=True))
    with pytest.raises(InputError, match="power of two"):
        Moments((), block=3)
    with pytest.raises(InputError, match="replicate number"):
        m.add(np.zeros((1, 2)), -1)
    with pytest.raises(InputError, match="nothing to merge"):
        merge([])
    with pytest.raises(InputError, match="no array cross"):
        Moments.from_arrays({k: v for k, v in m.to_arrays().items() if k != "cross"})
    with pytest.raises(InputError, match="cross-moments"):
        m.summary().covariance()
