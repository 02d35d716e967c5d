"""Random numbers of decisions, named by their stream, and the choice one of them makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.errors import InputError
from creditsim.rng import Purpose, uniforms
from llm_bridge.policies.base import Stream

__all__ = ["DRAWS_PER_DECISION", "decision_uniforms", "inverse_cdf", "margin"]

DRAWS_PER_DECISION = 1 << 16
"""Draws set aside for each step of an episode, so that no two decisions share one."""


def decision_uniforms(streams: Sequence[Stream], count: int = 1) -> np.ndarray:
    """Return (S, count) uniforms; row i is a function of stream i alone, and its head does not depend on `count`.

    Draw j of (seed, episode, step) is element step * 2^16 + j of the seed's stream number `episode` with purpose STEP.
    """
    if count > DRAWS_PER_DECISION:
        raise InputError("draws of one decision", count, f"at most {DRAWS_PER_DECISION}")
    out = np.empty((len(streams), count))
    for i, stream in enumerate(streams):
        out[i] = uniforms(stream.seed, stream.episode, Purpose.STEP, count, first=stream.step * DRAWS_PER_DECISION)
    return out


def inverse_cdf(law: np.ndarray, uniform: float) -> int:
    """Return the least index k with law_0 + ... + law_k > uniform; `law` (C,) sums to one up to rounding."""
    cumulative = np.cumsum(law, dtype=np.float64)
    return min(int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right")), len(law) - 1)


def margin(law: np.ndarray, uniform: float | None) -> float:
    """Return how far probabilities may move before the choice can change.

    With a uniform: its distance to the nearest inner step of the distribution function. Without (the greedy choice):
    the lead of the best over the second best. Infinite where there is one choice only.
    """
    if len(law) == 1:
        return np.inf
    if uniform is None:
        second, first = np.partition(law, -2)[-2:]
        return float(first - second)
    return float(np.abs(np.cumsum(law, dtype=np.float64)[:-1] - uniform).min())
