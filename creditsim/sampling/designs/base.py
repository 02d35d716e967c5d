"""Registration of sampling designs: short programs over a sampler's one verb, `extend`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

from creditsim.registry import Evidence, Part, Registry
from creditsim.rollouts import Rollouts

__all__ = ["DESIGNS", "ExtendingSampler", "State", "design"]

F = TypeVar("F", bound=Callable[..., tuple[Rollouts, Any]])
S = TypeVar("S", bound="ExtendingSampler")
State = dict[str, np.ndarray] | None
"""What a design remembers between calls: arrays, replicate first; None at the start."""

DESIGNS: Registry[Part] = Registry("sampling design", "creditsim.sampling.designs")


class ExtendingSampler(Protocol):
    """What a design may ask of a sampler, on tables and on text environments alike."""

    batches: int
    groups: int

    def extend(
        self,
        rollouts: Rollouts | None = None,
        after: Any = None,
        copies: Any = 1,
        steps: int | None = None,
        policy: Any = None,
        weight: float = 1.0,
    ) -> Rollouts:
        """Append trajectories after rows, or from the start."""
        ...

    def continues(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) bool: rows that an episode goes on from."""
        ...

    def fresh(self: S) -> S:
        """The same sampler with other tasks in its groups."""
        ...


def design(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "inferred",
    needs: tuple[str, ...] = (),
    makes: tuple[str, ...] = (),
    tables: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `f(sampler, policy, state, *, parameters) -> (rollouts, state)`.

    `makes` names columns it adds, `tables` entries of the state that only the loop can make, as for signals.
    """

    def register(function: F) -> F:
        DESIGNS.add(
            Part(
                "sampling design",
                name,
                function,
                paper=paper,
                evidence=evidence,
                needs=needs,
                makes=makes,
                presets=presets or {},
                options={"tables": tables},
            )
        )
        return function

    return register
