"""Golden files over rectangles of tokens: GAE, the optimal token baseline, policy losses; and KL penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.conformance.base import golden
from creditsim.conformance.layouts import TokenMatrix, token_matrix
from creditsim.estimators import credit
from creditsim.estimators.base import Pairs
from creditsim.updates.kl import kl_estimate
from creditsim.updates.losses import loss_and_derivative

__all__: list[str] = []

Fields = Mapping[str, Any]

_LOSSES = {"vanilla": "ppo@verl", "gspo": "gspo@verl", "gpg": "gpg@verl"}
_METRICS = {
    "actor/ppo_kl": "ppo_kl",
    "actor/pg_clipfrac": "clip_fraction",
    "actor/pg_clipfrac_lower": "clip_fraction_lower",
}


def _matrices(tokens: TokenMatrix, spec: str, **overrides: Any) -> dict[str, list[list[float]]]:
    result = credit(tokens.rollouts, spec, **overrides)
    return {} if isinstance(result, Pairs) else {name: tokens.to_matrix(values) for name, values in result.items()}


@golden("gae")
def gae(params: Fields, inputs: Fields) -> dict[str, Any]:
    """GAE over tokens, with masked positions left out (verl) and taken as any other (verl-agent)."""
    tokens = token_matrix(inputs, holes=True)
    rollouts = tokens.rollouts.with_columns(weight=tokens.rollouts.columns["valid"].astype(float))
    tokens = TokenMatrix(rollouts, tokens.cells)
    # A line of the file is one turn already, with its reward where it was paid.
    options = {"gamma": params["gamma"], "lam": params["lam"], "turns": "joined"}
    blocks = {}
    for block, preset in {"verl": "verl", "verl_agent": "verl-agent"}.items():
        raw = _matrices(tokens, f"gae_token@{preset}", whiten=False, **options)
        white = _matrices(tokens, f"gae_token@{preset}", **options)
        blocks[block] = {
            "raw_advantage": raw["advantage"],
            "returns": raw["value_target"],
            "advantage": white["advantage"],
        }
    return blocks


@golden("optimal_token_baseline")
def optimal_token_baseline(params: Fields, inputs: Fields) -> dict[str, Any]:
    """Optimal token baseline; both forms of the file, which differ only where positions are masked in between."""
    options = {"handle_zero_tail": params["handle_zero_tail"], "eps": params["epsilon"]}
    columns = _matrices(
        token_matrix(inputs), "optimal_token_baseline@verl", is_weighted="is_weight" in inputs, **options
    )
    return {
        "optimal_token_baseline": columns["advantage"],
        "tir_optimal_token_baseline": columns["advantage"],
        "returns": columns["return_to_go"],
    }


@golden("policy_loss")
def policy_loss(params: Fields, inputs: Fields) -> dict[str, Any]:
    """Clipped surrogates and GPG: value, derivative by log-probability, metrics."""
    tokens = token_matrix(inputs)
    columns, kind = tokens.rollouts.columns, params["loss"]
    mode = params["loss_agg_mode"]
    options: dict[str, Any] = {"aggregation": mode}
    if mode == "seq-mean-token-sum-norm":
        options["norm"] = float(tokens.cells.shape[1])
    if kind != "gpg":
        options |= {"clip_low": params["clip_ratio_low"], "clip_high": params["clip_ratio_high"]}
    if kind == "vanilla":
        options["dual_clip"] = params["clip_ratio_c"]
    result = loss_and_derivative(
        _LOSSES.get(kind, kind),
        columns["logprob"],
        columns["log_prob"],
        columns["advantage"],
        tokens.rollouts.offsets,
        **options,
    )
    return {
        "loss": result.value,
        "grad_logprob": tokens.to_matrix(result.derivative),
        "metrics": {name: result.metrics[ours] for name, ours in _METRICS.items() if ours in result.metrics},
    }


@golden("kl_penalty")
def kl_penalty(params: Fields, inputs: Fields) -> dict[str, Any]:
    """KL estimators: value of each row and derivative of their sum."""
    value, slope = kl_estimate(np.asarray(inputs["logprob"]), np.asarray(inputs["ref_logprob"]), params["kind"])
    return {"value": value, "grad": slope}
