"""The ledger: run claims as study cells, judge them at one family-wise error level, compare with the last run."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import UnknownNameError, nearest
from creditsim.study.cells import Cell, CellResult
from creditsim.study.store import Store
from theory.claim import CLAIMS, Claim, Size, Trial, facts

__all__ = ["FAMILY_ALPHA", "Row", "changes", "claim_cells", "read_rows", "run_cell", "select"]

FAMILY_ALPHA = 0.01
"""Probability that any statistical row of the whole ledger is decided wrongly."""


@dataclass(frozen=True)
class Row:
    """One line of the ledger, as `claims check --json` prints it."""

    id: str
    paper: str
    statement: str
    source: str
    kind: str
    verdict: str
    alpha: float
    n: int
    statistic: float | None
    prediction: float | None
    interval: tuple[float | None, float | None]
    p_value: float | None
    p_adjusted: float | None
    broken: str
    twin_verdict: str
    twin_refuted: bool
    control: str | None
    control_verdict: str | None
    note: str
    figure: str
    size: str
    seconds: float
    cell: str
    detail: Mapping[str, Any]


def select(pattern: str | None = None) -> list[Claim]:
    """Claims whose id, paper or figure matches a shell pattern; all of them for None; none matching is an error."""
    claims = list(CLAIMS)
    if pattern is None:
        return claims
    wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
    chosen = [c for c in claims if any(fnmatch.fnmatch(t.lower(), wanted.lower()) for t in (c.name, c.paper, c.figure))]
    if not chosen:
        names = [c.name for c in claims]
        raise UnknownNameError(
            "claim pattern",
            repr(pattern),
            f"a pattern that matches one of {len(names)} claims",
            nearest(pattern, names),
        )
    return chosen


def claim_cells(claims: Iterable[Claim], size: Size, seed: int = 0) -> list[Cell]:
    """One cell per claim; its error level is the family's divided by the number of all registered claims."""
    alpha = FAMILY_ALPHA / max(len(CLAIMS.names()), 1)
    return [
        Cell(
            "theory.ledger:run_cell",
            {"claim": c.name, "size": size, "alpha": alpha},
            seed,
            sources=("theory.claim", "theory.shared", c.function.__module__),
            title=c.name,
        )
        for c in claims
    ]


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Check one claim, its broken twin and, where there is one, its control."""
    entry = CLAIMS[spec["claim"]]
    meta: dict[str, Any] = {}
    start = time.perf_counter()
    trial = Trial(spec["size"], spec["alpha"], seed)
    meta["claim"] = facts(entry.function(trial))
    for name, variant in (("twin", entry.broken), ("control", entry.control)):
        if variant is not None:
            # A twin is the same check at the same size and seed; only what is checked differs.
            meta[name] = facts(variant.check(Trial(spec["size"], spec["alpha"], seed)))
    meta["seconds"] = time.perf_counter() - start
    return CellResult(trial.data, meta)


def read_rows(cells: Sequence[Cell], store: Store) -> list[Row]:
    """Rows of the finished cells, with Holm's adjustment over the statistical ones.

    A statistical verdict whose adjusted p-value exceeds the family's level becomes inconclusive.
    """
    from creditsim.stats.multiple import holm

    finished = [(cell, result) for cell in cells if (result := store.get(cell)) is not None]
    p_values = [result.meta["claim"]["p_value"] for _, result in finished]
    statistical = [i for i, p in enumerate(p_values) if p is not None]
    adjusted: dict[int, float] = {}
    if statistical:
        # Claims left out of a partial run still count, so that leaving rows out never makes a verdict easier.
        missing = max(len(CLAIMS.names()) - len(finished), 0)
        raised = holm([p_values[i] for i in statistical] + [1.0] * missing, alpha=FAMILY_ALPHA).adjusted
        adjusted = dict(zip(statistical, [float(p) for p in raised], strict=False))
    return [_row(cell, result, adjusted.get(i)) for i, (cell, result) in enumerate(finished)]


def _row(cell: Cell, result: CellResult, adjusted: float | None) -> Row:
    entry = CLAIMS[cell.spec["claim"]]
    evidence, twin, control = (result.meta.get(name) for name in ("claim", "twin", "control"))
    assert evidence is not None and twin is not None  # noqa: S101 # run_cell always writes both
    decided = evidence["verdict"]
    if adjusted is not None and adjusted > FAMILY_ALPHA:
        decided = "inconclusive"
    return Row(
        id=entry.name,
        paper=entry.paper,
        statement=entry.statement,
        source=entry.evidence,
        kind=entry.claim_kind,
        verdict=decided,
        alpha=evidence["alpha"],
        n=evidence["n"],
        statistic=evidence["statistic"],
        prediction=evidence["prediction"],
        interval=tuple(evidence["interval"]),
        p_value=evidence["p_value"],
        p_adjusted=adjusted,
        broken=entry.broken.description,
        twin_verdict=twin["verdict"],
        twin_refuted=twin["verdict"] == "refuted",
        control=entry.control.description if entry.control else None,
        control_verdict=control["verdict"] if control else None,
        note=evidence["note"],
        figure=entry.figure,
        size=cell.spec["size"],
        seconds=round(result.meta["seconds"], 3),
        cell=cell.id,
        detail=evidence["detail"],
    )


def changes(before: Mapping[str, str], rows: Iterable[Row]) -> list[str]:
    """Lines `id: old -> new` for verdicts that differ from the last run's; claims new to the ledger are no change."""
    return [f"{r.id}: {before[r.id]} -> {r.verdict}" for r in rows if r.id in before and before[r.id] != r.verdict]


def as_json(row: Row) -> dict[str, Any]:
    """Plain JSON object of a row."""
    return asdict(row)


def store_in(folder: Path) -> Store:
    """The store of claim cells under a results folder."""
    return Store(folder / "cells")
