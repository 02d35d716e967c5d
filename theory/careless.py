"""Exploration that keeps to a schedule, whatever the bounds say: what a conservative method must differ from."""

from __future__ import annotations

from typing import Any

import numpy as np

from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.conservative import conservative
from creditsim.sampling.table import TableSampler

__all__ = ["half_forever"]


def half_forever(
    sampler: TableSampler, policy: Any, state: dict[str, Any], *, group_size: int = 1, kept: float = 0.9,
    known: bool = False,
) -> tuple[Rollouts, dict[str, Any]]:  # fmt: skip
    """Play half of the episodes by the optimistic policy and half by the baseline, from the first plan to the last."""
    bar = kept * np.broadcast_to(state["baseline_value"], sampler.batches)
    # Bounds as far above the bar as below it make a mixture of a half.
    doctored = {**state, "lower": np.stack([bar + 1.0, bar - 1.0], axis=1)}
    rollouts, after = conservative(sampler, policy, doctored, group_size=group_size, mix="episode", kept=kept)
    return rollouts, {**after, "lower": state.get("lower", doctored["lower"])}
