"""`creditsim study KIND`: a grid of cells, computed once each, resumable, with a summary."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditsim.study.spec import ExplorationStudy, LearningStudy, RegretStudy, Study, VarianceStudy

if TYPE_CHECKING:
    from creditsim.study.runner import RunReport


@dataclass(frozen=True)
class _HowOptions:
    config: str | None = None
    """A TOML file of these options; options on the command line win."""
    out: str = "results/study"
    """Folder of the results; a second run goes on from what it holds."""
    workers: int | None = None
    """Processes side by side; default: one per CPU. 1: in this process."""
    shard: str | None = None
    """i/n: only every n-th cell from the i-th on, for n machines that share the work."""
    executor: str = "processes"
    """processes | serial | dask=ADDRESS."""
    memory: int = 512
    """MiB of arrays that one process may hold."""
    json: bool = False
    """Print JSON instead of the table, for scripts."""


@dataclass(frozen=True)
class VarianceConfig(_HowOptions, VarianceStudy):
    """Bias, variance and gradients of estimators against exact values, over a grid."""

    estimator: str | None = None
    """One more estimator beside `estimators`: your own, as package.module:function."""


@dataclass(frozen=True)
class LearningConfig(_HowOptions, LearningStudy):
    """Exact learning curves of methods, over a grid."""


@dataclass(frozen=True)
class RegretConfig(_HowOptions, RegretStudy):
    """Regret and waste of allocation rules on bandits, over a grid, with bands, lock-in and the law of growth."""


@dataclass(frozen=True)
class ExplorationConfig(_HowOptions, ExplorationStudy):
    """Conservative exploration under a bar on the expected return: exact regret and violated episodes, over a grid."""


Config: Mapping[str, type[Any]] = {
    "variance": VarianceConfig,
    "learning": LearningConfig,
    "regret": RegretConfig,
    "exploration": ExplorationConfig,
}

_COLUMNS = {
    "bias_rms": "bias", "variance": "variance", "mse": "mse", "gradient_cosine": "cosine", "gradient_snr": "snr",
}  # fmt: skip
_SHOWN: Mapping[type, tuple[str, Mapping[str, str]]] = {
    VarianceStudy: ("variance_summary", _COLUMNS),
    LearningStudy: ("learning_summary", {"j_start": "J start", "j_end": "J end", "j_average": "J average"}),
    RegretStudy: (
        "regret_summary",
        {
            "waste": "waste",
            "median_waste": "median",
            "regret": "regret",
            "lock_in": "lock-in",
            "exponent": "exponent of waste",
            "lai_robbins": "Lai-Robbins / ln I",
        },
    ),
    ExplorationStudy: (
        "exploration_summary",
        {"regret": "regret", "value_end": "value", "violations": "below the bar", "cautious": "cautious episodes"},
    ),
}
"""Summary of each kind of study, and what is shown of it."""


def run(config: Any) -> int:
    """Run the study and print its summary; exit code 0, or 2 where a cell failed."""
    from creditsim.study import results
    from creditsim.study.launch import How, launch

    study = _study(config)
    how = How(Path(config.out), config.workers, config.shard, config.executor, config.memory)
    cells, store, report = launch(study, how, lambda outlook: print(f"creditsim: {outlook}", file=sys.stderr))
    summary, shown = _SHOWN[type(study)]
    rows = getattr(results, summary)(cells, store)
    if config.json:
        facts = {"study": dataclasses.asdict(study), "out": config.out, "run": dataclasses.asdict(report)}
        print(json.dumps({**facts, "cells": rows}, indent=2))
    else:
        print("\n".join(_table(rows, shown, study.alpha)))
        print(f"{len(rows)} cells in {config.out}, settings in {Path(config.out) / study.name}.toml")
    for line in _remarks(study, rows, report):
        print(f"creditsim: {line}", file=sys.stderr)
    return 2 if report.failed else 0


def _study(config: Any) -> Study:
    kind = next(kind for kind in _SHOWN if isinstance(config, kind))
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(kind)}
    if isinstance(config, VarianceConfig) and config.estimator is not None:
        values["estimators"] = (*config.estimators, config.estimator)
    return kind(**values)


def _remarks(study: Study, rows: Sequence[Mapping[str, Any]], report: RunReport) -> Iterator[str]:
    if report.quarantined:
        yield f"{report.quarantined} corrupt files were put aside as .bad and computed again"
    if report.held:
        yield f"{report.held} cells are being computed by another process"
    wanted = study.precision if isinstance(study, VarianceStudy) else None
    short = [row for row in rows if wanted is not None and row["stopped_by"] != "precision"]
    if short:
        worst = max(short, key=lambda row: max(_known(row["reached"]), default=float("inf")))
        reached = ", ".join(f"{name} {value:.3g}" for name, value in worst["reached"].items() if value is not None)
        yield (
            f"precision {wanted:g} was not reached in {len(short)} of {len(rows)} cells within {worst['replicates']} "
            f"replicates; the worst, {worst['estimator']} on {worst['environment']}, reached {reached or 'nothing'}"
        )
    if report.failed:
        title, error = next(iter(report.failed.items()))
        yield f"{len(report.failed)} cells failed, the first of them {title}: {' '.join(error.split())}"


def _known(reached: Mapping[str, float | None]) -> list[float]:
    return [value for value in reached.values() if value is not None]


def _table(rows: Sequence[Mapping[str, Any]], shown: Mapping[str, str], alpha: float) -> Iterator[str]:
    """Labels that differ between rows, then value +- half-width; what is the same everywhere is said once."""
    if not rows:
        yield "no cell is finished"
        return
    labels = [name for name in rows[0] if name not in ("quantities", "cell", "reached", "stopped_by")]
    labels = [name for name in labels if not name.startswith("estimator_")]
    same = {name: rows[0][name] for name in labels if all(row[name] == rows[0][name] for row in rows)}
    varied = [name for name in labels if name not in same]
    yield ", ".join(f"{name} {value}" for name, value in same.items() if value is not None)
    yield f"value +- half-width of the {100 * (1 - alpha):g} % interval"
    yield ""
    cells = [[name.replace("_", " ") for name in varied] + list(shown.values())]
    cells += [
        [str(row[name]) for name in varied] + [_number(row["quantities"][name]) for name in shown] for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        yield "  ".join(
            text.ljust(width) if i < len(varied) else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()


def _number(quantity: Mapping[str, float | None]) -> str:
    value = quantity["value"]
    if value is None:
        return "-"
    if "low" not in quantity:  # a number that is no estimate, or has no interval of its own
        return f"{value:.4g}"
    low, high = quantity["low"], quantity["high"]
    if low is None or high is None:
        return f"{value:.4g} +- ?"
    return f"{value:.4g} +- {max(value - low, high - value):.2g}"
