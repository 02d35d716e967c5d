"""Golden files of verl's outcome estimators: one row per response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditsim.conformance.base import golden
from creditsim.conformance.layouts import ragged, sequence_table, token_rows
from creditsim.estimators import credit
from creditsim.estimators.base import Pairs
from creditsim.rollouts import Rollouts

__all__: list[str] = []

Fields = Mapping[str, Any]


def _columns(rollouts: Rollouts, spec: str, **overrides: Any) -> dict[str, Any]:
    result = credit(rollouts, spec, **overrides)
    return {} if isinstance(result, Pairs) else result


def _advantage(inputs: Fields, spec: str, **overrides: Any) -> Any:
    return _columns(sequence_table(inputs), spec, **overrides)["advantage"]


@golden("grpo")
def grpo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GRPO and its vectorised twin."""
    options = {"scale": "std" if params["norm_by_std"] else "none", "eps": params["epsilon"]}
    return {
        "advantage": _advantage(inputs, "grpo@verl", **options),
        "advantage_vectorized_variant": _advantage(inputs, "grpo@verl-vectorized", **options),
    }


@golden("grpo_passk")
def grpo_passk(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GRPO for pass@k."""
    scale = "std" if params["norm_by_std"] else "none"
    return {"advantage": _advantage(inputs, "grpo_passk@verl", scale=scale, eps=params["epsilon"])}


@golden("rloo")
def rloo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """RLOO and its vectorised twin."""
    return {
        "advantage": _advantage(inputs, "rloo@verl"),
        "advantage_vectorized_variant": _advantage(inputs, "rloo@verl-vectorized"),
    }


@golden("opo")
def opo(params: Fields, inputs: Fields) -> dict[str, Any]:
    """OPO."""
    return {"advantage": _advantage(inputs, "opo@verl")}


@golden("gpg")
def gpg(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GPG."""
    return {"advantage": _advantage(inputs, "gpg@verl", f_norm=params["f_norm"])}


@golden("reinforce_plus_plus_baseline")
def reinforce_plus_plus_baseline(params: Fields, inputs: Fields) -> dict[str, Any]:
    """REINFORCE++-baseline."""
    return {"advantage": _advantage(inputs, "reinforce_plus_plus_baseline@verl")}


@golden("reinforce_plus_plus")
def reinforce_plus_plus(params: Fields, inputs: Fields) -> dict[str, Any]:
    """REINFORCE++ over tokens."""
    return _tokens(inputs, "reinforce_plus_plus@verl", gamma=params["gamma"])


@golden("remax")
def remax(params: Fields, inputs: Fields) -> dict[str, Any]:
    """ReMax over tokens."""
    return _tokens(inputs, "remax@verl")


def _tokens(inputs: Fields, spec: str, **overrides: Any) -> dict[str, Any]:
    rollouts = token_rows(inputs)
    columns = _columns(rollouts, spec, **overrides)
    return {
        "token_advantage": ragged(columns["advantage"], rollouts.offsets),
        "token_return": ragged(columns["returns"], rollouts.offsets),
    }
