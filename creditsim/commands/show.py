"""`creditsim show NAME`: formula, presets side by side, needs and makes, evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creditsim.inventory import Entry


@dataclass(frozen=True)
class Config:
    """Show what is known of an estimator, environment, method, design, signal, update or loss."""

    name: str
    """A name that `creditsim list KIND` tells; every kind that bears it is shown."""
    kind: str | None = None
    """Only this kind: estimators | environments | methods | designs | signals | updates | losses."""
    json: bool = False
    """Print JSON, for scripts."""


def run(config: Config) -> int:
    """Print the entries; exit code 0."""
    from creditsim.inventory import find

    found = find(config.name, config.kind)
    if config.json:
        print(json.dumps([entry.as_dict() for entry in found], indent=2))
        return 0
    print("\n\n".join("\n".join(_lines(entry)) for entry in found))
    return 0


def _lines(entry: Entry) -> Iterator[str]:
    yield f"{entry.kind} {entry.name}" + (f"   ({entry.paper})" if entry.paper else "")
    yield "evidence: " + ", ".join(f"{part}: {label}" for part, label in entry.evidence.items())
    for label, names in (("needs", entry.needs), ("makes", entry.makes)):
        if names:
            yield f"{label}: {', '.join(names)}"
    yield ""
    yield entry.text
    if entry.parts:
        yield ""
        yield from columns([[part, spec] for part, spec in entry.parts.items()])
    if entry.defaults:
        yield ""
        yield from columns(_presets(entry.defaults, entry.presets))


def _presets(defaults: Mapping[str, Any], presets: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    rows = [["parameter", "default", *(f"@{name}" for name in presets)]]
    for name, default in defaults.items():
        rows.append([name, str(default), *(str(preset.get(name, "·")) for preset in presets.values())])
    return rows


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
