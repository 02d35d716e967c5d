"""Comparing what was computed with what a golden file holds, entry by entry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from creditsim.arrays import to_numpy

__all__ = ["Difference", "Tolerance", "compare", "plain"]

_LABELS = ("step_group",)
"""Fields of labels, where only which entries share one matters."""


@dataclass(frozen=True)
class Tolerance:
    """|got - want| <= atol + rtol |want|."""

    rtol: float
    atol: float

    def allowed(self, want: float) -> float:
        """Largest error allowed beside `want`."""
        return self.atol + self.rtol * abs(want)


@dataclass(frozen=True)
class Difference:
    """One compared entry: where it is, both values, its error and the error allowed there."""

    place: str
    got: Any
    want: Any
    error: float
    allowed: float

    @property
    def share(self) -> float:
        """Error over error allowed; above 1 it is a miss."""
        if self.error == 0:
            return 0.0
        return self.error / self.allowed if self.allowed > 0 else math.inf

    @property
    def is_miss(self) -> bool:
        """Whether the entry differs by more than is allowed."""
        return not self.error <= self.allowed


def compare(
    got: Mapping[str, Any], want: Mapping[str, Any], tolerance: Tolerance, mask: list[list[int]] | None = None
) -> Iterator[Difference]:
    """Yield a Difference for every entry of every expected field.

    Numbers are compared by the tolerance, integers with integers exactly, labels (`step_group`) up to relabelling,
    null with null or NaN. Lists of other lengths, and fields that `got` lacks, are misses. With `mask`, matrices of its
    shape are compared where it is 1. Fields that are only in `got` are not looked at.
    """
    for name, value in want.items():
        if name not in got:
            yield _structure(name, "nothing", "a value")
        elif isinstance(value, Mapping):
            for inner in compare(got[name], value, tolerance, mask):
                yield Difference(f"{name}.{inner.place}", inner.got, inner.want, inner.error, inner.allowed)
        elif name in _LABELS:
            yield from _entries(name, _relabelled(plain(got[name])), _relabelled(value), Tolerance(0.0, 0.0), None)
        else:
            yield from _entries(name, plain(got[name]), value, tolerance, mask if _same_shape(value, mask) else None)


def plain(value: Any) -> Any:
    """Turn arrays of any library, at any depth of dicts and lists, into lists and numbers."""
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return to_numpy(value).tolist() if hasattr(value, "shape") else value


def _entries(place: str, got: Any, want: Any, tolerance: Tolerance, mask: Any) -> Iterator[Difference]:
    if isinstance(want, list):
        if not isinstance(got, list):
            yield _structure(place, got, f"{len(want)} entries")
        elif len(got) != len(want):
            yield _structure(place, f"{len(got)} entries", f"{len(want)} entries")
        else:
            for index, (g, w) in enumerate(zip(got, want, strict=True)):
                if mask is None or isinstance(mask[index], list) or mask[index]:
                    yield from _entries(f"{place}[{index}]", g, w, tolerance, mask and mask[index])
    elif isinstance(got, list):
        yield _structure(place, f"{len(got)} entries", want)
    else:
        yield _number(place, got, want, tolerance)


def _number(place: str, got: Any, want: Any, tolerance: Tolerance) -> Difference:
    got = None if isinstance(got, float) and math.isnan(got) else got
    if want is None or got is None:
        return Difference(place, got, want, 0.0 if want is got else math.inf, 0.0)
    if isinstance(want, int) and isinstance(got, int):
        return Difference(place, got, want, abs(got - want), 0.0)
    return Difference(place, got, want, abs(got - want), tolerance.allowed(want))


def _structure(place: str, got: Any, want: Any) -> Difference:
    return Difference(place, got, want, math.inf, 0.0)


def _relabelled(labels: Any) -> Any:
    if not isinstance(labels, list):
        return labels
    order = {label: index for index, label in enumerate(dict.fromkeys(labels))}
    return [order[label] for label in labels]


def _same_shape(value: Any, mask: list[list[int]] | None) -> bool:
    if mask is None or not isinstance(value, list) or len(value) != len(mask):
        return False
    return all(isinstance(v, list) and len(v) == len(m) for v, m in zip(value, mask, strict=True))
