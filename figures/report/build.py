"""Put the report together: one HTML file that loads nothing, runs without script, and escapes all it is given."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from creditsim import __version__
from creditsim.errors import ExtraMissingError
from creditsim.stats.verdict import VERDICTS
from creditsim.store import replace_file
from creditsim.study.provenance import provenance
from figures.publish import Drawn
from figures.report.own import OwnStudy
from figures.report.words import GLOSSARY, SOURCES
from theory.claim import CLAIMS, Size
from theory.ledger import FAMILY_ALPHA, ROW_ALPHA, Row
from theory.question import Answered

__all__ = ["NAME", "Report", "html", "write"]

NAME = "report.html"
_SVG_LIMIT = 700_000
"""Bytes of SVG past which a figure is embedded as PNG: many markers, and no reader zooms that far."""


@dataclass(frozen=True)
class Report:
    """All that the report shows; `folder` holds the drawn figures."""

    rows: Sequence[Row]
    size: Size
    folder: Path
    figures: Sequence[Drawn] = ()
    questions: Sequence[Answered] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str] = ()
    own: Sequence[OwnStudy] = ()


@dataclass(frozen=True)
class _Picture:
    name: str
    title: str
    caption: str
    claims: Sequence[str]
    files: Sequence[str]
    uri: str
    single: bool


def write(report: Report, folder: Path) -> Path:
    """Write report.html into the results folder, whole or not at all."""
    text = html(report)
    path = Path(folder) / NAME
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def html(report: Report) -> str:
    """The report as one HTML text."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise ExtraMissingError("jinja2", "figures") from None
    from markupsafe import Markup

    from figures.report import plot, text

    here = Path(__file__).parent
    css, script = ((here / name).read_text(encoding="utf-8") for name in ("style.css", "filters.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {name: getattr(text, name) for name in text.__all__}
    environment.filters |= {"plot": plot.interval_plot}
    template = environment.from_string((here / "template.html").read_text(encoding="utf-8"))
    rows = sorted(report.rows, key=lambda row: (row.paper.lower(), row.id))
    order = {"refuted": 0, "conditional": 1}
    counts = Counter(row.verdict for row in rows)
    return template.render(
        policy=_policy(script),
        css=Markup(css),  # noqa: S704 # our own files
        script=Markup(script),  # noqa: S704
        version=__version__,
        rows=rows,
        known={row.id: row for row in rows},
        papers=list(dict.fromkeys(row.paper for row in rows)),
        size=report.size,
        exact=sum(row.alpha == 0 for row in rows),
        family_alpha=FAMILY_ALPHA,
        counts=[(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]],
        findings=sorted((r for r in rows if r.verdict in order), key=lambda r: order[r.verdict]),
        undecided=[row for row in rows if row.verdict == "inconclusive"],
        failed=list(report.failed.items()),
        defects=[(row, reason) for row in rows for reason in row.defects],
        absent=sorted(set(CLAIMS.names()) - {row.id for row in rows} - set(report.failed)),
        changed=report.changed,
        questions=[q for q in report.questions if q.sentence or q.failed],
        figures={drawn.name: _picture(drawn, report.folder) for drawn in report.figures},
        own=report.own,
        command=f"creditsim reproduce --{report.size}",
        provenance=_provenance(report),
        glossary=GLOSSARY,
        sources=SOURCES,
    )


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _picture(drawn: Drawn, folder: Path) -> _Picture:
    kind, content = "svg+xml", (folder / f"{drawn.name}.svg").read_bytes()
    width = re.search(rb'<svg[^>]*?\bwidth="([0-9.]+)pt"', content)
    single = width is not None and float(width[1]) < 300.0
    if len(content) > _SVG_LIMIT:
        kind, content = "png", (folder / f"{drawn.name}.png").read_bytes()
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return _Picture(drawn.name, drawn.title, drawn.caption, drawn.claims, list(drawn.files), uri, single)


def _provenance(report: Report) -> list[tuple[str, str]]:
    facts = provenance()
    commit = facts.get("commit", "not a checkout") + (", with uncommitted changes" if facts.get("dirty") else "")
    seeds = sorted({row.seed for row in report.rows})
    return [
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", commit),
        ("size", report.size),
        ("seed", ", ".join(map(str, seeds)) or "–"),
        ("error level", f"{FAMILY_ALPHA:g} for the whole ledger; intervals shown at {ROW_ALPHA:g}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())),
        ("Python", facts["python"]),
        ("machine", f"{facts['machine']}, {facts['cpus']} CPUs"),
        ("time of all checks", f"{sum(row.seconds for row in report.rows):.1f} s on one core"),
    ]
