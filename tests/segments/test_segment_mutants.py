"""Mutation score of the segment kernels: each operator exchanged, one at a time, must fail the table of cases.

Kernels run as plain Python here, so that a change needs no compilation; the table and its reference are those of
`test_segment_table`.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mutants import Place, arithmetic, at_most, mutant
from segment_cases import CASES, Case

from creditsim.segments import cpu_factorize, cpu_normalise, cpu_reduce, cpu_scan

MODULES: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "reduce": (cpu_reduce, ("segment_sum", "segment_count", "segment_min", "segment_max", "segment_rank")),
    "normalise": (cpu_normalise, ("segment_mean", "segment_std", "segment_normalise")),
    "scan": (cpu_scan, ("scan", "reverse_scan", "backup", "shift", "repeat_to_rows", "sum_rows")),
    "factorize": (cpu_factorize, ("factorize",)),
}
_MANY = np.random.default_rng(3).permutation(np.tile(np.arange(700), 2)) * 10**9
_FIRST = np.repeat(np.arange(-3, 7), 4)
_OUTLIER = np.concatenate([[1e7], np.random.default_rng(4).normal(size=1499)])
MORE = [
    Case("factorize more than a first table", "factorize", (_MANY,)),
    # 10 x 701 pairs are too many for a plain table and 701 values are not: pairs that come in runs.
    Case("factorize pairs in runs", "factorize", (_FIRST, np.arange(40) % 8 * 100)),
    Case("factorize a run that comes back", "factorize", (np.roll(_FIRST, 2), np.arange(40) % 2 * 350)),
    Case("one ulp at the first member", "segment_std", (np.array([1e8, np.nextafter(1e8, 2e8)]), np.zeros(2, int), 1)),
    Case("outlier before many", "segment_std", (_OUTLIER, np.where(np.arange(1500) == 9, -1, 0), 1)),
    Case("shift back past a short end", "shift", (np.arange(5.0), np.array([0, 4, 5]), 2, -9.0)),
    Case("shift ahead of short ones", "shift", (np.arange(6.0), np.array([0, 1, 3, 6]), -2, -9.0)),
    Case("shift back of short ones", "shift", (np.arange(6.0), np.array([0, 1, 3, 6]), 2, -9.0)),
]
SHARE = {"reduce": 0.9, "normalise": 0.85, "scan": 0.8}
"""Operators that may be left: those that only decide how fast an answer comes. The hash tables of `factorize` are left
out: exchanged operators make them grow without end."""


def cases(name: str) -> list[Case]:
    # Keys at both ends of 64 bits overflow NumPy's scalars outside kernels; test_segment_table has them compiled.
    functions = MODULES[name][1]
    return [case for case in [*MORE, *CASES] if case.function in functions and "extremes" not in case.name]


class Body(ModuleType):
    """A changed body under the signatures of the public primitives."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module.__name__)
        self.module = module

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.module, name)

        def call(*args: Any, singleton: str = "zero", **options: Any) -> Any:
            raw = {"singleton_raw": singleton == "raw"} if name == "segment_normalise" else {}
            return function(*args, **options, **raw)

        return call


def holds(name: str, module: ModuleType) -> bool:
    """Whether every case passes; an error of any kind is a no, and so is a run that does not end."""
    body = Body(module)
    try:
        with at_most(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for case in cases(name):
                case.check(case.result(body, np.asarray), np.asarray)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("name", MODULES)
def test_kernels_as_plain_python_pass_the_table(name: str) -> None:
    assert holds(name, mutant(MODULES[name][0]))


@pytest.mark.parametrize("name", SHARE)
def test_exchanged_operators_are_noticed(name: str) -> None:
    places = arithmetic(MODULES[name][0])
    survivors: list[Place] = [place for place in places if holds(name, place.mutant())]
    assert len(survivors) <= (1 - SHARE[name]) * len(places), "\n".join(map(str, survivors))


WORDS: list[tuple[str, str, str]] = [
    ("reduce", "total = out[j] if j >= 0 else 0.0", "total = 0.0"),
    ("reduce", "out[j] += 1", "out[j] = 1"),
    ("reduce", "rank[i] = -1", "rank[i] = 0"),
    ("reduce", 'np.argsort(x, kind="stable")', "np.argsort(-x)"),
    ("reduce", "members(ids, where), out)", "ids, out)"),
    ("normalise", "first = x[i] if count == 0.0 else table[j, FIRST]", "first = x[i]"),
    ("normalise", "d = x[i] - first", "d = x[i]"),
    ("normalise", "max(variance, variance_floor)", "variance"),
    ("normalise", "members(ids, where), table", "ids, table"),
    ("normalise", "            if raw:", "            if not raw:"),
    ("scan", "decay[r * stride] * carried", "decay[0] * carried"),
    ("scan", "carried = 0.0", "carried = 1.0"),
    ("scan", "max(y[p], y[r])", "y[r]"),
    ("scan", "edge = stops - length", "edge = starts"),
    ("factorize", "if j < begun:", "if j < 0:"),
    ("factorize", "if met[current - low_a]:", "if False:"),
    ("factorize", "_refill(seen, count, table, bits)", "pass"),
    ("factorize", "and seen[j] != k", "and False"),
]


@pytest.mark.parametrize(("name", "old", "new"), WORDS)
def test_changed_words_are_noticed(name: str, old: str, new: str) -> None:
    """Faults of meaning: a segment met twice, a mask forgotten, a table that grows without what it held."""
    assert not holds(name, mutant(MODULES[name][0], old, new))
