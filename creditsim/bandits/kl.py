"""Bernoulli relative entropy and the KL-UCB index, as scalar sources."""

from __future__ import annotations

import math

from creditsim.jit import kernel

__all__ = ["divergence", "entropy", "upper_index"]

_STEPS = 60


@kernel
def entropy(p):
    """-p ln p - (1-p) ln(1-p), 0 at both ends."""
    return -(p * math.log(p) + (1.0 - p) * math.log1p(-p)) if 0.0 < p < 1.0 else 0.0


@kernel
def divergence(p, q):
    """d(p, q) = p ln(p/q) + (1-p) ln((1-p)/(1-q)), with 0 ln 0 = 0; infinite where q excludes p."""
    left = 0.0 if p <= 0.0 else (math.inf if q <= 0.0 else p * math.log(p / q))
    right = 0.0 if p >= 1.0 else (math.inf if q >= 1.0 else (1.0 - p) * math.log((1.0 - p) / (1.0 - q)))
    return left + right


@kernel
def upper_index(mean, level):
    """Largest q in [mean, 1] with d(mean, q) <= level.

    d(mean, .) is convex and rises from mean on, so Newton's method started right of the root comes down to it and never
    passes it. Two such starts are known, mean + sqrt(level/2) (Pinsker) and 1 - exp(-(level + h(mean)) / (1 - mean)),
    which leaves out mean ln(1/q) >= 0; the smaller is taken. Where the second rounds to 1, 1 - q is below 1e-15 at the
    root too, since ln 1/(1-q) is off by less than 1.
    """
    if mean >= 1.0:
        return 1.0
    if mean <= 0.0:
        return -math.expm1(-level)
    h = entropy(mean)
    q = min(mean + math.sqrt(level / 2.0), -math.expm1(-(level + h) / (1.0 - mean)))
    if q >= 1.0:
        return 1.0
    for _ in range(_STEPS):
        slope = (q - mean) / (q * (1.0 - q))
        if slope <= 0.0:
            return mean
        step = (-h - mean * math.log(q) - (1.0 - mean) * math.log1p(-q) - level) / slope
        q = max(q - step, mean)
        if step < 1e-13:
            return q
    return q
