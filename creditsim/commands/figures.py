"""`creditsim figures`: draw what a results folder holds; write the gallery and the question pages of the docs."""

from __future__ import annotations

import dataclasses
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.commands.reproduce import require_extra
from creditsim.errors import InputError


@dataclass(frozen=True)
class Config:
    """Draw the figures whose results are in a folder that `creditsim reproduce` filled; compute nothing."""

    only: str | None = None
    """Only figures that match this pattern by name, title or claim."""
    out: str = "results"
    """The folder of results; figures go to its subfolder figures/ as PDF, SVG, PNG and Parquet."""
    gallery: str | None = None
    """Also write PNGs and a page with their captions into this folder."""
    questions: str | None = None
    """Also write a page per answered question into this folder."""
    workers: int | None = None
    """Processes; as many as cores unless told."""
    json: bool = False
    """Print JSON instead of lines, for scripts."""


def run(config: Config) -> int:
    """Draw, tell what was drawn and what lacks data; exit code 1 where a figure or a page failed."""
    require_extra("matplotlib")
    if config.workers is not None and config.workers < 1:
        raise InputError("workers", config.workers, "at least 1")
    made = importlib.import_module("figures.gallery").make(
        Path(config.out),
        only=config.only,
        gallery=Path(config.gallery) if config.gallery else None,
        questions=Path(config.questions) if config.questions else None,
        workers=config.workers,
    )
    if config.json:
        print(json.dumps(_summary(made), indent=2))
        return 1 if made.failed else 0
    for entry in made.entries:
        print(f"{entry.name}: {entry.title}")
    for name, missing in made.lacking.items():
        print(f"not drawn: {name}, which lacks {', '.join(missing)}")
    for name, reason in made.failed.items():
        print(f"FAILED {name}: {reason}")
    print(f"{made.drawn} drawn, {len(made.entries) - made.drawn} as they were; {made.folder}")
    for page in made.pages:
        print(f"wrote {page}")
    return 1 if made.failed else 0


def _summary(made: Any) -> dict[str, Any]:
    return {
        "figures": [dataclasses.asdict(entry) for entry in made.entries],
        "lacking": {name: list(missing) for name, missing in made.lacking.items()},
        "failed": dict(made.failed),
        "drawn": made.drawn,
        "folder": str(made.folder),
        "pages": [str(page) for page in made.pages],
    }
