"""A small valid golden file to be broken in tests, and where the real ones lie."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"

GOOD: dict[str, Any] = {
    "estimator": "rloo",
    "schema_version": 1,
    "tolerance": {"rtol": 1e-4, "atol": 1e-6},
    "cases": [
        {
            "name": "pair",
            "params": {},
            "inputs": {"group": ["a", "a"], "response_length": [1, 2], "score": [0.0, 1.0]},
            "expected": {"advantage": [-1.0, 1.0], "advantage_vectorized_variant": [-1.0, 1.0]},
        },
        {
            "name": "alone",
            "params": {},
            "inputs": {"group": [7], "response_length": [3], "score": [2.0]},
            "expected": {"advantage": [2.0], "advantage_vectorized_variant": [0.0]},
        },
    ],
}


def good() -> dict[str, Any]:
    return copy.deepcopy(GOOD)


def write(folder: Path, data: Any, name: str = "rloo.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path
