"""Everything that has a name, for reading: the registries of parts and the catalogue of methods, under one roof."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from creditsim.errors import UnknownNameError, choose, nearest
from creditsim.registry import Part, parse_spec

__all__ = ["KINDS", "Entry", "entries", "find"]

KINDS: dict[str, tuple[str, str]] = {
    "methods": ("creditsim.methods", "METHODS"),
    "estimators": ("creditsim.estimators.base", "ESTIMATORS"),
    "environments": ("creditsim.mdp.families.base", "FAMILIES"),
    "designs": ("creditsim.sampling.designs.base", "DESIGNS"),
    "signals": ("creditsim.signals.base", "SIGNALS"),
    "updates": ("creditsim.updates.base", "UPDATES"),
    "losses": ("creditsim.updates.losses", "LOSSES"),
    "rules": ("creditsim.bandits.rules.base", "RULES"),
}


@dataclass(frozen=True)
class Entry:
    """What a reader wants to know of a named thing; `parts` is for methods, the rest for parts."""

    kind: str
    name: str
    summary: str
    text: str
    paper: str
    evidence: Mapping[str, str]
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON can hold it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: _plain(value) for name, value in values.items()}


def entries(kind: str) -> list[Entry]:
    """All entries of one kind, by name; an unknown kind is a one-line error."""
    module, attribute = KINDS[choose("kind", kind, KINDS)]
    registry = getattr(importlib.import_module(module), attribute)
    return [_part(thing) if isinstance(thing, Part) else _method(thing) for thing in registry]


def find(name: str, kind: str | None = None) -> list[Entry]:
    """Entries of that name (a preset after @ is looked past), of one kind or of all; none is an error."""
    bare, _ = parse_spec(name)
    everything = [entry for each in ([kind] if kind else KINDS) for entry in entries(each)]
    found = [entry for entry in everything if entry.name == bare]
    if not found:
        names = sorted({entry.name for entry in everything})
        raise UnknownNameError("name", repr(name), f"one of {len(names)} names that `list` tells", nearest(bare, names))
    return found


def _part(part: Part) -> Entry:
    defaults = {key: "required" if value is inspect.Parameter.empty else value for key, value in part.defaults.items()}
    return Entry(
        kind=part.kind,
        name=part.name,
        summary=part.summary,
        text=inspect.getdoc(part.function) or "",
        paper=part.paper,
        evidence={part.kind: part.evidence},
        needs=part.needs,
        makes=part.makes,
        defaults=defaults,
        presets=part.presets,
    )


def _method(method: Any) -> Entry:
    return Entry(
        kind="method",
        name=method.name,
        summary=f"{method.title}: {method.regime}",
        text=method.regime,
        paper=method.paper,
        evidence=method.evidence,
        parts=method.described(),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)
