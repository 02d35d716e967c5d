"""What the installed alfworld package holds: domain, grammar, goals, class tables and rooms, read at run time.

A rule of the package's text decides what an agent reads ("put" became "move" in 0.4.0), so a text nobody has looked at
is refused: every file that matters is known by its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

from creditsim.errors import ExtraMissingError, InputError

__all__ = ["TASK_TYPES", "UNKNOWN_GOAL", "Source", "digest", "modules", "saved_argv", "source"]

TASK_TYPES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
"""The six task types of ALFWorld, in its own order."""

UNKNOWN_GOAL = "UNKNOWN GOAL"
"""What stands for the task sentence in the package's grammar."""

_KNOWN: Mapping[str, Mapping[str, str]] = {
    "0.4.2": {
        "data/alfred.pddl": "f1473041ed01da51",
        "data/alfred.twl2": "c5b22f0f73309a7f",
        "gen/constants.py": "2bd365f5bbca9bfa",
        "gen/goal_library.py": "132b9407facbde7f",
        "gen/layouts": "8a5256c72cfcb35f",
    }
}


def digest(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """Texts and tables of one installed version, as its files give them."""

    version: str
    domain: str
    grammar: str
    """With `UNKNOWN GOAL` where the task sentence goes."""
    constants: Any
    """Module of object and receptacle classes."""
    goals: Mapping[str, Mapping[str, Any]]
    """`pddl` and `templates` by task type."""
    layouts: Path
    """Folder of rooms: per room a list of classes and the places of receptacles."""


@cache
def source() -> Source:
    """Read the installed package; ExtraMissingError without it, InputError for an unknown version or file."""
    root = _root()
    version = metadata.version("alfworld")
    if version not in _KNOWN:
        raise InputError("alfworld version", version, " | ".join(_KNOWN))
    for name, expected in _KNOWN[version].items():
        found = _hash_of(root / name)
        if found != expected:
            raise InputError(f"alfworld {version} file {name}", f"contents {found}", f"{expected}, as published")
    modules()
    from alfworld.gen import constants, goal_library

    return Source(
        version=version,
        domain=(root / "data/alfred.pddl").read_text(encoding="utf-8"),
        grammar=(root / "data/alfred.twl2").read_text(encoding="utf-8"),
        constants=constants,
        goals=goal_library.gdict,
        layouts=root / "gen/layouts",
    )


def modules() -> None:
    """Make alfworld importable without its side effect: it makes a data folder at import, here a temporary one."""
    _root()
    if "alfworld" in sys.modules:
        return
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("ALFWORLD_DATA")
        os.environ["ALFWORLD_DATA"] = before or folder
        try:
            import alfworld  # noqa: F401
        finally:
            if before is None:
                os.environ.pop("ALFWORLD_DATA", None)


@contextlib.contextmanager
def saved_argv() -> Iterator[None]:
    """Put `sys.argv` back afterwards: the PDDL translator overwrites it."""
    before = sys.argv
    try:
        yield
    finally:
        sys.argv = before


def _root() -> Path:
    origins = {}
    for package in ("textworld", "fast_downward", "alfworld"):
        spec = util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ExtraMissingError(package, "alfworld")
        origins[package] = spec.origin
    return Path(origins["alfworld"]).parent


def _hash_of(path: Path) -> str:
    if not path.exists():
        return "nothing"
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        return digest(json.dumps([[f.name, f.read_text(encoding="utf-8")] for f in files]))
    return digest(path.read_text(encoding="utf-8"))
