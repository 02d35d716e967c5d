"""What is computed of an MDP alone is computed once for it: training and studies come back to the same one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from creditsim.mdp.table import TabularMDP

__all__ = ["once_per_mdp"]

P = ParamSpec("P")
T = TypeVar("T")


def once_per_mdp(function: Callable[P, T]) -> Callable[P, T]:
    """Keep the results of `function(mdp, *hashable)` for as long as the MDP lives; they must not refer to it.

    Nobody may change them. Two threads that ask at once may both compute.
    """
    kept: WeakKeyDictionary[TabularMDP, dict[tuple[Any, ...], T]] = WeakKeyDictionary()

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        mdp, *rest = cast("tuple[Any, ...]", arguments)
        known, key = kept.setdefault(mdp, {}), (*rest, *options.items())
        if key not in known:
            known[key] = function(*arguments, **options)
        return known[key]

    return call
