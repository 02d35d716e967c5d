"""The ledger: claims as study cells, and their verdicts decided together at one family-wise error level."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import UnknownNameError, nearest
from creditsim.study.cells import Cell, CellResult
from creditsim.study.store import Store
from theory.claim import CLAIMS, Claim, Size, Trial, evidence_of, facts
from theory.sources import modules_behind

__all__ = [
    "FAMILY_ALPHA", "ROW_ALPHA", "Row", "changes", "claim_cells", "matches", "rows", "run_cell", "select", "store_in",
]  # fmt: skip

FAMILY_ALPHA = 0.01
"""Probability that any statistical row of the whole ledger is decided wrongly, at most."""
ROW_ALPHA = FAMILY_ALPHA / 1000
"""Error level of the intervals shown and of the twins.

A constant, so that a new claim changes no other claim's result. A verdict of one interval (a bootstrap, which cannot be
inverted into smaller p-values) passes the ledger's two Holm runs at FAMILY_ALPHA / 2 while there are at most 500
statistical statements.
"""

_GLOB = "*?["


@dataclass(frozen=True)
class Row:
    """One line of the ledger, as `claims check --json` prints it.

    `verdict` is the whole ledger's, `alpha` the error level of `interval` (0: exact), `p_adjusted` the p-value behind
    the verdict after Holm (None: exact or inconclusive). `parts` holds the regimes of a conditional statement, `twin`
    and `repaired` the evidence of the broken twin and of the control. `defects` says what makes the row untrustworthy.
    """

    id: str
    paper: str
    statement: str
    text: str
    source: str
    kind: str
    verdict: str
    alpha: float
    n: int
    statistic: float | None
    prediction: float | None
    interval: tuple[float | None, float | None]
    margin: float | None
    relation: str
    p_adjusted: float | None
    method: str
    note: str
    detail: Mapping[str, Any]
    parts: tuple[Mapping[str, Any], ...]
    broken: str
    twin_verdict: str
    twin_refuted: bool
    twin: Mapping[str, Any]
    control: str | None
    control_verdict: str | None
    repaired: Mapping[str, Any] | None
    figure: str
    size: str
    seed: int
    seconds: float
    cell: str
    defects: tuple[str, ...]


def matches(pattern: str | None, *texts: str) -> bool:
    """Whether any text matches the shell pattern, upper and lower case alike; a plain word matches a part of a text."""
    if pattern is None:
        return True
    wanted = (pattern if any(c in pattern for c in _GLOB) else f"*{pattern}*").lower()
    return any(fnmatch.fnmatchcase(text.lower(), wanted) for text in texts)


def select(pattern: str | None = None) -> list[Claim]:
    """Claims whose id, paper or figure matches a pattern; all of them for None; none matching is an error."""
    claims = list(CLAIMS)
    chosen = [c for c in claims if matches(pattern, c.name, c.paper, c.figure)]
    if pattern is not None and not chosen:
        names = [c.name for c in claims]
        raise UnknownNameError(
            "claim pattern", repr(pattern), f"what matches one of {len(names)} claims", nearest(pattern, names)
        )
    return chosen


def claim_cells(claims: Iterable[Claim], size: Size, seed: int = 0) -> list[Cell]:
    """One cell per claim."""
    return [
        Cell(
            "theory.ledger:run_cell",
            {"claim": c.name, "size": size, "alpha": ROW_ALPHA},
            seed,
            sources=("theory.claim", "theory.ledger", *modules_behind(c.function.__module__)),
            title=c.name,
        )
        for c in claims
    ]


def store_in(folder: Path) -> Store:
    """The store of cells under a results folder."""
    return Store(Path(folder) / "cells")


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


def rows(cells: Sequence[Cell], store: Store) -> list[Row]:
    """Rows of the finished cells among those of claims, decided together.

    Claims of the registry that are not finished count as undecided statements in two regimes each, so that a partial
    run is never less strict than the whole ledger.
    """
    finished = {cell.spec["claim"]: (cell, result) for cell in cells if (result := store.get(cell)) is not None}
    decided = _decide({name: result.meta["claim"] for name, (_, result) in finished.items()})
    return [_row(cell, result.meta, decided[name]) for name, (cell, result) in finished.items()]


def _decide(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, float | None]]:
    """Verdict and adjusted p-value of each claim's evidence."""
    from creditsim.stats.joint import adjudicate, conditional
    from creditsim.stats.verdict import Evidence

    evidence = {name: evidence_of(found) for name, found in stored.items()}
    # Exact statements cannot be decided wrongly by chance; left out, they take no share of the error level.
    sampled = {
        name: found for name, found in evidence.items() if any(part.alpha > 0 for part in (found.parts or (found,)))
    }
    out: dict[str, tuple[str, float | None]] = {
        name: (found.verdict, None) for name, found in evidence.items() if name not in sampled
    }
    if sampled:
        undecided = Evidence("pad", 0.0, 0.0, (0.0, 0.0), 0.0, FAMILY_ALPHA, 0, "inconclusive", 1.0, 1.0)
        absent = [name for name in CLAIMS.names() if name not in evidence]
        padding = {f"not run: {name}": conditional(undecided, undecided) for name in absent}
        together = adjudicate(sampled | padding, alpha=FAMILY_ALPHA)
        out |= {name: (together[name].verdict, _behind(together[name])) for name in sampled}
    return out


