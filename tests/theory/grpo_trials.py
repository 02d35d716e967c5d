"""The claims of the RLOO and GRPO family, each run once at quick size for all tests of the session."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from figures.base import Data
from theory.claim import CLAIMS, Trial, facts

MODULES = (
    "rloo", "dr_grpo", "grpo", "grpo_batch", "grpo_numerics", "grpo_conventions", "dapo", "reinforce_plus_plus",
)  # fmt: skip
ALPHA = 1e-6
"""Error level of every interval: fixed seeds make the runs deterministic; fresh ones would fail once in a million."""


@cache
def names() -> list[str]:
    """Ids of the claims in these modules."""
    for module in MODULES:
        importlib.import_module(f"theory.claims.{module}")
    return [c.name for c in CLAIMS if c.function.__module__.removeprefix("theory.claims.") in MODULES]


@cache
def run(name: str, kind: str = "claim", seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Table and facts of a claim, its twin or its control."""
    names()
    entry = CLAIMS[name]
    trial = Trial("quick", ALPHA, seed)
    check = entry.function if kind == "claim" else entry.variants[kind].check
    evidence = facts(check(trial))
    return trial.data, evidence


def results(wanted: tuple[str, ...]) -> dict[str, Data]:
    """What a figure is given."""
    return {name: Data(*run(name)) for name in wanted}
