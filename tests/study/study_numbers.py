"""Settings for tests of variance cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.study.cells import CellResult


def spec(**changes: Any) -> dict[str, Any]:
    """The spec of a small cell."""
    base = {
        "estimator": "gigpo", "environment": "chain@tiny", "horizon": 4, "policy": "random:1:1", "group_size": 4,
        "groups": 1, "design": "independent", "signals": [], "by": "state", "replicates": 2000, "precision": None,
        "alpha": 1e-6, "gamma": None, "exact": False,
    }  # fmt: skip
    return base | changes


def lines(result: CellResult, scope: str, quantity: str) -> dict[str, np.ndarray]:
    """The rows of one quantity."""
    table = result.table
    chosen = (table["scope"] == scope) & (table["quantity"] == quantity)
    return {name: values[chosen] for name, values in table.items()}


def outside(result: CellResult, shift: float = 0.0) -> list[str]:
    """Quantities whose interval misses the enumerated value, were that off by `shift` of itself.

    Shares and squares of zero noise have intervals without width: rounding may then separate equal numbers.
    """
    table = result.table
    exact = table["exact"] * (1.0 + shift)
    slack = 1e-12 * np.maximum(1.0, np.abs(exact))
    missed = (exact < table["low"] - slack) | (exact > table["high"] + slack)
    return [f"{table['scope'][i]} {table['quantity'][i]}" for i in np.flatnonzero(missed)]
