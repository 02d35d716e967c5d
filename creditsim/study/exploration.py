"""The cell of an exploration study: a conservative method on a table, with exact regret and violated episodes."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.conservative import ConservativeConfig, explore, planned
from creditsim.errors import UnknownNameError, nearest
from creditsim.study.cells import Cell, CellResult
from creditsim.study.entries import parse_entry
from creditsim.study.setting import environment_entry
from creditsim.study.spec import ExplorationStudy

__all__ = ["config_of", "exploration_cells", "run_cell"]

_SETTINGS = ("delta", "data", "first", "growth", "known", "pessimism")


def config_of(spec: Mapping[str, Any], seed: int) -> ConservativeConfig:
    """The run that a cell stands for; UnknownNameError for a setting that methods do not have."""
    method, environment = parse_entry(spec["method"], "methods"), parse_entry(spec["environment"], "environments")
    for name in method.params:
        if name not in _SETTINGS:
            field = f"methods {method.name} setting"
            raise UnknownNameError(field, repr(name), " | ".join(_SETTINGS), nearest(name, _SETTINGS))
    return ConservativeConfig(
        method=method.name,  # pyright: ignore[reportArgumentType] # checked by the config
        env=environment.name,
        env_params=environment.params,
        seed=seed,
        **{name: spec[name] for name in ("kept", "scale", "skill", "episodes", "replicates")},
        **method.params,
    )


def exploration_cells(study: ExplorationStudy) -> list[Cell]:
    """One cell per method, environment, bar and scale, every part found and every number checked."""
    study.check()
    cells: dict[str, Cell] = {}
    for environment, kept, scale, method in itertools.product(
        study.environments, study.kept, study.scales, study.methods
    ):
        spec = {
            "method": str(parse_entry(method, "methods")), "environment": str(environment_entry(environment)),
            "kept": kept, "scale": scale, "skill": study.skill, "episodes": study.episodes,
            "replicates": study.replicates, "alpha": study.alpha,
        }  # fmt: skip
        config = config_of(spec, study.seed)
        config.check()
        planned(config)
        explore(dataclasses.replace(config, episodes=1, replicates=1, data=config.data and 1))
        title = f"{spec['method']} {spec['environment']} kept={kept:g}"
        cell = Cell("creditsim.study.exploration:run_cell", spec, study.seed, title=title)
        cells[cell.id] = cell
    return list(cells.values())


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Per plan and replicate: `episode` (the last one it was played in), exact `value`, `optimism`, `regret` so far.

    Facts: the `bar`, the `optimum`, and per replicate the exact value of the baseline, episodes below the bar, and
    episodes in which the policy was not the optimistic one alone.
    """
    begin = time.perf_counter()
    run = explore(config_of(spec, seed))
    plans, replicates = run.value.shape
    table = {
        "episode": np.repeat(run.episode, replicates),
        "replicate": np.tile(np.arange(replicates), plans),
        "value": run.value.reshape(-1),
        "optimism": run.optimism.reshape(-1),
        "regret": run.regret.reshape(-1),
    }
    facts = {
        "bar": float(run.bar),
        "optimum": float(run.optimum),
        "baseline": run.baseline.tolist(),
        "violations": run.violations.tolist(),
        "cautious": run.cautious.tolist(),
        "cost": {"seconds": round(time.perf_counter() - begin, 3)},
    }
    return CellResult(table, facts)
