"""From claims to verdicts, figures and the report, in one results folder."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from creditsim.errors import UnknownNameError, nearest
from creditsim.study.runner import RunReport, process_pool, run_cells
from figures.base import FIGURES, FigurePart
from figures.publish import Drawn, jobs, publish, stale
from figures.report.build import Report, write
from figures.report.own import own_studies
from figures.results import Results, figures_for, study_cells_of
from theory import ledger, verdicts
from theory.claim import CLAIMS, Claim, Size
from theory.question import QUESTIONS, Answered, answer_all

__all__ = ["FIGURE_FOLDER", "Outcome", "chosen", "draw", "evidence", "reproduce"]

FIGURE_FOLDER = "figures"
_WORTH_A_POOL = 4
"""Figures from which starting processes is quicker than drawing them one by one."""


@dataclass(frozen=True)
class Outcome:
    """What a run did; `failed` by claim or study, `undrawn` by figure, `unanswered` by question."""

    rows: Sequence[ledger.Row]
    changed: Sequence[str]
    failed: Mapping[str, str]
    undrawn: Mapping[str, str]
    unanswered: Mapping[str, str]
    lacking: Mapping[str, Sequence[str]]
    computed: int
    skipped: int
    held: int
    quarantined: int
    drawn: int
    verdicts: Path
    report: Path

    @property
    def sound(self) -> bool:
        """No verdict changed, nothing failed, every check can say yes and no."""
        broken = self.changed or self.failed or self.undrawn or self.unanswered
        return not (broken or any(row.defects for row in self.rows))


@dataclass
class Drawing:
    """What `draw` did."""

    entries: list[Drawn] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, list[str]] = field(default_factory=dict)
    drawn: int = 0


def chosen(only: str | None) -> tuple[list[Claim], list[FigurePart]]:
    """Claims and figures that a pattern names: with a figure its claims, with a claim its figures."""
    claims = [c for c in CLAIMS if ledger.matches(only, c.name, c.paper, c.figure)]
    figures = figures_for(only, (c.name for c in claims) if only is not None else ())
    if only is not None and not claims:
        wanted = {name for f in figures for name in f.claims}
        claims = [c for c in CLAIMS if c.name in wanted]
    if only is not None and not claims and not figures:
        names = [*CLAIMS.names(), *FIGURES.names()]
        allowed = f"what matches one of {len(CLAIMS.names())} claims or {len(FIGURES.names())} figures"
        raise UnknownNameError("claim pattern", repr(only), allowed, nearest(only, names))
    return claims, figures


def reproduce(
    out: Path, size: Size, *, only: str | None = None, workers: int | None = None, figures: bool = True
) -> Outcome:
    """Run what is not finished, decide all that is, draw, and write verdicts.json and report.html.

    Errors: InputError for a pattern that matches nothing, a folder that cannot be written or one of a newer schema.
    """
    before = verdicts.read(out)
    claims, parts = chosen(only)
    asked_questions = list(QUESTIONS)  # loaded now, so that a defect in one is met before the work and not after
    store = ledger.store_in(out)
    asked = ledger.claim_cells(claims, size)
    studies = study_cells_of(parts, size) if figures else []
    report = run_cells([*asked, *studies], store.folder, workers=workers, label="checks")
    rows = ledger.rows(ledger.claim_cells(CLAIMS, size), store)
    changed = ledger.changes(before.decided if before else {}, rows)
    results = Results(store, size, {row.id: row.verdict for row in rows})
    # A partial run draws every figure whose results are there: the report is about the folder, not about the pattern.
    drawing = draw(list(FIGURES), results, out / FIGURE_FOLDER, workers=workers) if figures else Drawing()
    drawing.lacking = {part.name: drawing.lacking[part.name] for part in parts if part.name in drawing.lacking}
    questions = answer_all(evidence(rows, results), asked_questions)
    written = verdicts.write(out, size, rows, report.failed, before)
    page = Report(rows, size, out / FIGURE_FOLDER, drawing.entries, questions, report.failed, changed, own_studies(out))
    return _outcome(rows, changed, report, drawing, questions, written, write(page, out))


def evidence(rows: Sequence[ledger.Row], results: Results) -> dict[str, Mapping[str, Any]]:
    """Facts of each finished claim by its id, with the ledger's verdict."""
    found = {row.id: results.load([row.id]) for row in rows}
    return {name: data[name].meta for name, data in found.items() if data is not None}


def draw(parts: Sequence[FigurePart], results: Results, folder: Path, *, workers: int | None = None) -> Drawing:
    """Draw the figures whose results are there, in several processes where that is worth their start."""
    ready, lacking = jobs(parts, results, folder)
    todo = stale(ready, folder)
    bar = tqdm(total=len(ready), desc="figures", unit="figure", disable=not sys.stderr.isatty())
    pool = process_pool(min(workers or os.cpu_count() or 1, todo)) if todo >= _WORTH_A_POOL and workers != 1 else None
    try:
        entries, failed, drawn = publish(ready, folder, executor=pool, on_done=lambda name: bar.update())
    except KeyboardInterrupt:
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
        raise
    finally:
        bar.close()
    if pool is not None:
        pool.shutdown()
    return Drawing(entries, failed, lacking, drawn)


def _outcome(
    rows: Sequence[ledger.Row],
    changed: Sequence[str],
    report: RunReport,
    drawing: Drawing,
    questions: Sequence[Answered],
    written: Path,
    page: Path,
) -> Outcome:
    return Outcome(
        rows=rows,
        changed=changed,
        failed=report.failed,
        undrawn=drawing.failed,
        unanswered={a.question.name: a.failed for a in questions if a.failed},
        lacking=drawing.lacking,
        computed=report.computed,
        skipped=report.skipped,
        held=report.held,
        quarantined=report.quarantined,
        drawn=drawing.drawn,
        verdicts=written,
        report=page,
    )
