"""Training on text: what of an iteration is neither the model nor the environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.report import line
from benchmarks.timing import Round, Rounds, Sample

__all__: list[str] = []

_NEEDS = ("torch", "transformers", "alfworld", "textworld")
