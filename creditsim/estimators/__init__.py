"""Advantage estimators: pure functions from rollouts to one credit per row; one family per file."""

import sys
from types import ModuleType

from creditsim.estimators.base import ESTIMATORS, Pairs, advantage, credit, estimator, resolve

__all__ = ["ESTIMATORS", "Pairs", "advantage", "credit", "estimator", "resolve"]


class _Listing(ModuleType):
    def __call__(self) -> list[str]:
        """Names of all registered estimators."""
        return ESTIMATORS.names()


# Importing this package puts it over the function `creditsim.estimators`, so it answers the call in its place.
sys.modules[__name__].__class__ = _Listing
