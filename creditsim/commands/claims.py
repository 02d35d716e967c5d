"""`creditsim claims list | check | show`: the ledger without figures and report."""

from __future__ import annotations

import importlib
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import InputError, choose

ACTIONS = ("list", "check", "show")
SIZES = ("quick", "standard", "full")


@dataclass(frozen=True)
class Config:
    """List the claims, check them, or show one: `claims list [PATTERN]`, `claims check [PATTERN]`, `claims show ID`.

    A pattern is a part of an id, a paper or a figure, or has * ? []. `check` exits with 1 where a check failed, did not
    refute its broken twin, or did not support its control.
    """

    words: tuple[str, ...]
    """list | check | show, then a pattern or an id."""
    json: bool = False
    """Print JSON, for scripts: one object per claim."""
    size: str = "quick"
    """quick | standard | full"""
    out: str = "results"
    """The folder of results; what is finished there is not computed again."""
    workers: int | None = None
    """Processes; as many as cores unless told."""


def run(config: Config) -> int:
    """Do one of the three."""
    action, pattern = _words(config.words)
    choose("size", config.size, SIZES)
    if config.workers is not None and config.workers < 1:
        raise InputError("workers", config.workers, "at least 1")
    return {"list": _list, "check": _check, "show": _show}[action](config, pattern)


def _words(words: Sequence[str]) -> tuple[str, str | None]:
    if not words:
        raise InputError("claims", "nothing", "list [PATTERN] | check [PATTERN] | show ID")
    action = choose("claims", words[0], ACTIONS)
    if len(words) > 2 or (action == "show" and len(words) != 2):
        raise InputError(
            f"claims {action}", " ".join(words[1:]) or "nothing", "one id" if action == "show" else "a pattern"
        )
    return action, words[1] if len(words) > 1 else None


def _list(config: Config, pattern: str | None) -> int:
    claims = importlib.import_module("theory.ledger").select(pattern)
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


def _check(config: Config, pattern: str | None) -> int:
    ledger = importlib.import_module("theory.ledger")
    runner = importlib.import_module("creditsim.study.runner")
    claims = ledger.select(pattern)
    importlib.import_module("theory.verdicts").read(Path(config.out))  # refuses a folder of a newer schema
    store = ledger.store_in(Path(config.out))
    report = runner.run_cells(
        ledger.claim_cells(claims, config.size), store.folder, workers=config.workers, label="checks"
    )
    wanted = {c.name for c in claims}
    # All finished claims are decided together, then those asked for are told.
    every = importlib.import_module("theory.claim").CLAIMS
    rows = [row for row in ledger.rows(ledger.claim_cells(every, config.size), store) if row.id in wanted]
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, allow_nan=False))
    else:
        for line in _table(rows):
            print(line)
    for name, reason in report.failed.items():
        print(f"FAILED {name}: {reason}", file=_stderr())
    return 1 if report.failed or any(row.defects for row in rows) else 0


def _stderr() -> Any:
    import sys

    return sys.stderr


def _table(rows: Sequence[Any]) -> Iterator[str]:
    from creditsim.commands.show import columns

    cells = [["claim", "verdict", "statistic", "prediction", "interval", "alpha", "n", "twin"]]
    for row in rows:
        interval = "exact" if row.alpha == 0 else f"[{_number(row.interval[0])}, {_number(row.interval[1])}]"
        alpha = "exact" if row.alpha == 0 else f"{row.alpha:g}"
        cells.append(
            [row.id, row.verdict, _number(row.statistic), _number(row.prediction), interval, alpha, str(row.n or "-")]
            + [row.twin_verdict]
        )
    yield from columns(cells)
    yield from (f"DEFECT {row.id}: {reason}" for row in rows for reason in row.defects)


def _number(value: float | None) -> str:
    return "-" if value is None else "0" if abs(value) < 1e-13 else f"{value:.4g}"


def _show(config: Config, name: str | None) -> int:
    claim = importlib.import_module("theory.claim").CLAIMS[name]
    last = importlib.import_module("theory.verdicts").read(Path(config.out))
    row = last.claims.get(claim.name) if last else None
    if config.json:
        print(json.dumps({**_described(claim), "last": row}, indent=2))
        return 0
    meanings = {
        "paper": "the paper",
        "code": "the published code",
        "notes": "reading notes",
        "inferred": "inference here",
    }
    print(f"{claim.name}   ({claim.paper}, {claim.claim_kind})\n\n{claim.text}\n")
    print(f"source:      {claim.evidence} (from {meanings[claim.evidence]}); {_file(claim)}")
    print(f"broken twin: {claim.broken.description}")
    if claim.control:
        print(f"control:     {claim.control.description}")
    if claim.figure:
        print(f"figure:      {claim.figure}")
    print(f"reproduce:   creditsim claims check {claim.name} --size {row['size'] if row else config.size}")
    if row:
        print("\n" + "\n".join(_last(row)))
    return 0


def _file(claim: Any) -> str:
    return f"checked in {claim.function.__module__.replace('.', '/')}.py"


def _last(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"last verdict: {row['verdict']} at {row['size']} size, twin {row['twin_verdict']}"
    for label, part in zip(("inside", "outside"), row["parts"], strict=False):
        yield f"  {label}: {_number(part['statistic'])} against {_number(part['prediction'])}, {part['verdict']}. {part['note']}"
    if not row["parts"]:
        yield f"  {_number(row['statistic'])} against {_number(row['prediction'])}, n = {row['n'] or 'exact'}"
    if row["note"]:
        yield f"  {row['note']}"
    for name, value in _flat("", row["detail"]):
        yield f"  {name}: {value}"


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list):
        yield prefix, ", ".join(_number(v) if isinstance(v, float) else str(v) for v in value)
    else:
        yield prefix, _number(value) if isinstance(value, float) else str(value)
