"""Sampling: rollouts of tabular MDPs by one verb, `extend`; designs over it; returns without rollouts.

Names are imported on first use, so that listing the designs compiles and imports no kernel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditsim.sampling.designs.base import DESIGNS, design
    from creditsim.sampling.enumerate import EnumeratingSampler, enumerate_design
    from creditsim.sampling.reduced import Returns, sample_returns
    from creditsim.sampling.sampler import Sampler
    from creditsim.sampling.table import TableSampler

__all__ = [
    "DESIGNS",
    "EnumeratingSampler",
    "Returns",
    "Sampler",
    "TableSampler",
    "design",
    "enumerate_design",
    "sample_returns",
]

_HOME = {
    "DESIGNS": "designs.base",
    "design": "designs.base",
    "EnumeratingSampler": "enumerate",
    "enumerate_design": "enumerate",
    "Returns": "reduced",
    "sample_returns": "reduced",
    "Sampler": "sampler",
    "TableSampler": "table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
