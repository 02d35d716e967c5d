"""Golden files of verl-agent's group estimators: one row per environment step, scored by the episode's return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditsim.conformance.base import golden
from creditsim.conformance.layouts import step_table
from creditsim.estimators import advantage

__all__: list[str] = []

Fields = Mapping[str, Any]


def _advantage(params: Fields, inputs: Fields, spec: str, **overrides: Any) -> dict[str, Any]:
    rollouts = step_table(inputs)
    weighting = "step" if params["compute_mean_std_cross_steps"] else "trajectory"
    result = advantage(rollouts, spec, weighting=weighting, **overrides)
    return {"advantage": rollouts.to_input_order(result)}


@golden("grpo_agent")
def grpo_agent(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GRPO over step rows."""
    scale = "std" if params["norm_by_std"] else "none"
    return _advantage(params, inputs, "grpo@verl-agent", scale=scale, eps=params["epsilon"])


@golden("rloo_agent")
def rloo_agent(params: Fields, inputs: Fields) -> dict[str, Any]:
    """RLOO over step rows."""
    return _advantage(params, inputs, "rloo@verl-agent")


@golden("reinforce_plus_plus_baseline_agent")
def reinforce_plus_plus_baseline_agent(params: Fields, inputs: Fields) -> dict[str, Any]:
    """REINFORCE++-baseline over step rows."""
    return _advantage(params, inputs, "reinforce_plus_plus_baseline@verl-agent")
