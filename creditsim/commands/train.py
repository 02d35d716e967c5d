"""`creditsim train`: run a method on a table, many replicates side by side, and print its exact learning curve."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creditsim.train_config import TrainConfig

if TYPE_CHECKING:
    from creditsim.train import TrainResult


@dataclass(frozen=True)
class Config(TrainConfig):
    """Train tabular policies by a method, many replicates side by side, with the exact return after every update."""

    config: str | None = None
    """A TOML file of these options; options on the command line win."""
    out: str | None = None
    """Write the curves to this Parquet file, whole or not at all."""
    json: bool = False
    """Print JSON instead of the table, for scripts."""


def run(config: Config) -> int:
    """Train, write what was asked for, print the summary; exit code 0."""
    from creditsim.store import check_writable
    from creditsim.train import train

    if config.out is not None:
        check_writable(config.out)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    result = train(TrainConfig(**{name: getattr(config, name) for name in names}), progress=_bar)
    if config.out is not None:
        write(result, config.out)
    summary = summarise(result)
    print(json.dumps(summary, indent=2) if config.json else "\n".join(_table(summary)))
    return 0


def _bar(updates: Iterable[int]) -> Iterable[int]:
    from tqdm import tqdm

    # `disable=None` is tqdm's "off when not a terminal".
    return tqdm(updates, desc="updates", disable=None, file=sys.stderr, leave=False)


def summarise(result: TrainResult) -> dict[str, Any]:
    """The run in numbers: J over replicates at its start and end, with standard errors, and the optimum."""
    config = result.config
    return {
        "method": config.method,
        "environment": result.mdp.name,
        "parts": {
            "design": result.plan.design.label,
            "signals": [bound.label for bound in result.plan.signals],
            "estimator": result.plan.estimator.label,
            "update": result.plan.update.label,
        },
        "replicates": config.replicates,
        "updates": config.updates,
        "trajectories_per_update": config.groups * config.group_size,
        "j_start": _mean(result.j[0]),
        "j_end": _mean(result.j[-1]),
        "optimum": float(result.optimum),
        "success_start": _mean(result.success[0]) if config.updates else None,
        "success_end": _mean(result.success[-1]) if config.updates else None,
        "rows_generated": float(result.generated.sum(axis=0).mean()),
        "states_met": float(result.met[-1].mean()) if config.updates else None,
    }


def _mean(values: Any) -> dict[str, float | None]:
    # A search that ended no path in an update has no success to tell.
    values = values[values == values]
    n = len(values)
    if n == 0:
        return {"mean": None, "standard_error": None}
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    return {"mean": float(values.mean()), "standard_error": error}


def _table(summary: dict[str, Any]) -> Iterable[str]:
    parts = summary["parts"]
    yield f"{summary['method']} on {summary['environment']}"
    yield (
        f"{summary['replicates']} replicates, {summary['updates']} updates, "
        f"{summary['trajectories_per_update']} trajectories each; "
        f"estimator {parts['estimator']}, update {parts['update']}"
    )
    yield f"{'':<22}{'start':>10}{'end':>10}{'standard error':>17}{'optimum':>10}"
    for label, name in (("exact return J", "j"), ("sampled success", "success")):
        start, end = summary[f"{name}_start"], summary[f"{name}_end"]
        if start is None:
            continue
        error = "-" if end["standard_error"] is None else f"{end['standard_error']:.4f}"
        best = f"{summary['optimum']:.4f}" if name == "j" else ""
        first, last = ("-" if side["mean"] is None else f"{side['mean']:.4f}" for side in (start, end))
        yield f"{label:<22}{first:>10}{last:>10}{error:>17}{best:>10}"


def write(result: TrainResult, path: str) -> None:
    """Write one row per update and replicate to a Parquet file, the config and versions in its metadata."""
    import numpy as np

    import creditsim
    from creditsim.configs import dump
    from creditsim.store import write_parquet

    updates, replicates = result.j.shape
    before = np.full((1, replicates), np.nan)
    number = np.arange(replicates) + result.config.first_replicate
    columns = {
        "update": np.repeat(np.arange(updates), replicates),
        "replicate": np.tile(number, updates),
        "j": result.j.ravel(),
        "mean_return": np.concatenate([before, result.mean_return]).ravel(),
        "success": np.concatenate([before, result.success]).ravel(),
        "generated": np.concatenate([before, result.generated]).ravel(),
        "silent": np.concatenate([before, result.silent]).ravel(),
        "met": np.concatenate([before, result.met]).ravel(),
    }
    metadata = {
        "schema": "1",
        "creditsim": creditsim.__version__,
        "config": dump(result.config),
        "parts": json.dumps(summarise(result)["parts"]),
        "optimum": repr(float(result.optimum)),
    }
    write_parquet(path, columns, metadata)
