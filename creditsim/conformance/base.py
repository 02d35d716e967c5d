"""Adapters from golden files to this library: one function per golden file, found by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from creditsim.registry import Part, Registry

__all__ = ["ADAPTERS", "golden"]

F = TypeVar("F", bound=Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]])

ADAPTERS: Registry[Part] = Registry("golden file", "creditsim.conformance.adapters")


def golden(name: str) -> Callable[[F], F]:
    """Register `compute(params, inputs) -> {field: value}` for golden files whose `estimator` is `name`.

    `params` and `inputs` are a case's own; the result holds every field that the file's `expected` may hold.
    """

    def register(function: F) -> F:
        ADAPTERS.add(Part("golden file", name, function))
        return function

    return register
