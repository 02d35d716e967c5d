"""Check credit-assignment estimators for LLM agents against exact values on tabular MDPs.

The names below are imported on first use, so that `import creditsim` and the command line stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditsim.estimators import Pairs, advantage, credit, estimator
    from creditsim.mdp import TabularMDP, make
    from creditsim.rollouts import Rollouts

__version__ = "0.1.0"

_HOME = {
    "Pairs": "creditsim.estimators",
    "Rollouts": "creditsim.rollouts",
    "TabularMDP": "creditsim.mdp",
    "advantage": "creditsim.estimators",
    "credit": "creditsim.estimators",
    "estimator": "creditsim.estimators",
    "make": "creditsim.mdp",
}

__all__ = ["Pairs", "Rollouts", "TabularMDP", "advantage", "credit", "estimator", "estimators", "make"]


def estimators() -> list[str]:
    """Names of all registered estimators."""
    from creditsim.estimators import ESTIMATORS

    return ESTIMATORS.names()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'creditsim' has no attribute {name!r}")
