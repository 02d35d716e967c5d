"""Running golden files through their adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.conformance.base import ADAPTERS
from creditsim.conformance.compare import Difference, Tolerance, compare, plain
from creditsim.conformance.read import Case, GoldenFile, golden_paths, read_golden
from creditsim.errors import CorruptFileError, InputError, UnknownNameError, nearest

__all__ = ["CaseResult", "FileResult", "read_folder", "run_file", "run_files"]


@dataclass(frozen=True)
class CaseResult:
    """What a case gave: everything computed, the entry nearest to or furthest past its tolerance, and the misses."""

    case: Case
    got: Mapping[str, Any]
    compared: int
    worst: Difference
    misses: tuple[Difference, ...]


@dataclass(frozen=True)
class FileResult:
    """What a golden file gave."""

    file: GoldenFile
    cases: tuple[CaseResult, ...]

    @property
    def passed(self) -> int:
        """Number of cases without a miss."""
        return sum(not case.misses for case in self.cases)

    @property
    def ok(self) -> bool:
        """Whether every case passed."""
        return self.passed == len(self.cases)

    @property
    def worst(self) -> CaseResult:
        """The case with the worst entry of the file."""
        return max(self.cases, key=lambda case: case.worst.share)

    @property
    def first_failure(self) -> CaseResult | None:
        """The first case with a miss."""
        return next((case for case in self.cases if case.misses), None)


def read_folder(folder: str | Path) -> list[GoldenFile]:
    """Read and check every golden file of a folder before any is run; errors are one line and name the file."""
    files = [read_golden(path) for path in golden_paths(folder)]
    for file in files:
        if file.estimator not in ADAPTERS:
            names = ADAPTERS.names()
            raise UnknownNameError(
                f"{file.path.name} estimator",
                repr(file.estimator),
                f"one with an adapter ({' | '.join(names)})",
                nearest(file.estimator, names),
            )
    return files


def run_files(files: Iterable[GoldenFile]) -> Iterator[FileResult]:
    """Run files one by one."""
    for file in files:
        yield run_file(file)


def run_file(file: GoldenFile) -> FileResult:
    """Compute every case of a file and compare it with what is expected."""
    tolerance = Tolerance(file.rtol, file.atol)
    return FileResult(file, tuple(_run_case(file, case, tolerance) for case in file.cases))


def _run_case(file: GoldenFile, case: Case, tolerance: Tolerance) -> CaseResult:
    try:
        got = ADAPTERS[file.estimator].function(case.params, case.inputs)
    except CorruptFileError:
        raise
    except InputError as error:
        # The file keeps the schema but its numbers make no sense to the estimator, so file and case are named first.
        where = f"{file.path.name} case {case.name} {error.field}"
        raise CorruptFileError(where, error.got, error.allowed, error.nearest) from None
    entries = list(compare(got, case.expected, tolerance, case.inputs.get("mask")))
    misses = tuple(entry for entry in entries if entry.is_miss)
    worst = max(entries, key=lambda entry: entry.share)
    return CaseResult(case, plain(got), len(entries), worst, misses)
