"""The public API as data: names, kinds and parameters of what users import.

Write the snapshot anew, after a change that is meant, with

    python tests/contracts/public_api.py
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
from functools import cached_property
from pathlib import Path
from typing import Any

SNAPSHOT = Path(__file__).with_name("public_api.json")
MODULES = (
    "creditsim",
    "creditsim.configs",
    "creditsim.errors",
    "creditsim.estimators",
    "creditsim.exact",
    "creditsim.mdp",
    "creditsim.registry",
    "creditsim.rollouts",
    "creditsim.sampling",
    "creditsim.segments",
    "creditsim.train",
    "creditsim.updates.kl",
    "creditsim.updates.losses",
)
REGISTRIES = {
    "estimators": ("creditsim.estimators", "ESTIMATORS"),
    "environments": ("creditsim.mdp", "FAMILIES"),
    "losses": ("creditsim.updates.losses", "LOSSES"),
    "designs": ("creditsim.sampling", "DESIGNS"),
    "signals": ("creditsim.signals", "SIGNALS"),
    "updates": ("creditsim.updates.base", "UPDATES"),
}
Signature = list[list[Any]]


def signature(function: Any) -> Signature | None:
    """[name, kind, has a default] of each parameter; None where Python itself made the function."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    return [[p.name, p.kind.name, p.default is not p.empty] for p in parameters]


def members(kind: type) -> dict[str, Any]:
    """Public methods with their signatures; properties and fields as null."""
    out: dict[str, Any] = {}
    for name in sorted(dir(kind)):
        value = inspect.getattr_static(kind, name)
        bare = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if name.startswith("_"):
            continue
        if inspect.isfunction(bare) and bare.__module__.startswith("creditsim"):
            out[name] = signature(bare)
        elif isinstance(value, (property, cached_property)):
            out[name] = None
    if dataclasses.is_dataclass(kind):
        out |= {field.name: None for field in dataclasses.fields(kind)}
    return out


def described(value: Any) -> dict[str, Any]:
    """What is frozen of one name."""
    if inspect.isclass(value):
        abstract = getattr(value, "_is_protocol", False)
        return {"kind": "class", "call": None if abstract else signature(value), "members": members(value)}
    if inspect.isfunction(value):
        return {"kind": "function", "call": signature(value)}
    return {"kind": "value"}


def snapshot() -> dict[str, Any]:
    """The whole API as JSON can hold it."""
    names: dict[str, Any] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            names[f"{module_name}.{name}"] = described(getattr(module, name))
    parts: dict[str, Any] = {}
    for kind, (module_name, attribute) in REGISTRIES.items():
        for part in getattr(importlib.import_module(module_name), attribute):
            if part.function.__module__.startswith("creditsim."):
                parts[f"{kind} {part.name}"] = {"parameters": list(part.defaults), "presets": list(part.presets)}
    return {"names": names, "parts": parts}


def broken(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What worked with `before` and would not with `after`; additions break nothing."""
    told = []
    for name, old in before["names"].items():
        new = after["names"].get(name)
        if new is None:
            told.append(f"{name} is gone")
        elif new["kind"] != old["kind"]:
            told.append(f"{name} is a {new['kind']} now, no {old['kind']}")
        else:
            told += [f"{name}: {fault}" for fault in _calls(old.get("call"), new.get("call"))]
            for member, how in old.get("members", {}).items():
                if member not in new["members"]:
                    told.append(f"{name}.{member} is gone")
                elif how is not None and new["members"][member] is not None:
                    told += [f"{name}.{member}: {fault}" for fault in _calls(how, new["members"][member])]
    for name, old in before["parts"].items():
        new = after["parts"].get(name)
        if new is None:
            told.append(f"{name} is gone")
            continue
        for what in ("parameters", "presets"):
            told += [f"{name}: {what[:-1]} {gone} is gone" for gone in old[what] if gone not in new[what]]
    return told


def _calls(old: Signature | None, new: Signature | None) -> list[str]:
    """Calls that `old` allowed and `new` does not."""
    if old is None or new is None:
        return [] if old is None else ["cannot be called any more"]
    told = []
    now = {name: (kind, default) for name, kind, default in new}
    catches = any(kind == "VAR_KEYWORD" for _, kind, _ in new)
    for name, kind, default in old:
        if name not in now:
            told += (
                [] if (catches and kind == "KEYWORD_ONLY") or kind.startswith("VAR") else [f"parameter {name} is gone"]
            )
        elif default and not now[name][1]:
            told.append(f"parameter {name} needs a value now")
        elif kind == "POSITIONAL_OR_KEYWORD" and now[name][0] == "KEYWORD_ONLY":
            told.append(f"parameter {name} must be named now")
    was = [name for name, kind, _ in old if kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD") and name in now]
    order = [name for name, kind, _ in new if kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    places = [order.index(name) for name in was if name in order]
    if places != list(range(len(places))) and not any("gone" in fault for fault in told):
        told.append("parameters come in another order now")
    known = {name for name, *_ in old}
    told += [
        f"parameter {name} is new and needs a value"
        for name, kind, default in new
        if name not in known and not default and not kind.startswith("VAR")
    ]
    return told


def text(frozen: dict[str, Any]) -> str:
    """The snapshot as JSON with one line for each name, so that a change is one line of a diff."""
    blocks = []
    for block, entries in frozen.items():
        lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items())]
        blocks.append(f" {json.dumps(block)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(text(snapshot()))
