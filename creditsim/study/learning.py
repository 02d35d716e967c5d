"""The cell of a learning study: a method trained on a table, with its exact return after every update."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from creditsim.study.cells import CellResult
from creditsim.study.entries import parse_entry
from creditsim.train import TrainConfig, train
from creditsim.train_summary import failures, parts

__all__ = ["config_of", "run_cell"]


def config_of(spec: Mapping[str, Any], seed: int) -> TrainConfig:
    """The training run that a cell stands for."""
    method, environment = parse_entry(spec["method"], "methods"), parse_entry(spec["environment"], "environments")
    return TrainConfig(
        method=method.name,
        env=environment.name,
        params=(*_flat(method.params), *_flat({"env": environment.params})),
        replicates=spec["replicates"],
        updates=spec["updates"],
        groups=spec["groups"],
        group_size=spec["group_size"],
        learning_rate=spec["learning_rate"],
        seed=seed,
    )


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Curves of all replicates in long form: `update`, `replicate`, `j` (exact return), `mean_return`, `success`.

    The last two are of the rollouts drawn before each update, NaN for the policy after the last one. Facts: the
    optimum, the parts, and how many replicates failed (NaN or infinity; their curves are NaN from there on).
    """
    begin = time.perf_counter()
    result = train(config_of(spec, seed))
    updates, replicates = result.j.shape
    after = np.full((1, replicates), np.nan)
    table = {
        "update": np.repeat(np.arange(updates), replicates),
        "replicate": np.tile(np.arange(replicates), updates),
        "j": result.j.reshape(-1),
        "mean_return": np.concatenate([result.mean_return, after]).reshape(-1),
        "success": np.concatenate([result.success, after]).reshape(-1),
    }
    facts = {
        "environment_name": result.mdp.name,
        "optimum": float(result.optimum),
        "parts": parts(result),
        "failed": failures(result),
        "config": {k: v for k, v in dataclasses.asdict(result.config).items() if v is not None},
        "cost": {"seconds": round(time.perf_counter() - begin, 3)},
    }
    return CellResult(table, facts)


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """`part.name=value` lines of nested parameters."""
    for name, value in params.items():
        if isinstance(value, Mapping) and not prefix:
            yield from _flat(value, f"{name}.")
        else:
            yield f"{prefix}{name}={_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)
