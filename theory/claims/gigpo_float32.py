"""What float32 does to groups whose members are all equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.segments import segment_normalise
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.claims.gigpo import PAPER

Normaliser = Callable[[np.ndarray], np.ndarray]

GAMMA, EPS = 0.95, 1e-6
SCALES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
"""Final rewards; the benchmarks that GiGPO is run on pay 10 for a success."""


def naive(dtype: type[np.floating], *, one_pass: bool = False) -> Normaliser:
    """(x - mean) / (std + eps), ddof 1, every operation rounded to `dtype`, sums taken in order.

    `one_pass`: the variance as mean of squares minus square of the mean.
    """

    def of(x: np.ndarray) -> np.ndarray:
        x, n = x.astype(dtype), dtype(x.size)
        mean = _in_order(x) / n
        squares = _in_order(x * x) - n * mean * mean if one_pass else _in_order((x - mean) * (x - mean))
        std = np.sqrt(np.maximum(squares, dtype(0)) / (n - dtype(1)))
        return ((x - mean) / (std + dtype(EPS))).astype(np.float64)

    return of


def _in_order(x: np.ndarray) -> np.floating:
    """Sum term by term: NumPy's own sum adds pairwise, and how a library adds is part of the noise."""
    return np.add.accumulate(x, dtype=x.dtype)[-1]


def shifted(x: np.ndarray) -> np.ndarray:
    """The library's own normalisation: moments of differences to the first member."""
    return segment_normalise(x, np.zeros(x.size, np.int64), 1, scale=True, ddof=1, eps=EPS)


@claim("gigpo.float32-equal-groups", paper=PAPER, source="code", kind="identity", figure="float32_noise")
def float32_equal_groups(trial: Trial) -> Evidence:
    """A group whose members are all equal gets no advantage: max |A| = 0 over groups of 2 to 16 equal discounted
    returns r gamma^k, gamma = 0.95, r in 0.01 ... 1000, with the code's formula (x - mean) / (std + 1e-6) in float32.
    The rounding of the mean leaves a difference, the deviation is of the same size, and their ratio is of order one.
    """
    return _equal_groups(trial, naive(np.float32))


@float32_equal_groups.broken("float32 and a variance taken as mean of squares minus square of the mean")
def _(trial: Trial) -> Evidence:
    return _equal_groups(trial, naive(np.float32, one_pass=True))


@float32_equal_groups.control("moments of differences to the first member, in float64")
def _(trial: Trial) -> Evidence:
    return _equal_groups(trial, shifted)


def _equal_groups(trial: Trial, normalise: Normaliser) -> Evidence:
    steps = np.arange(trial.pick(50, 100, 200))
    drawn = {
        "float32": naive(np.float32),
        "float64, same formula": naive(np.float64),
        "differences to a member": shifted,
    }
    for name, function in drawn.items():
        worst, share = zip(*(_noise(function, scale, steps) for scale in SCALES), strict=True)
        trial.table(arithmetic=name, reward=SCALES, worst=worst, share=share)
    found = {scale: _noise(normalise, scale, steps) for scale in SCALES}
    detail = {
        "worst": {f"{scale:g}": worst for scale, (worst, _) in found.items()},
        "share_of_noisy_groups": {f"{scale:g}": share for scale, (_, share) in found.items()},
        "float64_worst": max(_noise(naive(np.float64), scale, steps)[0] for scale in SCALES),
    }
    return exact_equality([worst for worst, _ in found.values()], 0.0, tolerance=0.0, detail=detail)


def _noise(normalise: Normaliser, reward: float, steps: np.ndarray) -> tuple[float, float]:
    """Largest |A| over the groups, and the share of groups whose advantage exceeds 0.01."""
    worst = [
        float(np.abs(normalise(np.full(size, reward * GAMMA**k))).max())
        for size in range(2, 17)
        for k in steps.tolist()
    ]
    return max(worst), float(np.mean(np.array(worst) > 0.01))
