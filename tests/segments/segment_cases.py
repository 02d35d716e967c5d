"""One table of cases: a primitive, its arguments, and nothing else; the reference gives what must come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import reference


@dataclass(frozen=True)
class Case:
    """A call of the primitive `function`; arrays among the arguments go to the library under test."""

    name: str
    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 1e-12

    def result(self, module: ModuleType, to: Callable[[Any], Any]) -> Any:
        """Call `module`'s primitive on converted arrays."""
        arguments = [to(a) if isinstance(a, np.ndarray) else a for a in self.arguments]
        options = {k: to(v) if isinstance(v, np.ndarray) else v for k, v in self.options.items()}
        return getattr(module, self.function)(*arguments, **options)

    def check(self, result: Any, back: Callable[[Any], np.ndarray]) -> None:
        """Compare with the reference: integers exactly, floats to the tolerance, zeros as zeros."""
        expected = getattr(reference, self.function)(*self.arguments, **self.options)
        if isinstance(expected, tuple):
            result, count = result
            expected, wanted = expected
            assert count == wanted, self.name
        got = back(result)
        assert got.shape == expected.shape and got.dtype == expected.dtype, (self.name, got.dtype, expected.dtype)
        if got.dtype.kind == "f":
            np.testing.assert_allclose(got, expected, rtol=self.tolerance, atol=self.tolerance, err_msg=self.name)
            assert (got[expected == 0] == 0).all() or self.tolerance > 1e-12 or self.function != "segment_normalise"
        else:
            np.testing.assert_array_equal(got, expected, err_msg=self.name)


_rng = np.random.default_rng(20)
_M, _N = 41, 7
_X = _rng.normal(size=_M).round(2)
_IDS = _rng.integers(-1, _N, _M)
_IDS[_IDS == 3] = 4  # segment 3 is empty
_WHERE = _rng.random(_M) < 0.7
_OFFSETS = np.array([0, 1, 1, 9, 30, 41])
_DECAY = _rng.uniform(-0.2, 1.1, _M)
_ULP = 1e8 + np.array([0.0, 1.0, -1.0, 0.0, 1.0, 1.0]) * np.spacing(1e8)
_PREVIOUS = np.array([-1, 0, 0, 2, 2, 2, -1, 6, 7, 1, 12, 9, 9])
_EMPTY = np.zeros(0)
_NO_IDS = np.zeros(0, np.int64)

_REDUCTIONS = ("segment_sum", "segment_count", "segment_mean", "segment_std", "segment_min", "segment_max")
_INPUTS: dict[str, tuple[np.ndarray, np.ndarray, int]] = {
    "ragged": (_X, _IDS, _N),
    "one": (_X, np.zeros(_M, np.int64), 1),
    "singletons": (_X, np.arange(_M), _M),
    "constant 1e8": (np.full(6, 1e8 + 0.1), np.array([0, 0, 0, 1, 1, -1]), 3),
    "no rows": (_EMPTY, _NO_IDS, 3),
    "outlier first": (np.array([1e9, *(_X + 3)]), np.zeros(_M + 1, np.int64), 1),
}
_NORMALISE: dict[str, dict[str, Any]] = {
    "default": {},
    "centre": {"scale": False},
    "population": {"ddof": 0, "eps": 1e-4},
    "raw": {"singleton": "raw"},
    "raw centre": {"singleton": "raw", "scale": False},
    "inside": {"eps": 0.0, "eps_inside": 1e-3},
    "floor": {"variance_floor": 0.5},
    "no eps": {"eps": 0.0},
    "ddof 3": {"ddof": 3, "eps": 0.1},
}
_KEYS: dict[str, tuple[np.ndarray, ...]] = {
    "small": (_IDS,),
    "sparse": (_IDS * 10**12 - 7,),
    "runs": (np.repeat([5, -3, 0], [10, 20, 11]), _IDS),
    "runs wide": (np.repeat([5, -3, 0], [10, 20, 11]), _IDS * 400),
    "value comes back": (np.repeat([5, -3, 5], [10, 20, 11]), _IDS * 400),
    "three": (_IDS, _IDS[::-1].copy(), np.arange(_M) % 3),
    "extremes": (
        np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max, 0, np.iinfo(np.int64).min]),
        np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max]),
    ),
    "none": (_NO_IDS, _NO_IDS),
}

CASES: list[Case] = [
    *(Case(f"{f} {name}", f, (*given,)) for f in _REDUCTIONS for name, given in _INPUTS.items()),
    *(Case(f"{f} where", f, (_X, _IDS, _N), {"where": _WHERE}) for f in _REDUCTIONS),
    Case("segment_std ddof 0", "segment_std", (_X, _IDS, _N), {"ddof": 0}),
    *(
        Case(f"normalise {name} {kind}", "segment_normalise", given, options)
        for name, given in _INPUTS.items()
        for kind, options in _NORMALISE.items()
    ),
    *(
        Case(f"normalise where {kind}", "segment_normalise", (_X, _IDS, _N), {**options, "where": _WHERE})
        for kind, options in _NORMALISE.items()
    ),
    Case("normalise ulp", "segment_normalise", (_ULP, np.zeros(6, np.int64), 1)),
    Case("normalise ulp no eps", "segment_normalise", (_ULP, np.zeros(6, np.int64), 1), {"eps": 0.0}),
    *(Case(f"rank {name}", "segment_rank", _INPUTS[name]) for name in ("ragged", "one", "constant 1e8", "no rows")),
    *(Case(f"factorize {name}", "factorize", keys) for name, keys in _KEYS.items()),
    *(
        Case(f"{f} {name}", f, (_X, decay, _OFFSETS))
        for f in ("scan", "reverse_scan")
        for name, decay in (("number", 0.9), ("zero", 0.0), ("per row", _DECAY))
    ),
    Case("scan no rows", "scan", (_EMPTY, 0.9, np.zeros(3, np.int64))),
    *(
        Case(f"backup {how} {name}", "backup", (_X[:13], _PREVIOUS, how), {"decay": decay})
        for how in ("mean", "sum", "max", "min")
        for name, decay in (("number", 0.9), ("per row", _DECAY[:13]))
    ),
    Case("backup no rows", "backup", (_EMPTY, _NO_IDS, "mean")),
    *(Case(f"shift {by}", "shift", (_X, _OFFSETS, by, -9.0)) for by in (-50, -3, -1, 0, 1, 2, 50)),
    Case("shift integers", "shift", (_IDS, _OFFSETS, 1, -1)),
    Case("sum of rows", "sum_rows", (_X, _OFFSETS)),
    Case("sum of no rows", "sum_rows", (_EMPTY, _OFFSETS[:1])),
    Case("repeat", "repeat_to_rows", (_X[:5], _OFFSETS)),
    Case("repeat integers", "repeat_to_rows", (_IDS[:5], _OFFSETS)),
    Case("repeat vectors", "repeat_to_rows", (_X[:10].reshape(5, 2), _OFFSETS)),
]
