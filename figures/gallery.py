"""Pages of the docs that show results: a gallery of all figures, and one page per question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path

from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.store import replace_file
from figures.base import FIGURES
from figures.publish import Drawn
from figures.report.text import number, predicted
from figures.reproduce import FIGURE_FOLDER, draw, evidence
from figures.results import Results, figures_for
from theory import ledger, verdicts
from theory.claim import CLAIMS
from theory.question import Answered, answer_all

__all__ = ["Made", "make"]

_DPI = 150.0
_GENERATED = "<!-- Written by `make gallery`; edits are lost. -->"


@dataclass(frozen=True)
class Made:
    """What `make` did; `failed` by figure or question."""

    entries: Sequence[Drawn]
    failed: Mapping[str, str]
    lacking: Mapping[str, Sequence[str]]
    drawn: int
    folder: Path
    pages: Sequence[Path]


def make(
    out: Path,
    *,
    only: str | None = None,
    gallery: Path | None = None,
    questions: Path | None = None,
    workers: int | None = None,
) -> Made:
    """Draw what the results folder holds; write the gallery and the question pages where asked for.

    Errors: InputError for a folder without results, UnknownNameError for a pattern that matches no figure.
    """
    last = verdicts.read(out)
    if last is None:
        raise InputError("out", repr(str(out)), "a folder that `creditsim reproduce` filled")
    parts = figures_for(only, (c.name for c in CLAIMS if ledger.matches(only, c.name)) if only is not None else ())
    if only is not None and not parts:
        names = FIGURES.names()
        raise UnknownNameError("figure", repr(only), f"what matches one of {len(names)} figures", nearest(only, names))
    store = ledger.store_in(out)
    rows = {row.id: row for row in ledger.rows(ledger.claim_cells(CLAIMS, last.size), store)}
    results = Results(store, last.size, {name: row.verdict for name, row in rows.items()})
    drawing = draw(parts, results, out / FIGURE_FOLDER, workers=workers)
    failed, pages = dict(drawing.failed), []
    if gallery is not None:
        pages += _gallery(drawing.entries, results, gallery)
    if questions is not None:
        answered = [a for a in answer_all(evidence(list(rows.values()), results)) if not a.missing]
        failed |= {a.question.name: a.failed for a in answered if a.failed}
        whole = [a for a in answered if a.sentence]
        pages += [_question(a, rows, questions, gallery) for a in whole]
        pages += [_contents(whole, questions)] if whole else []
    return Made(drawing.entries, failed, drawing.lacking, drawing.drawn, out / FIGURE_FOLDER, pages)


def _gallery(entries: Sequence[Drawn], results: Results, folder: Path) -> list[Path]:
    from figures.style import look, render

    _folder(folder)
    lines = [_GENERATED, "", "# Gallery", ""]
    for entry in entries:
        data = results.load(entry.claims) or {}
        with look():
            content = render(FIGURES[entry.name].function(data), "png", dpi=_DPI)
        replace_file(folder / f"{entry.name}.png", lambda temporary, content=content: temporary.write_bytes(content))
        drawn = ", ".join(f"`{name}`" for name in entry.claims)
        lines += [
            f"## {entry.title}",
            "",
            f"![{entry.title}]({entry.name}.png)",
            "",
            entry.caption,
            "",
            f"Draws {drawn}.",
        ]
        lines += [""]
    return [_write(folder / "index.md", lines)]


def _question(answered: Answered, rows: Mapping[str, ledger.Row], folder: Path, gallery: Path | None) -> Path:
    _folder(folder)
    asked = answered.question
    lines = [_GENERATED, "", f"# {asked.title}", "", f"*Asked: {asked.asked}*" if asked.asked else "", ""]
    lines += [f"**{answered.sentence}**", "", asked.text, ""]
    if gallery is not None and asked.figure in FIGURES and (gallery / f"{asked.figure}.png").exists():
        picture = Path(relpath(gallery / f"{asked.figure}.png", folder)).as_posix()
        lines += [f"![{FIGURES[asked.figure].title}]({picture})", "", FIGURES[asked.figure].caption, ""]
    lines += ["| claim | source | verdict | found | stated |", "|---|---|---|---|---|"]
    for name in asked.claims:
        row = rows[name]
        lines.append(f"| `{name}` | {row.source} | {row.verdict} | {number(row.statistic)} | {predicted(row)} |")
    size = rows[asked.claims[0]].size if asked.claims else "quick"
    commands = [f"creditsim claims check {name} --size {size}" for name in asked.claims]
    lines += ["", "Check again:", "", "```", *commands, "```", ""]
    return _write(folder / f"{asked.name}.md", lines)


def _contents(answered: Sequence[Answered], folder: Path) -> Path:
    lines = [_GENERATED, "", "# Questions people ask, answered by computation", ""]
    for a in answered:
        lines += [f"- [{a.question.title}]({a.question.name}.md): {a.sentence}"]
    return _write(folder / "index.md", [*lines, ""])


def _folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("folder", f"{folder} ({error.strerror})", "a folder that can be written") from None


def _write(path: Path, lines: Sequence[str]) -> Path:
    text = "\n".join(lines).rstrip() + "\n"
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path
