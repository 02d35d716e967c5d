"""`creditsim reproduce`: check the claims, draw the figures, write verdicts.json and report.html, tell what changed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import ExtraMissingError, InputError


@dataclass(frozen=True)
class Config:
    """Check the published claims against exact values, draw them, and write one report.

    Finished results are kept in the output folder and not computed again. Exit code 1 where a verdict differs from the
    last run's in the same folder, a check failed, or a check did not refute its broken twin.
    """

    quick: bool = False
    """The smallest size, about a minute on two cores (the default)."""
    standard: bool = False
    """A larger size: more replicates, larger cases."""
    full: bool = False
    """The largest size, for an evening."""
    only: str | None = None
    """Only claims and figures that match this pattern: a part of an id, paper or figure, or a pattern with * ? []."""
    out: str = "results"
    """The folder of results."""
    workers: int | None = None
    """Processes; as many as cores unless told."""
    no_figures: bool = False
    """Draw no figures; the report then has none."""
    json: bool = False
    """Print JSON instead of the table, for scripts; the rows themselves are in verdicts.json."""


def size_of(quick: bool, standard: bool, full: bool) -> str:
    """Return the one size asked for, quick for none."""
    asked = [name for name, wanted in (("quick", quick), ("standard", standard), ("full", full)) if wanted]
    if len(asked) > 1:
        raise InputError("size", " and ".join(f"--{name}" for name in asked), "one of --quick --standard --full")
    return asked[0] if asked else "quick"


def require_extra(*packages: str) -> None:
    """Raise before any work where a package of the figures extra is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ExtraMissingError(package, "figures")


def run(config: Config) -> int:
    """Do it and print the table of verdicts, what changed, and where the report is."""
    size = size_of(config.quick, config.standard, config.full)
    if config.workers is not None and config.workers < 1:
        raise InputError("workers", config.workers, "at least 1")
    require_extra("jinja2", *(() if config.no_figures else ("matplotlib",)))
    start = time.perf_counter()
    outcome = importlib.import_module("figures.reproduce").reproduce(
        Path(config.out), size, only=config.only, workers=config.workers, figures=not config.no_figures
    )
    seconds = time.perf_counter() - start
    if config.json:
        print(json.dumps({"size": size, "seconds": round(seconds, 1), **summary(outcome)}, indent=2))
    else:
        print("\n".join(lines(outcome, size, seconds)))
    return 0 if outcome.sound else 1


def summary(outcome: Any) -> dict[str, Any]:
    """What the run did and found, as JSON can hold it."""
    counts = ("computed", "skipped", "held", "quarantined", "drawn")
    return {
        "sound": outcome.sound,
        "counts": dict(Counter(row.verdict for row in outcome.rows)),
        "changed": list(outcome.changed),
        "defects": {row.id: list(row.defects) for row in outcome.rows if row.defects},
        "failed": {**outcome.failed, **outcome.undrawn, **outcome.unanswered},
        "lacking": {name: list(missing) for name, missing in outcome.lacking.items()},
        **{name: getattr(outcome, name) for name in counts},
        "verdicts": str(outcome.verdicts),
        "report": str(outcome.report),
    }


def lines(outcome: Any, size: str, seconds: float) -> Iterator[str]:
    """What is printed at the end."""
    yield from verdict_table(outcome.rows)
    for label, failed in (("check", outcome.failed), ("figure", outcome.undrawn), ("answer", outcome.unanswered)):
        yield from (f"FAILED {label} {name}: {reason}" for name, reason in failed.items())
    yield from (f"DEFECT {row.id}: {reason}" for row in outcome.rows for reason in row.defects)
    if outcome.held:
        yield f"{outcome.held} claims are being computed by another process; start again for a whole report"
    if outcome.quarantined:
        yield f"{outcome.quarantined} corrupt result files were put aside as .bad and computed again"
    if outcome.lacking:
        yield f"figures not drawn for lack of data: {', '.join(outcome.lacking)}"
    if outcome.changed:
        yield "changed since the last run:"
        yield from (f"  {line}" for line in outcome.changed)
    yield (
        f"{outcome.computed} computed, {outcome.skipped} found finished, {outcome.drawn} figures drawn, "
        f"{size} size, {seconds:.1f} s"
    )
    yield f"verdicts: {outcome.verdicts}"
    yield f"report:   {outcome.report}"


def verdict_table(rows: Sequence[Any]) -> Iterator[str]:
    """Counts of verdicts per paper."""
    words = ("supported", "conditional", "refuted", "inconclusive")
    counts = Counter((row.paper, row.verdict) for row in rows)
    papers = sorted({row.paper for row in rows}, key=str.lower)
    width = max(map(len, [*papers, "claims"]), default=6)
    yield f"{'claims':<{width}}" + "".join(f"{word:>14}" for word in words)
    for paper in papers:
        yield f"{paper:<{width}}" + "".join(f"{counts[paper, word] or '·':>14}" for word in words)
    totals = Counter(row.verdict for row in rows)
    yield f"{'all':<{width}}" + "".join(f"{totals[word]:>14}" for word in words)
