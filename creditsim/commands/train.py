"""`creditsim train`: run a method on a table, many replicates side by side, and print its exact learning curve."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditsim.errors import ExtraMissingError, InputError
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
    figure: str | None = None
    """Draw the exact learning curve, with a band over replicates, to this .png, .svg or .pdf file."""
    json: bool = False
    """Print JSON instead of the table, for scripts."""


_PICTURES = (".png", ".svg", ".pdf")


def run(config: Config) -> int:
    """Train, write what was asked for, print the summary; exit code 0."""
    from creditsim.store import check_writable
    from creditsim.train import train
    from creditsim.train_summary import summarise

    if config.figure is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise ExtraMissingError("matplotlib", "figures")
        if Path(config.figure).suffix not in _PICTURES:
            raise InputError("figure", repr(config.figure), "a file name that ends in " + " | ".join(_PICTURES))
    for field, path in (("out", config.out), ("figure", config.figure)):
        if path is not None:
            check_writable(path, field)
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    result = train(TrainConfig(**{name: getattr(config, name) for name in names}), progress=_bar)
    if config.out is not None:
        write(result, config.out)
    if config.figure is not None:
        draw(result, config.figure)
    summary = summarise(result)
    print(json.dumps(summary, indent=2) if config.json else "\n".join(_table(summary)))
    return 0


def draw(result: TrainResult, path: str) -> None:
    """Draw the exact curve to a file, whole or not at all."""
    from creditsim.store import replace_file
    from creditsim.train_summary import band

    title = f"{result.config.method} on {result.mdp.name}"
    figure = importlib.import_module("figures.training")
    picture = figure.draw(band(result), title, float(result.optimum), Path(path).suffix[1:])
    replace_file(path, lambda temporary: temporary.write_bytes(picture))


def _bar(updates: Iterable[int]) -> Iterable[int]:
    from tqdm import tqdm

    # `disable=None` is tqdm's "off when not a terminal".
    return tqdm(updates, desc="updates", disable=None, file=sys.stderr, leave=False)


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
    yield from _failed(summary)


def _failed(summary: dict[str, Any]) -> Iterable[str]:
    failed = summary["failed"]
    if failed["number"]:
        yield (
            f"FAILED: {failed['number']} of {summary['replicates']} replicates became NaN or infinite, "
            f"the first in update {failed['first_update']}; they stopped there, and the end is of the others"
        )


def write(result: TrainResult, path: str) -> None:
    """Write one row per update and replicate to a Parquet file, the config and versions in its metadata."""
    import numpy as np

    import creditsim
    from creditsim.configs import dump
    from creditsim.store import write_parquet
    from creditsim.train_summary import parts

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
        "parts": json.dumps(parts(result)),
        "optimum": repr(float(result.optimum)),
    }
    write_parquet(path, columns, metadata)
