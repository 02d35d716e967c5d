"""Shared by all tests: hypothesis profiles, and the array libraries that one test body runs on."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from creditsim.arrays import to_numpy

# Examples are drawn the same way on every run; a fault found elsewhere becomes a test of its own.
_COMMON: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("ci", max_examples=50, **_COMMON)
settings.register_profile("thorough", max_examples=500, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@dataclass(frozen=True)
class Library:
    """An array library: how arrays get there, what they are there, and how results come back."""

    name: str
    to: Callable[[Any], Any]
    kind: type

    def back(self, x: Any) -> np.ndarray:
        """Return a result as a NumPy array, having checked that it came in this library."""
        assert isinstance(x, self.kind), f"{type(x)} came back from {self.name}"
        return to_numpy(x)


def _torch(device: str) -> Library:
    torch = importlib.import_module("torch")
    return Library(f"torch {device}", lambda x: torch.as_tensor(np.asarray(x), device=device), torch.Tensor)


def _device() -> Any:
    """Return CuPy where it can allocate; otherwise the test is reported as not run, with the reason."""
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed, so no device body runs")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device, so no device body runs")
    return cupy


@pytest.fixture(
    params=[
        "numpy",
        "torch",
        pytest.param("cupy", marks=pytest.mark.gpu),
        pytest.param("torch-cuda", marks=pytest.mark.gpu),
    ]
)
def library(request: pytest.FixtureRequest) -> Library:
    """Every array library that this machine can run: the same test body for all of them."""
    if request.param == "numpy":
        return Library("numpy", np.asarray, np.ndarray)
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
        return _torch("cpu")
    cupy = _device()
    return Library("cupy", cupy.asarray, cupy.ndarray) if request.param == "cupy" else _torch("cuda")
