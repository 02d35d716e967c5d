"""What the primitives do with input that is unusual or wrong: the right answer or one line, never a crash."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

import creditsim.segments as segments
from creditsim.errors import InputError, UnknownNameError
from creditsim.rollouts import Rollouts
from creditsim.segments import cpu_factorize, cpu_scan

_X = np.arange(10.0) ** 1.5
_IDS = np.array([0, 1, 0, -1, 2, 2, 1, 0, 2, 1])
_OFFSETS = np.array([0, 4, 4, 10])


def _read_only(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y.flags.writeable = False
    return y


_FORMS: dict[str, Any] = {
    "list": list,
    "read-only": _read_only,
    "strided": lambda x: np.repeat(x, 2)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "misaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype),
    "subclass": lambda x: np.ma.array(x),
}


@pytest.mark.parametrize("form", _FORMS)
def test_unusual_arrays_give_the_same_result(form: str) -> None:
    make = _FORMS[form]
    calls: list[tuple[Any, tuple[np.ndarray, ...], dict[str, Any]]] = [
        (segments.segment_normalise, (_X, _IDS), {"n": 3}),
        (segments.segment_sum, (_X, _IDS), {"n": 3}),
        (segments.segment_max, (_X, _IDS), {"n": 3}),
        (segments.segment_count, (_X, _IDS), {"n": 3}),
        (segments.segment_rank, (_X, _IDS), {"n": 3}),
        (segments.factorize, (_IDS, _IDS * 2**40), {}),
        (segments.reverse_scan, (_X, _X, _OFFSETS), {}),
        (segments.shift, (_X, _OFFSETS, np.array(1), np.array(0.0)), {}),
        (segments.repeat_to_rows, (_X[:3], _OFFSETS), {}),
        (segments.sum_rows, (_X, _OFFSETS), {}),
    ]
    for function, arrays, options in calls:
        plain = function(*arrays, **options)
        odd = function(*(make(a) if a.ndim else int(a) for a in arrays), **options)
        for one, other in zip(np.atleast_1d(plain[0]), np.atleast_1d(odd[0]), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, np.bool_, np.longdouble])
def test_floating_results_are_double_whatever_comes_in(dtype: Any) -> None:
    x = np.array([0, 1, 1, 0, 1, 1, 0, 1, 0, 1]).astype(dtype)
    wide = x.astype(np.float64)
    for function in (segments.segment_normalise, segments.segment_sum, segments.segment_mean, segments.segment_min):
        got = function(x, _IDS, 3)
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, function(wide, _IDS, 3))
    assert segments.reverse_scan(x, 0.5, _OFFSETS).dtype == np.float64
    assert segments.shift(x, _OFFSETS, 1, 0).dtype == x.dtype
    assert segments.repeat_to_rows(x[:3], _OFFSETS).dtype == x.dtype


def test_equal_single_precision_members_leave_no_noise() -> None:
    # Accumulated in single precision, seven times 0.1 has a mean off by an ulp, which a small eps blows up.
    x = np.full(7, 0.1, np.float32)
    assert not segments.segment_normalise(x, np.zeros(7, int), 1, eps=1e-12).any()


_WRONG: dict[str, tuple[Any, str]] = {
    "id too large": (lambda: segments.segment_sum(_X, _IDS, 2), "ids: got 2 at row 4, allowed ids below n = 2"),
    "id too large, normalise": (lambda: segments.segment_normalise(_X, _IDS, 2), "ids: got 2 at row 4"),
    "id too large outside where": (
        lambda: segments.segment_normalise(_X, _IDS, 2, where=_IDS < 2),
        "ids: got 2 at row 4",
    ),
    "id too large, rank": (lambda: segments.segment_rank(_X, _IDS, 2), "ids: got 2"),
    "id too large, count": (lambda: segments.segment_count(_X, _IDS, 2), "ids: got 2"),
    "id too large, max": (lambda: segments.segment_max(_X, _IDS, 2), "ids: got 2"),
    "ids too short": (lambda: segments.segment_sum(_X, _IDS[:-1], 3), "ids: got 9 entries, allowed 10"),
    "float ids": (lambda: segments.segment_sum(_X, _IDS * 1.0, 3), "ids: got values of type float64"),
    "negative n": (lambda: segments.segment_sum(_X, _IDS, -1), "n: got -1"),
    "text": (lambda: segments.segment_sum(np.array(["a"]), [0], 1), "x: got values of type <U1, allowed numbers"),
    "objects": (lambda: segments.segment_sum(np.array([None, 1]), [0, 0], 1), "x: got values of type object"),
    "complex": (lambda: segments.segment_mean(np.ones(2) * 1j, [0, 0], 1), "x: got values of type complex128"),
    "matrix": (lambda: segments.segment_sum(np.ones((2, 2)), [0, 0], 1), "x: got shape (2, 2)"),
    "where too short": (lambda: segments.segment_sum(_X, _IDS, 3, where=_IDS[:2] > 0), "where: got shape (2,)"),
    "where of floats": (lambda: segments.segment_sum(_X, _IDS, 3, where=_X), "where: got shape (10,) of float64"),
    "NaN": (lambda: segments.segment_normalise(np.array([1, np.nan]), [0, 0], 1), "x: got NaN, infinity"),
    "infinity": (lambda: segments.segment_normalise(np.array([1, np.inf]), [0, 0], 1), "x: got NaN, infinity"),
    "overflow": (lambda: segments.segment_normalise(np.array([-1e308, 1e308]), [0, 0], 1), "in segment 0"),
    "wide spread": (lambda: segments.segment_normalise(np.array([-1e200, 1e200]), [0, 0], 1), "spread above 1e154"),
    "singleton": (lambda: segments.segment_normalise(_X, _IDS, 3, singleton="zeros"), "nearest: zero"),  # pyright: ignore[reportArgumentType]
    "how": (lambda: segments.backup(_X, _IDS, "average"), "how: got 'average'"),  # pyright: ignore[reportArgumentType]
    "no keys": (lambda: segments.factorize(), "keys: got none"),
    "float keys": (lambda: segments.factorize(_X), "key 0: got values of type float64"),
    "short key": (lambda: segments.factorize(_IDS, _IDS[:3]), "key 1: got 3 entries"),
    "offsets short": (lambda: segments.scan(_X, 1.0, [0, 9]), "offsets: got from 0 to 9, allowed a rise from 0 to 10"),
    "offsets fall": (lambda: segments.scan(_X, 1.0, [0, 7, 5, 10]), "offsets: got from 0 to 10"),
    "offsets negative": (lambda: segments.reverse_scan(_X, 1.0, [-1, 10]), "offsets: got from -1 to 10"),
    "no offsets": (lambda: segments.reverse_scan(_X, 1.0, []), "offsets: got no entries"),
    "decay": (lambda: segments.reverse_scan(_X, _X[:3], _OFFSETS), "decay: got 3 entries"),
    "repeat": (lambda: segments.repeat_to_rows(_X, _OFFSETS), "x: got 10 entries, allowed 3"),
    "circle": (lambda: segments.backup(_X[:3], [-1, 2, 1], "mean"), "previous: got rows that follow each other"),
    "own parent": (lambda: segments.backup(_X[:2], [-1, 1], "mean"), "previous: got rows that follow each other"),
    "previous": (lambda: segments.backup(_X[:2], [-1, 2], "mean"), "previous: got 2 at row 1"),
    "k": (lambda: segments.context_ids(Rollouts.flat(offsets=[0, 1], group=[0], reward=[1.0]), -1), "k: got -1"),
}


@pytest.mark.parametrize("fault", _WRONG)
def test_wrong_input_is_told_in_one_line(fault: str) -> None:
    call, line = _WRONG[fault]
    with pytest.raises((InputError, UnknownNameError)) as error:
        call()
    assert line in str(error.value) and "\n" not in str(error.value)


def test_extreme_values_that_can_be_centred_are() -> None:
    y = segments.segment_normalise(np.array([-1e300, 1e300]), [0, 0], 1, scale=False)
    np.testing.assert_array_equal(y, [-1e300, 1e300])
    assert np.isnan(segments.segment_max(np.array([1.0, np.nan, 3.0]), [0, 0, 0], 1)).all()
    assert segments.segment_max(np.array([1.0, np.inf]), [0, 0], 1)[0] == np.inf
    # Rows outside `where` may hold anything: they do not touch the others.
    y = segments.segment_normalise(np.array([1.0, 3.0, np.nan]), [0, 0, 0], 1, where=np.array([True, True, False]))
    assert y[0] == -y[1] and np.isnan(y[2])


def test_torch_results_share_memory() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x = torch.arange(4.0, dtype=torch.float64).requires_grad_()
    y = segments.segment_normalise(x, torch.tensor([0, 0, 1, 1]), 2, where=torch.tensor([True] * 4))
    assert isinstance(y, torch.Tensor) and y.dtype == torch.float64 and not y.requires_grad
    ids, n = segments.factorize(torch.tensor([9, 9, -4, 9], dtype=torch.int32))
    assert isinstance(ids, torch.Tensor) and ids.tolist() == [0, 0, 1, 0] and n == 2


def test_parallel_scans_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 40, 1_000))])
    x = rng.normal(size=int(offsets[-1]))
    serial = [segments.scan(x, 0.97, offsets), segments.reverse_scan(x, x, offsets)]
    monkeypatch.setattr(cpu_scan, "_PARALLEL_ROWS", 0)
    before = numba.get_num_threads()
    try:
        for threads in range(1, before + 1):
            numba.set_num_threads(threads)
            assert (segments.scan(x, 0.97, offsets) == serial[0]).all()
            assert (segments.reverse_scan(x, x, offsets) == serial[1]).all()
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("keys", ["steps", "high bits", "pairs", "random"])
def test_structured_keys_spread_over_the_hash_table(keys: str) -> None:
    """50,000 keys in 2^19 slots: random places leave 2^19 (1 - exp(-50,000 / 2^19)) = 47,680 taken, sd 46."""
    count, slots = 50_000, 2**19
    i = np.arange(count)
    key = {
        "steps": i * 3,
        "high bits": i << 47,
        "pairs": (i // 50) * 36_081 + i % 50,
        "random": np.random.default_rng(2).integers(-(2**62), 2**62, count),
    }[keys]
    places = cpu_factorize._place.py_func(key, np.uint64(64 - 19))
    assert len(np.unique(places)) > slots * -np.expm1(-count / slots) - 300
    # The twin without mixing piles structured keys up: their top bits are all alike.
    bare = np.unique(key.astype(np.uint64) >> np.uint64(64 - 19)).size
    assert bare < 100 or keys in ("high bits", "random")
