"""Golden files of GiGPO and HGPO: one row per environment step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditsim.arrays import Array
from creditsim.conformance.base import golden
from creditsim.conformance.layouts import step_table
from creditsim.estimators import credit
from creditsim.estimators.base import Pairs
from creditsim.rollouts import Rollouts

__all__: list[str] = []

Fields = Mapping[str, Any]

_NORMALIZE = {"mean_std_norm": "mean_std", "mean_norm": "mean"}


def _columns(rollouts: Rollouts, spec: str, **overrides: Any) -> dict[str, Array]:
    result = credit(rollouts, spec, **overrides)
    if isinstance(result, Pairs):
        return {}
    return {name: rollouts.to_input_order(values) for name, values in result.items()}


@golden("gigpo")
def gigpo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GiGPO with exact or similar anchors, both weightings, and the penalty of invalid actions."""
    options = {
        "gamma": params["gamma"],
        "step_weight": params["step_advantage_w"],
        "weighting": "step" if params["compute_mean_std_cross_steps"] else "trajectory",
        "normalize": _NORMALIZE.get(params["mode"], params["mode"]),
        "eps": params["epsilon"],
        "penalty": params["invalid_action_penalty_coef"] or 0.0,
    }
    threshold = params["similarity_thresh"]
    if threshold is None:
        return _columns(step_table(inputs), "gigpo@verl-agent", **options)
    return _columns(step_table(inputs), "gigpo_similarity@verl-agent", threshold=threshold, **options)


@golden("hgpo")
def hgpo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """HGPO with and without the episode level."""
    options = {
        "K": params["history_length"],
        "gamma": params["gamma"],
        "alpha": params["length_weight_alpha"],
        "normalize": _NORMALIZE.get(params["mode"], params["mode"]),
        "eps": params["epsilon"],
        "base_group": params["base_group"],
        "penalty": params["invalid_action_penalty_coef"] or 0.0,
    }
    return _columns(step_table(inputs), "hgpo@verl-agent", **options)
