"""Results of golden files as text for people and as plain data for scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from creditsim.conformance.run import CaseResult, FileResult

__all__ = ["as_data", "failure_lines", "file_line", "summary_line"]

_MISSES_SHOWN = 10


def file_line(result: FileResult, width: int = 0) -> str:
    """One line: file, cases passed, worst error and where it is."""
    case, worst = result.worst, result.worst.worst
    mark = "ok  " if result.ok else "MISS"
    return (
        f"{mark} {result.file.path.name:<{width}}  {result.passed}/{len(result.cases)} cases  "
        f"worst error {worst.error:.2e} ({worst.share:.2g} of the tolerance) at {worst.place} of {case.case.name}"
    )


def failure_lines(result: FileResult) -> Iterator[str]:
    """The first failing case in full: parameters, inputs, what was got, what was wanted, and the misses."""
    failure = result.first_failure
    if failure is None:
        return
    case = failure.case
    yield f"{result.file.path.name}: first failing case {case.name}"
    yield from _block("params", case.params)
    yield from _block("inputs", case.inputs)
    yield from _block("got", failure.got)
    yield from _block("want", case.expected)
    yield f"  misses: {len(failure.misses)} of {failure.compared} entries"
    for miss in failure.misses[:_MISSES_SHOWN]:
        yield f"    {miss.place}: got {miss.got}, want {miss.want}, error {miss.error:.3g}, allowed {miss.allowed:.3g}"
    if len(failure.misses) > _MISSES_SHOWN:
        yield f"    ... and {len(failure.misses) - _MISSES_SHOWN} more"


def summary_line(results: Sequence[FileResult]) -> str:
    """One line over all files."""
    passed, total = sum(r.passed for r in results), sum(len(r.cases) for r in results)
    missed = [r.file.path.name for r in results if not r.ok]
    tail = f"misses in {', '.join(missed)}" if missed else "all within tolerance"
    return f"{len(results)} {'file' if len(results) == 1 else 'files'}, {passed}/{total} cases: {tail}"


def as_data(results: Sequence[FileResult]) -> dict[str, Any]:
    """All results as JSON-able data."""
    return {"ok": all(r.ok for r in results), "files": [_file_data(r) for r in results]}


def _file_data(result: FileResult) -> dict[str, Any]:
    return {
        "file": result.file.path.name,
        "estimator": result.file.estimator,
        "passed": result.passed,
        "cases": len(result.cases),
        "worst": _worst_data(result.worst),
        "first_failure": None if result.first_failure is None else _failure_data(result.first_failure),
    }


def _worst_data(case: CaseResult) -> dict[str, Any]:
    return {"case": case.case.name, "place": case.worst.place, "error": _finite(case.worst.error)}


def _failure_data(failure: CaseResult) -> dict[str, Any]:
    case = failure.case
    return {
        "case": case.name,
        "params": case.params,
        "inputs": case.inputs,
        "got": _finite(failure.got),
        "want": case.expected,
        "misses": [{"place": m.place, "got": _finite(m.got), "want": m.want} for m in failure.misses],
    }


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity: null stands for both."""
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _block(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {title}:"
    for name, value in values.items():
        yield f"    {name} = {json.dumps(value)}"
