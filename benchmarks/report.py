"""What a line is, how it is judged, and the one table of all lines."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.timing import Rounds, Sample

__all__ = ["LINES", "Line", "Outcome", "line", "measured", "not_judged", "table"]

Value = Literal["faster", "cost", "seconds"]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    `value` says what is printed: "faster" their time over ours, "cost" ours over theirs, "seconds" ours alone.
    `target` is the least (faster) or the most (cost, seconds) that meets the line; None: shown, not judged.
    `needs` are modules without which the line is not judged; "verl" may be in an environment of its own.
    """

    name: str
    against: str
    value: Value
    target: float | None
    needs: tuple[str, ...]
    measure: Callable[[], Rounds]

    @property
    def missing(self) -> str | None:
        """The first module needed that is not installed here."""
        return next((name for name in self.needs if importlib.util.find_spec(name) is None), None)


@dataclass(frozen=True)
class Outcome:
    """A line as measured: the number (median of quiet rounds), the same of the best times, and the verdict."""

    name: str
    against: str
    number: str
    target: str
    verdict: str
    load: str = ""
    others: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain fields, as another process prints them."""
        return asdict(self)


LINES: list[Line] = []


def line(
    name: str, against: str, value: Value = "faster", target: float | None = None, needs: tuple[str, ...] = ()
) -> Callable[[Callable[[], Rounds]], Callable[[], Rounds]]:
    """Add a function that measures one line."""

    def add(measure: Callable[[], Rounds]) -> Callable[[], Rounds]:
        LINES.append(Line(name, against, value, target, needs, measure))
        return measure

    return add


def not_judged(line: Line, why: str) -> Outcome:
    """A line without a number; `why` in a few words."""
    return Outcome(line.name, line.against, "-", _target(line), f"not judged: {why}")


def measured(line: Line, rounds: Rounds) -> Outcome:
    """Judge a line by the median over its quiet rounds; in brackets the same number of the best times."""
    used = rounds.used
    number = statistics.median(_value(line.value, r.ours, r.theirs) for r in used)
    best = _value(line.value, *(_best(side) for side in ([r.ours for r in used], [r.theirs for r in used])))
    unit = " s" if line.value == "seconds" else "x"
    digits = ".2f" if number < 10 else ".0f"
    return Outcome(
        name=line.name,
        against=line.against,
        number=f"{number:{digits}}{unit} [{best:{digits}}]",
        target=_target(line),
        verdict=_verdict(line, number, rounds),
        load=" / ".join(f"{x:.2f}" for x in (_load([r.ours for r in used]), _load([r.theirs for r in used])) if x),
        others=f"{100 * statistics.median(r.others for r in used):.0f} %",
    )


def _value(value: Value, ours: Sample | None, theirs: Sample | None) -> float:
    assert ours is not None
    if value == "seconds":
        return ours.wall
    assert theirs is not None
    return theirs.wall / ours.wall if value == "faster" else ours.wall / theirs.wall


def _best(side: Sequence[Sample | None]) -> Sample | None:
    return min((s for s in side if s is not None), key=lambda s: s.wall, default=None)


def _load(side: Sequence[Sample | None]) -> float:
    """Median CPU seconds per second; 0 where there is no such side."""
    return statistics.median([s.cpu / s.wall for s in side if s is not None] or [0.0])


def _target(line: Line) -> str:
    if line.target is None:
        return "-"
    return f"{'>=' if line.value == 'faster' else '<='} {line.target:g}{' s' if line.value == 'seconds' else ''}"


def _verdict(line: Line, number: float, rounds: Rounds) -> str:
    if not rounds.judged:
        return f"not judged: busy machine, {sum(r.quiet for r in rounds.every)} of {len(rounds.every)} rounds quiet"
    if line.target is None:
        return ""
    met = number >= line.target if line.value == "faster" else number <= line.target
    return "met" if met else "missed"


_HEADS = ("line", "compared to", "median [best]", "target", "verdict", "CPU/wall ours / theirs", "others")


def table(outcomes: Sequence[Outcome]) -> str:
    """All lines as one table (Markdown, columns aligned)."""
    rows = [(o.name, o.against, o.number, o.target, o.verdict, o.load, o.others) for o in outcomes]
    width = [max(len(row[i]) for row in [_HEADS, *rows]) for i in range(len(_HEADS))]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True)) + " |" for row in [_HEADS, *rows]
    ]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(text)
