"""`creditsim claims list | check | show`: the ledger without figures and report."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import InputError, choose

SIZES = ("quick", "standard", "full")
_SAYS = {"paper": "the paper", "code": "the published code", "notes": "reading notes", "inferred": "inference here"}


@dataclass(frozen=True)
class ListConfig:
    """List the claims: id, source, statement."""

    pattern: tuple[str, ...]
    """A part of an id, paper or figure, or a pattern with * ? []; all claims without one."""
    json: bool = False
    """Print JSON, for scripts: one object per claim."""


@dataclass(frozen=True)
class CheckConfig:
    """Check claims; exit code 1 where a check failed, did not refute its broken twin or support its control."""

    pattern: tuple[str, ...]
    """A part of an id, paper or figure, or a pattern with * ? []; all claims without one."""
    json: bool = False
    """Print JSON, for scripts: one object per claim."""
    size: str = "quick"
    """quick | standard | full"""
    out: str = "results"
    """The folder of results; what is finished there is not computed again."""
    workers: int | None = None
    """Processes; as many as cores unless told."""


@dataclass(frozen=True)
class ShowConfig:
    """Show a claim: statement, source, twin, control, the last verdict with its numbers, how to check it again.

    A pattern shows what it selects as an answer: the questions these claims decide, then each with its last verdict.
    """

    id: str
    """Id of the claim, or a pattern as `claims list` takes it, quoted where it has * ? []."""
    json: bool = False
    """Print JSON, for scripts."""
    out: str = "results"
    """The folder of results that holds the last verdict."""


Config: Mapping[str, type[Any]] = {"list": ListConfig, "check": CheckConfig, "show": ShowConfig}


def run(config: ListConfig | CheckConfig | ShowConfig) -> int:
    """Do one of the three."""
    if isinstance(config, ListConfig):
        return _list(config)
    return _check(config) if isinstance(config, CheckConfig) else _show(config)


def _one(pattern: Sequence[str]) -> str | None:
    if len(pattern) > 1:
        raise InputError("claims pattern", " ".join(pattern), "one pattern, quoted where it has * ? []")
    return pattern[0] if pattern else None


def _list(config: ListConfig) -> int:
    claims = importlib.import_module("theory.ledger").select(_one(config.pattern))
    if config.json:
        print(json.dumps([_described(c) for c in claims], indent=2))
        return 0
    width = max((len(c.name) for c in claims), default=0)
    for c in claims:
        print(f"{c.name:<{width}}  {c.evidence:<8}  {textwrap.shorten(c.statement, 100, placeholder=' …')}")
    return 0


def _described(claim: Any) -> dict[str, Any]:
    return {
        "id": claim.name,
        "paper": claim.paper,
        "source": claim.evidence,
        "kind": claim.claim_kind,
        "statement": claim.statement,
        "figure": claim.figure,
        "broken": claim.broken.description,
        "control": claim.control.description if claim.control else None,
    }


def _check(config: CheckConfig) -> int:
    choose("size", config.size, SIZES)
    if config.workers is not None and config.workers < 1:
        raise InputError("workers", config.workers, "at least 1")
    ledger = importlib.import_module("theory.ledger")
    claims = ledger.select(_one(config.pattern))
    importlib.import_module("theory.verdicts").read(Path(config.out))  # refuses a folder of a newer schema
    store = ledger.store_in(Path(config.out))
    cells = ledger.claim_cells(claims, config.size)
    run_cells = importlib.import_module("creditsim.study.runner").run_cells
    report = run_cells(cells, store.folder, workers=config.workers, label="checks")
    wanted = {c.name for c in claims}
    # All finished claims are decided together, then those asked for are told.
    every = importlib.import_module("theory.claim").CLAIMS
    rows = [row for row in ledger.rows(ledger.claim_cells(every, config.size), store) if row.id in wanted]
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False))
    else:
        print("\n".join(_table(rows)))
    for name, reason in report.failed.items():
        print(f"FAILED {name}: {reason}", file=sys.stderr)
    return 1 if report.failed or any(row.defects for row in rows) else 0


def _table(rows: Sequence[Any]) -> Iterator[str]:
    from creditsim.commands.show import columns

    cells = [["claim", "verdict", "statistic", "prediction", "interval", "alpha", "n", "twin"]]
    for row in rows:
        interval = "exact" if row.alpha == 0 else f"[{_number(row.interval[0])}, {_number(row.interval[1])}]"
        alpha = "exact" if row.alpha == 0 else f"{row.alpha:g}"
        numbers = [_number(row.statistic), _number(row.prediction), interval, alpha, str(row.n or "-")]
        cells.append([row.id, row.verdict, *numbers, row.twin_verdict])
    yield from columns(cells)
    yield from (f"DEFECT {row.id}: {reason}" for row in rows for reason in row.defects)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "0" if abs(value) < 1e-13 else f"{value:.4g}"
    return "-" if value is None else str(value)


def _show(config: ShowConfig) -> int:
    every = importlib.import_module("theory.claim").CLAIMS
    last = importlib.import_module("theory.verdicts").read(Path(config.out))
    rows = last.claims if last else {}
    if config.id not in every:
        return _show_many(importlib.import_module("theory.ledger").select(config.id), rows, config)
    claim = every[config.id]
    row = rows.get(claim.name)
    if config.json:
        print(json.dumps({**_described(claim), "last": row}, indent=2))
        return 0
    print(f"{claim.name}   ({claim.paper}, {claim.claim_kind})\n\n{claim.text}\n")
    where = f"{claim.function.__module__.replace('.', '/')}.py"
    print(f"source:      {claim.evidence} (from {_SAYS[claim.evidence]}); checked in {where}")
    print(f"broken twin: {claim.broken.description}")
    if claim.control:
        print(f"control:     {claim.control.description}")
    if claim.figure:
        print(f"figure:      {claim.figure}")
    print(f"reproduce:   creditsim claims check {claim.name} --size {row['size'] if row else 'quick'}")
    if row:
        print("\n" + "\n".join(_last(row)))
    return 0


def _show_many(claims: Sequence[Any], rows: Mapping[str, Mapping[str, Any]], config: ShowConfig) -> int:
    if config.json:
        print(json.dumps([{**_described(c), "last": rows.get(c.name)} for c in claims], indent=2))
        return 0
    decided = Counter(rows[c.name]["verdict"] for c in claims if c.name in rows)
    counts = ", ".join(f"{n} {verdict}" for verdict, n in decided.most_common()) or "none checked yet"
    print(f"{len(claims)} claims: {counts}\n")
    names = {c.name for c in claims}
    questions = importlib.import_module("theory.question")
    asked = [q for q in questions.QUESTIONS if names.intersection(q.claims)]
    for page in questions.answer_all(rows, asked):
        print(_filled(page.question.title))
        print(
            _filled(page.sentence or f"not answered: {page.failed or 'check ' + ', '.join(page.missing)}", "  ") + "\n"
        )
    for c in claims:
        row = rows.get(c.name)
        print(f"{row['verdict'] if row else 'not checked':<12} {c.name}  (from {_SAYS[c.evidence]})")
        print(_filled(c.text.split("\n\n")[0], "  "))
        print("\n".join(_filled(line, "  ") for line in _numbers(row)) + "\n" if row else "")
    if len(decided) < len(claims):
        print(f"check them:  creditsim claims check '{config.id}'")
    return 0


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(" ".join(text.split()), 110, initial_indent=indent, subsequent_indent=indent)


def _last(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"last verdict: {row['verdict']} at {row['size']} size, twin {row['twin_verdict']}"
    yield from (f"  {line}" for line in _numbers(row))
    yield from (f"  {name}: {value}" for name, value in _flat("", row["detail"]))


def _numbers(row: Mapping[str, Any]) -> Iterator[str]:
    for label, part in zip(("inside", "outside"), row["parts"], strict=False):
        numbers = f"{_number(part['statistic'])} against {_number(part['prediction'])}"
        yield f"{label}: {numbers}, {part['verdict']}. {part['note']}".rstrip()
    if not row["parts"]:
        size = f"n = {row['n']}" if row["n"] else "exact"
        yield f"{_number(row['statistic'])} against {_number(row['prediction'])}, {size}"
    if row["note"]:
        yield row["note"]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(map(_number, value))
    else:
        yield prefix, _number(value)
