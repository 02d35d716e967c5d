"""Reference pages made from the registries: `python -m creditsim.reference docs`; a test says when they are stale."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from creditsim.inventory import Entry, entries

__all__ = ["formula", "pages", "write"]

_MADE = "<!-- Made by `make docs` from the registries; do not edit. -->"
_FORMULA = re.compile(r"\bA(?:_(?:\w|\{[^}]*\}))? = .+?(?=, |; |\. | {2}| \(`|[.,;]?$)")


def formula(entry: Entry) -> str:
    """The first equation of the advantage in the docstring; empty where there is none."""
    found = (_FORMULA.search(line) for line in entry.text.splitlines())
    return next((match[0] for match in found if match), "")


def pages() -> dict[str, str]:
    """File name -> Markdown of every page."""
    return {"estimators.md": _estimators(), "environments.md": _environments(), "methods.md": _methods()}


def write(folder: Path) -> list[Path]:
    """Write the pages into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        paths.append(folder / name)
    return paths


def _estimators() -> str:
    rows = []
    for entry in entries("estimators"):
        equation = formula(entry)
        what = f"{entry.summary}<br>`{equation}`" if equation and equation not in entry.summary else entry.summary
        rows.append((_code([entry.name]), what, _code(entry.presets), _code(entry.needs), *_source(entry)))
    return _page(
        "Estimators",
        "Pure functions from rollouts to one advantage per row. `creditsim show NAME` prints the whole entry, its "
        "presets side by side. Evidence says where the formula was read: the paper, the official code, notes, or "
        "inferred. A function of your own goes wherever a name goes: see [own-estimator.md](own-estimator.md).",
        ("name", "what it is", "presets", "needs columns", "source", "evidence"),
        rows,
    )


def _environments() -> str:
    from creditsim.mdp import make

    rows = []
    for entry in entries("environments"):
        sizes = []
        for size in ("tiny", "small"):
            mdp = make(f"{entry.name}@{size}")
            sizes.append(f"{size}: {mdp.n_states} × {mdp.n_actions} × {mdp.horizon}")
        rows.append((_code([entry.name]), entry.summary, _regime(entry), "<br>".join(sizes), _code(entry.defaults)))
    return _page(
        "Environments",
        "Tabular MDPs, each made for a regime. Sizes are states (the end included) × actions × horizon in steps; every "
        'family has `large` too. Use `chain@tiny`, `chain(length=4, slip=0.1)`, `make("chain", length=4)`.',
        ("name", "what happens", "regime", "sizes", "parameters"),
        rows,
    )


def _methods() -> str:
    rows = []
    for entry in entries("methods"):
        parts = "<br>".join(f"{kind}: `{part}`" for kind, part in entry.parts.items() if part != "none")
        evidence = ", ".join(f"{part}: {label}" for part, label in entry.evidence.items())
        title, _, regime = entry.summary.partition(": ")
        rows.append((_code([entry.name]), title, parts, regime, entry.paper, evidence))
    return _page(
        "Methods",
        "What papers propose: sampling design, process signals, estimator, update rule. `creditsim train --method "
        "NAME` trains a table by one, with the exact return after every update.",
        ("name", "title", "parts", "regime", "source", "evidence"),
        rows,
    )


def _page(title: str, text: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [_MADE, "", f"# {title}", "", text, "", _row(head), _row(["---"] * len(head)), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _source(entry: Entry) -> tuple[str, str]:
    return entry.paper, ", ".join(entry.evidence.values())


def _regime(entry: Entry) -> str:
    found = re.search(r"Regime: (.+?)\.(?:\s|$)", entry.text, re.DOTALL)
    return " ".join(found[1].split()) if found else ""


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
