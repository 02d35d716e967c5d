"""Registration of environment families, and the door through which they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from creditsim.mdp.table import TabularMDP
from creditsim.registry import Evidence, Part, Registry

__all__ = ["FAMILIES", "family", "make"]

F = TypeVar("F", bound=Callable[..., TabularMDP])

FAMILIES: Registry[Part] = Registry("environment", "creditsim.mdp.families")


def family(
    name: str,
    *,
    tiny: Mapping[str, Any],
    small: Mapping[str, Any],
    large: Mapping[str, Any],
    paper: str = "",
    evidence: Evidence = "inferred",
) -> Callable[[F], F]:
    """Register a constructor `f(*, parameters) -> TabularMDP`; `tiny` must fit exact enumeration."""

    def register(function: F) -> F:
        presets = {"tiny": tiny, "small": small, "large": large}
        FAMILIES.add(Part("environment", name, function, paper=paper, evidence=evidence, presets=presets))
        return function

    return register


def make(spec: str, **overrides: Any) -> TabularMDP:
    """Make an environment from `name` or `name@size` (sizes: tiny, small, large), with parameters overridden."""
    return FAMILIES.bind(spec, **overrides)()
