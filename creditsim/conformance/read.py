"""Reading golden files: everything the schema promises is checked here, and a broken file is told in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from creditsim.conformance.schema import check_expected, check_inputs, check_params, is_number
from creditsim.errors import CorruptFileError, InputError, nearest

__all__ = ["SCHEMA_VERSION", "Case", "Fields", "GoldenFile", "golden_paths", "read_golden"]

SCHEMA_VERSION = 1


class Fields(dict[str, Any]):
    """Parameters or inputs of a case; asking for a field that the file lacks is an error that names file and case."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.where = where

    def __missing__(self, key: str) -> NoReturn:
        raise CorruptFileError(self.where, f"no field {key!r}", f"one; it has {', '.join(self)}", nearest(key, self))


@dataclass(frozen=True)
class Case:
    """One case of a golden file: what went in, and what the reference made of it."""

    name: str
    params: Fields
    inputs: Fields
    expected: Mapping[str, Any]


@dataclass(frozen=True)
class GoldenFile:
    """A golden file that keeps the schema's promises."""

    path: Path
    estimator: str
    rtol: float
    atol: float
    cases: tuple[Case, ...]


def golden_paths(folder: str | Path) -> list[Path]:
    """Return the golden files (`*.json`) of a folder, sorted, or the one file named; none is an InputError."""
    root = Path(folder)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise InputError("DIR", repr(str(folder)), "a folder of golden files, or one file")
    paths = sorted(root.glob("*.json"))
    if not paths:
        raise InputError("DIR", f"no *.json in {str(folder)!r}", "at least one golden file")
    return paths


def read_golden(path: Path) -> GoldenFile:
    """Read one golden file; CorruptFileError names the file, the case and the field that break the schema."""
    where = path.name
    data = _load(path)
    version = _get(data, "schema_version", where)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise CorruptFileError(f"{where} schema_version", repr(version), str(SCHEMA_VERSION))
    tolerance = _typed(_get(data, "tolerance", where), dict, f"{where} tolerance", "an object with rtol and atol")
    limits = [_get(tolerance, key, f"{where} tolerance") for key in ("rtol", "atol")]
    for key, limit in zip(("rtol", "atol"), limits, strict=True):
        if not is_number(limit) or not 0 <= limit:
            raise CorruptFileError(f"{where} tolerance {key}", repr(limit), "a number >= 0")
    cases = _typed(_get(data, "cases", where), list, f"{where} cases", "a list of cases")
    if not cases:
        raise CorruptFileError(f"{where} cases", "an empty list", "at least one case")
    read = tuple(_case(where, index, case) for index, case in enumerate(cases))
    names = [case.name for case in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CorruptFileError(f"{where} cases", f"two cases named {twice!r}", "a name of its own for each case")
    estimator = _typed(_get(data, "estimator", where), str, f"{where} estimator", "a string")
    return GoldenFile(path, estimator, float(limits[0]), float(limits[1]), read)


def _load(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"the number {word}")

    try:
        data = json.loads(path.read_bytes().decode(), parse_constant=refuse)
    except OSError as error:
        raise InputError(path.name, error.strerror or "an unreadable file", "a readable golden file") from None
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(path.name, f"what is not JSON ({error})", "a golden file in JSON") from None
    return _typed(data, dict, path.name, "an object, the golden file's header")


def _case(file: str, index: int, case: Any) -> Case:
    where = f"{file} case {index}"
    case = _typed(case, dict, where, "an object with name, params, inputs and expected")
    name = _typed(_get(case, "name", where), str, f"{where} name", "a string")
    where = f"{file} case {name}"
    parts = {
        key: _typed(_get(case, key, where), dict, f"{where} {key}", "an object")
        for key in ("params", "inputs", "expected")
    }
    if not parts["inputs"] or not parts["expected"]:
        raise CorruptFileError(where, "no inputs or nothing expected", "at least one field of each")
    check_params(f"{where} params", parts["params"])
    rows = check_inputs(f"{where} inputs", parts["inputs"])
    check_expected(f"{where} expected", parts["expected"], rows)
    return Case(
        name, Fields(f"{where} params", parts["params"]), Fields(f"{where} inputs", parts["inputs"]), parts["expected"]
    )


def _get(table: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in table:
        raise CorruptFileError(
            where, f"no {key!r}", f"one; it has {', '.join(table) or 'nothing'}", nearest(key, table)
        )
    return table[key]


def _typed(value: Any, kind: type, where: str, allowed: str) -> Any:
    if not isinstance(value, kind):
        raise CorruptFileError(where, f"a {type(value).__name__}", allowed)
    return value
