"""Checks of the numbers from which environments are made; each failure is one line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from creditsim.errors import InputError

__all__ = ["finite", "fraction", "generator", "number_rows", "whole"]


def whole(field: str, got: int, least: int, most: int | None = None) -> int:
    """Return `got` if it is a whole number in `least..most`; else InputError."""
    bound = f"a whole number >= {least}" if most is None else f"a whole number in {least}..{most}"
    if isinstance(got, bool) or not isinstance(got, (int, np.integer)):
        raise InputError(field, repr(got), bound)
    if got < least or (most is not None and got > most):
        raise InputError(field, got, bound)
    return int(got)


def fraction(field: str, got: float) -> float:
    """Return `got` if it lies in [0, 1]; else InputError (NaN included)."""
    if not 0.0 <= finite(field, got) <= 1.0:
        raise InputError(field, got, "a number in [0, 1]")
    return float(got)


def finite(field: str, got: float) -> float:
    """Return `got` as a float if it is a finite number; else InputError."""
    if not isinstance(got, (int, float, np.integer, np.floating)) or not math.isfinite(got):
        raise InputError(field, repr(got), "a finite number")
    return float(got)


def number_rows(field: str, got: Any, allowed: str) -> list[np.ndarray]:
    """Return the entries of `got` as arrays of floats, lengths may differ; else InputError."""
    try:
        return [np.asarray(row, np.float64) for row in got]
    except (TypeError, ValueError):
        raise InputError(field, repr(got), allowed) from None


def generator(seed: int) -> np.random.Generator:
    """Return a Philox generator of its own for `seed` >= 0: equal seeds build equal environments."""
    return np.random.Generator(np.random.Philox(whole("seed", seed, 0)))
