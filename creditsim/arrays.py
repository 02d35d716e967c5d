"""Array libraries: NumPy and CuPy are computed on; torch tensors share memory with one of the two."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from creditsim.errors import InputError

__all__ = ["Array", "is_torch", "namespace", "native", "numbers", "restorer", "to_numpy"]

Array: TypeAlias = Any
"""A NumPy, CuPy or torch array; shapes are said in the docstrings."""


def is_torch(x: object) -> bool:
    """Tell whether `x` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def _cupy() -> ModuleType | None:
    return sys.modules.get("cupy")


def namespace(*xs: object) -> ModuleType:
    """Return the module (numpy or cupy) whose functions work on the arrays given."""
    cupy = _cupy()
    if cupy is not None and any(isinstance(x, cupy.ndarray) for x in xs):
        return cupy
    return np


def native(x: Any) -> Any:
    """Return a NumPy or CuPy array that shares memory with `x` where `x` is a torch tensor; else `x` itself."""
    if not is_torch(x):
        return x
    if x.device.type == "cpu":
        return x.detach().numpy()
    import cupy  # pyright: ignore[reportMissingImports] # a tensor on a GPU, so CuPy is the way to it

    return cupy.from_dlpack(x.detach().contiguous())


def restorer(like: Any) -> Callable[[Any], Any]:
    """Return the function that brings a native result back to the array library of `like`, sharing memory."""
    if not is_torch(like):
        return lambda y: y
    import torch

    if like.device.type == "cpu":
        return lambda y: torch.from_numpy(y) if isinstance(y, np.ndarray) and y.dtype.kind in "biufc" else y
    return lambda y: torch.from_dlpack(y) if hasattr(y, "__dlpack__") else y


def to_numpy(x: Any) -> np.ndarray:
    """Return a NumPy array on the host, copied only where it must be."""
    if is_torch(x):
        return x.detach().cpu().numpy()
    get = getattr(x, "get", None)
    return get() if get is not None and not isinstance(x, np.ndarray) else np.asarray(x)


def numbers(field: str, got: Any, allowed: str) -> np.ndarray:
    """Return `got` as an array of floats; else InputError: no numbers, or rows of unlike length."""
    try:
        return np.asarray(got, np.float64)
    except (TypeError, ValueError):
        raise InputError(field, repr(got), allowed) from None
