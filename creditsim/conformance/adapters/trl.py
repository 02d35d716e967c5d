"""Golden files of TRL's trainers: prompt-major rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditsim.conformance.base import golden
from creditsim.conformance.layouts import prompt_major
from creditsim.estimators import advantage

__all__: list[str] = []

Fields = Mapping[str, Any]

_SCALE = {"group": "std", "batch": "batch", "none": "none"}


@golden("trl_grpo")
def trl_grpo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GRPO with one or several reward functions."""
    rollouts = prompt_major(inputs["rewards_per_func"], params["num_generations"])
    result = advantage(
        rollouts,
        "grpo@trl",
        scale=_SCALE.get(params["scale_rewards"], params["scale_rewards"]),
        aggregation=params["multi_objective_aggregation"],
        reward_weights=tuple(params["reward_weights"]),
    )
    return {"advantage": result}


@golden("trl_rloo")
def trl_rloo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """RLOO, with or without standardisation over the batch."""
    rollouts = prompt_major(inputs["score"], params["num_generations"])
    return {"advantage": advantage(rollouts, "rloo@trl", normalize=params["normalize_advantages"])}
