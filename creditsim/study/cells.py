"""A cell: one pure computation named by the hash of what it is, of the sources that run it, and of its seed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from creditsim.errors import InputError

__all__ = ["SCHEMA", "Cell", "CellResult", "canonical", "source_hash", "table_hash"]

SCHEMA = 1
"""Version of the layout of result files; readers refuse newer ones."""

_NOT_COMPUTING = ("commands/", "cli.py", "__main__.py")


@dataclass(frozen=True)
class CellResult:
    """What a cell computes: columns of equal length, and facts as JSON values.

    The table is a function of the cell alone; what differs from run to run (timings) belongs into the facts.
    """

    table: Mapping[str, np.ndarray]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows of the table (0 without columns)."""
        return len(next(iter(self.table.values()))) if self.table else 0


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, numbers as Python prints them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def table_hash(table: Mapping[str, np.ndarray]) -> str:
    """Hash of a table's columns, in their order: equal for the same bits, whatever file they lie in."""
    digest = hashlib.sha256()
    for name, values in table.items():
        array = np.asarray(values)
        if array.dtype.kind in "UO":
            digest.update(f"{name}:text".encode() + json.dumps(array.tolist()).encode())
        else:
            digest.update(f"{name}:{array.dtype.str}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@cache
def source_hash(modules: tuple[str, ...] = ()) -> str:
    """Hash of every source of the library that computes, and of the files of `modules` (a user's own, a claim's)."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.as_posix()):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_NOT_COMPUTING):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise InputError("module", repr(module), "an importable module with a source file")
        digest.update(module.encode() + b"\0" + Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Cell:
    """One computation.

    `function` is `package.module:name` of a pure function `f(spec, seed, **options) -> CellResult`; `spec` holds JSON
    values only; `sources` names modules beyond the library whose files enter the id; `title` is what progress shows.
    `options` say how to compute (memory to use), never what: they may not change a bit of the table and are no part of
    the id.
    """

    function: str
    spec: Mapping[str, Any]
    seed: int
    sources: tuple[str, ...] = ()
    title: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Content hash: the name of the cell's file."""
        text = canonical([SCHEMA, self.function, dict(self.spec), self.seed, source_hash(self.sources)])
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def check_sources(self) -> None:
        """Refuse to compute with other sources than those the id was made of (edited since, or another version)."""
        if replace(self).id != self.id:
            raise InputError(
                "sources", "files that are not those the run began with", "one version throughout; start the run again"
            )

    def compute(self) -> CellResult:
        """Run the cell in this process."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(dict(self.spec), self.seed, **self.options)
