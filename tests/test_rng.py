"""Philox against its published answers, streams against each other, and the doubles made from words."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from creditsim import rng
from creditsim.errors import InputError
from creditsim.rng import Purpose, derive_seed, key_words, normals, philox4x32, uniform53, uniforms, words

# Random123 known-answer vectors for philox4x32-10: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def block(function, counter: str, key: str) -> list[int]:
    values = [np.uint64(int(word, 16)) for word in f"{counter} {key}".split()]
    return [int(word) for word in function(*values)]


def answers(function) -> bool:
    return all(block(function, c, k) == [int(w, 16) for w in out.split()] for c, k, out in KNOWN)


def compiled(function):
    """Compile a scalar source the way library kernels see it."""
    import numba

    inner: Any = numba.njit(function)
    return numba.njit(lambda a, b, c, d, e, f: inner(a, b, c, d, e, f))


def with_globals(function: FunctionType, **changed: object) -> FunctionType:
    return FunctionType(function.__code__, {**function.__globals__, **changed})


@pytest.mark.parametrize("how", [lambda f: f, compiled], ids=["plain", "compiled"])
def test_published_known_answers(how) -> None:
    assert answers(how(philox4x32))


def test_unmasked_addition_is_caught() -> None:
    """Broken twin: words that are allowed to grow past 32 bits, what `uint32 + uint32` does in compiled code."""
    wide = with_globals(philox4x32, _MASK=np.uint64(0xFFFFFFFFFFFFFFFF))
    with np.errstate(over="ignore"):
        assert not answers(wide)
    nine_rounds = with_globals(philox4x32, range=lambda _: range(9))
    assert not answers(nine_rounds)


def test_word_arrays_are_philox_blocks() -> None:
    got = words(0x0123456789ABCDEF, 7, Purpose.DATA, 22)
    k0, k1 = key_words(0x0123456789ABCDEF)
    expected = [w for i in range(6) for w in philox4x32(np.uint64(i), np.uint64(0), np.uint64(7), np.uint64(2), k0, k1)]
    assert got.tolist() == [int(w) for w in expected[:22]]
    assert got.dtype == np.uint32


@pytest.mark.parametrize("function", [words, uniforms, normals])
@given(cut=st.integers(0, 40), shift=st.integers(0, 9))
def test_chunks_give_the_same_numbers(function, cut: int, shift: int) -> None:
    whole = function(3, 5, Purpose.NOISE, 40 + shift)[shift:]
    parts = [
        function(3, 5, Purpose.NOISE, cut, first=shift),
        function(3, 5, Purpose.NOISE, 40 - cut, first=shift + cut),
    ]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole, function(3, [4, 5], Purpose.NOISE, (4, 10), first=shift)[1].reshape(-1))


def test_far_blocks_use_the_high_word() -> None:
    near, far = words(1, 0, 0, 4), words(1, 0, 0, 4, first=4 << 32)
    k0, k1 = key_words(1)
    assert not np.array_equal(near, far)
    assert far.tolist() == [int(w) for w in philox4x32(np.uint64(0), np.uint64(1), np.uint64(0), np.uint64(0), k0, k1)]


def test_no_word_pair_makes_one() -> None:
    top = np.uint64(0xFFFFFFFF)
    assert float(uniform53(top, top)) == np.nextafter(1.0, 0.0)
    assert float(uniform53(np.uint64(0), np.uint64(0))) == 0.0
    assert float(uniform53(np.uint64(1 << 5), np.uint64(0))) == 2.0**-27


@pytest.mark.parametrize(("sample", "law"), [(uniforms, "uniform"), (normals, "norm")])
def test_laws(sample, law: str) -> None:
    """Kolmogorov-Smirnov at n = 200,000, alpha = 1e-6, and correlation of neighbours within 5 / sqrt(n)."""
    x = sample(11, 1, Purpose.DATA, 200_000)
    assert stats.kstest(x, law).pvalue > 1e-6
    assert stats.kstest(x + 0.02, law).pvalue < 1e-6  # broken twin: shifted by 0.02
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 5 / np.sqrt(x.size)
    pairs = x.reshape(-1, 2)
    assert abs(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]) < 5 / np.sqrt(len(pairs))


def test_streams_purposes_and_seeds_differ() -> None:
    draws = [words(s, b, p, 8).tobytes() for s in (0, 1, 1 << 40) for b in (0, 1) for p in (0, 1)]
    assert len(set(draws)) == len(draws)
    assert words(-1, 0, 0, 4).tolist() == words(2**64 - 1, 0, 0, 4).tolist()


def test_derived_seeds_do_not_collide() -> None:
    """10^5 keys of 64 bits: a collision has probability 3e-10."""
    keys = {derive_seed(s, name, i) for s in range(10) for name in ("a", "b") for i in range(5000)}
    assert len(keys) == 100_000
    assert max(keys) < 2**64
    assert derive_seed(1, "23") != derive_seed(12, "3") != derive_seed(12, 3)
    assert derive_seed(7, "cell") == derive_seed(7, "cell")
    short = {key & 0xFFFFFF for key in keys}  # broken twin: 24-bit keys
    assert len(short) < 100_000


def test_first_words_of_derived_seeds_are_uniform() -> None:
    """n = 20,000 seeds, 64 cells, alpha = 1e-6."""
    first = [int(words(derive_seed(0, i), 0, 0, 1)[0]) >> 26 for i in range(20_000)]
    counts = np.bincount(first, minlength=64)
    assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"stream": -1}, "stream"),
        ({"stream": 2**32}, "stream"),
        ({"purpose": 256}, "purpose"),
        ({"first": -1}, "first"),
        ({"shape": (-1, 2)}, "shape"),
    ],
)
def test_bad_requests_name_the_field(arguments: dict, field: str) -> None:
    good = {"seed": 0, "stream": 0, "purpose": 0, "shape": 1}
    with pytest.raises(InputError, match=f"^{field}: got"):
        uniforms(**{**good, **arguments})


def test_empty_requests() -> None:
    assert uniforms(0, 0, 0, 0).shape == (0,)
    assert uniforms(0, [], 0, (3,)).shape == (0, 3)
    assert uniforms(0, 0, 0, ()).shape == ()
    assert rng.normals(0, [1, 2], 0, ()).shape == (2,)
