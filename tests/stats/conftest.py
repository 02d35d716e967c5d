"""What the calibration tests share: an exact binomial band at a stated error level."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy.stats import binom

Band = Callable[[float, int], tuple[float, float]]

ALPHA = 1e-6


@pytest.fixture(scope="session")
def band() -> Band:
    """(p, runs) -> the range that a share of `runs` successes of probability p leaves with probability <= 1e-6."""

    def of(p: float, runs: int) -> tuple[float, float]:
        low, high = binom.ppf([ALPHA / 2, 1 - ALPHA / 2], runs, p)
        return float(low) / runs, float(high) / runs

    return of