def _behind(evidence: Any) -> float | None:
    """The adjusted p-value of the verdict, of a conditional statement the larger one of its two regimes."""
    decided = [
        part.detail[f"adjusted_p_{part.verdict}"]
        for part in (evidence.parts or (evidence,))
        if part.alpha > 0 and part.verdict in ("supported", "refuted")
    ]
    return None if evidence.verdict == "inconclusive" or not decided else float(max(decided))


def _row(cell: Cell, meta: Mapping[str, Any], decided: tuple[str, float | None]) -> Row:
    entry = CLAIMS[cell.spec["claim"]]
    found, twin, repaired = meta["claim"], meta["twin"], meta.get("control")
    verdict, p_adjusted = decided
    return Row(
        id=entry.name,
        paper=entry.paper,
        statement=entry.statement,
        text=entry.text,
        source=entry.evidence,
        kind=entry.claim_kind,
        verdict=verdict,
        alpha=max(part["alpha"] for part in (found["parts"] or [found])),
        n=found["n"],
        statistic=found["statistic"],
        prediction=found["prediction"],
        interval=(found["interval"][0], found["interval"][1]),
        margin=found["margin"],
        relation=found["kind"],
        p_adjusted=p_adjusted,
        method=found["method"],
        note=found["note"],
        detail=found["detail"],
        parts=tuple(found["parts"]),
        broken=entry.broken.description,
        twin_verdict=twin["verdict"],
        twin_refuted=twin["verdict"] == "refuted",
        twin=twin,
        control=entry.control.description if entry.control else None,
        control_verdict=repaired["verdict"] if repaired else None,
        repaired=repaired,
        figure=entry.figure,
        size=cell.spec["size"],
        seed=cell.seed,
        seconds=round(meta["seconds"], 3),
        cell=cell.id,
        defects=tuple(_defects(verdict, found, twin, repaired)),
    )


def _defects(verdict: str, found: Mapping[str, Any], twin: Mapping[str, Any], repaired: Any) -> Iterable[str]:
    """What is wrong with the check itself: a check that cannot say no, or cannot say yes, decides nothing."""
    if twin["verdict"] != "refuted":
        yield f"the broken twin came out {twin['verdict']}, so the check may be unable to say no"
    if repaired is not None and repaired["verdict"] != "supported":
        yield f"the control came out {repaired['verdict']}, so the check may be unable to say yes"
    says_yes = any(part["verdict"] == "supported" for part in found["parts"])
    if verdict == "refuted" and repaired is None and not says_yes:
        yield "refuted without a control that the same check supports"


def changes(before: Mapping[str, str], after: Iterable[Row]) -> list[str]:
    """Lines `id: old -> new` for verdicts that differ from the last run's; claims new to the ledger are no change."""
    return [f"{r.id}: {before[r.id]} -> {r.verdict}" for r in after if r.id in before and before[r.id] != r.verdict]
