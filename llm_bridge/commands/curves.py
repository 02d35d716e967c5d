"""`creditsim bridge curves`: learning curves of several methods and seeds from one warm start, as one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from llm_bridge.training.curve_settings import CurveSettings


@dataclass(frozen=True)
class Config(CurveSettings):
    """Train every method from one warm start with every seed, and store success over environment steps."""

    config: str | None = None
    """A TOML file of these options; options on the command line win."""
    work: str = "results/curves"
    """Folder of finished runs; a second command goes on from what it holds."""
    workers: int | None = None
    """Runs side by side; default: one per CPU. Results do not depend on it."""
    out: str | None = None
    """Write all runs to this Parquet file."""
    json: bool = False
    """Print JSON, for scripts."""


def run(config: Config) -> int:
    """Run what is not finished, store, print the ends; exit code 0, or 1 where a run failed."""
    from pathlib import Path

    from creditsim.store import check_writable
    from creditsim.study.cells import CellResult
    from creditsim.study.files import write_file
    from creditsim.study.provenance import provenance
    from creditsim.study.results import collect
    from creditsim.study.runner import run_cells
    from creditsim.study.store import Store
    from llm_bridge.training.curves import curve_cells

    settings = CurveSettings(**{field.name: getattr(config, field.name) for field in fields(CurveSettings)})
    target = None if config.out is None else check_writable(config.out)
    folder = Path(config.work)
    cells = curve_cells(settings, folder / "models")
    report = run_cells(cells, folder, workers=config.workers, label="curves")
    store = Store(folder)
    columns = collect(cells, store)
    facts = {"made": {name: getattr(settings, name) for name in settings.__dataclass_fields__}}
    first = next((found for cell in cells if (found := store.get(cell)) is not None), None)
    torch = {} if first is None else {"torch": first.meta["torch"]}
    if target is not None and not report.failed:
        write_file(target, CellResult(columns, {**facts, **torch}), {"provenance": provenance()})
    ends = list(_ends(columns, settings)) if columns else []
    told = {"settings": facts["made"], "ends": ends, "failed": report.failed}
    print(json.dumps(told, indent=2) if config.json else "\n".join(_lines(ends, report.failed)))
    return 1 if report.failed else 0


def _ends(columns: Mapping[str, Any], settings: CurveSettings) -> Iterator[dict[str, Any]]:
    """Success before and after, means over the finished seeds."""
    for text in settings.methods:
        method = text.partition("=")[0]
        mine = (columns["method"] == method) & (columns["what"] == "ends")
        before, after = mine & (columns["iteration"] == 0), mine & (columns["iteration"] > 0)
        if before.any():
            yield {
                "method": method,
                "seeds": int(after.sum()),
                "before": float(columns["success"][before].mean()),
                "after": float(columns["success"][after].mean()),
                "steps": float(columns["steps"][after].mean()),
            }


def _lines(ends: list[dict[str, Any]], failed: Mapping[str, str]) -> Iterator[str]:
    for row in ends:
        yield (
            f"{row['method']}: success {row['before']:.3f} before, {row['after']:.3f} after {row['steps']:.0f} steps, "
            f"mean of {row['seeds']} seeds"
        )
    for title, error in failed.items():
        yield f"{title} failed: {' '.join(error.split())}"
