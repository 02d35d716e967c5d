"""Schedules: parameters that move over the updates of a run. Parts only ever see the number of the moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from creditsim.errors import InputError, choose

__all__ = ["Schedule", "as_schedule", "resolve"]

Shape = Literal["linear", "cosine"]
_SHAPES = ("linear", "cosine")
_KEYS = {"start", "end", "shape", "updates"}


@dataclass(frozen=True)
class Schedule:
    """A number that goes from `start` at the first update to `end` at the last.

    linear: start + (end - start) u; cosine: end + (start - end) (1 + cos(pi u)) / 2, u in [0, 1] the share of the run.
    With `updates`, u is the share of that many updates instead, and the schedule has no value past them.
    """

    start: float
    end: float
    shape: Shape = "linear"
    updates: int | None = None

    def at(self, progress: float) -> float:
        """The value when `progress` in [0, 1] of the run is over."""
        u = min(max(progress, 0.0), 1.0)
        if self.shape == "linear":
            return self.start + (self.end - self.start) * u
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * u)) / 2.0


def as_schedule(value: Any, field: str) -> Any:
    """Turn a table {start, end[, shape]} into a Schedule and leave every other value as it is."""
    if not (isinstance(value, Mapping) and {"start", "end"} & set(value)):
        return value
    extra = sorted(set(value) - _KEYS)
    if extra:
        raise InputError(field, f"a schedule with {extra[0]!r}", "start, end, shape and updates")
    for key in ("start", "end"):
        end = value.get(key)
        if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(end):
            raise InputError(f"{field} {key}", "nothing" if end is None else repr(end), "a finite number")
    shape = choose(f"{field} shape", value.get("shape", "linear"), _SHAPES)
    updates = value.get("updates")
    if updates is not None and (isinstance(updates, bool) or not isinstance(updates, int) or updates < 1):
        raise InputError(f"{field} updates", repr(updates), "a whole number >= 1")
    return Schedule(float(value["start"]), float(value["end"]), "linear" if shape == "linear" else "cosine", updates)


def resolve(params: Mapping[str, Any], update: int, updates: int) -> dict[str, Any]:
    """Return parameters with each Schedule replaced by its value at update number `update` of `updates`.

    Errors: InputError for a schedule of fewer updates than that.
    """
    return {
        name: _resolved(name, value, update, updates) if isinstance(value, Schedule) else value
        for name, value in params.items()
    }


def _resolved(name: str, schedule: Schedule, update: int, updates: int) -> float:
    length = schedule.updates or updates
    if update >= length and schedule.updates is not None:
        raise InputError(f"schedule of {name}", f"update {update + 1}", f"at most {length} updates, its end")
    return schedule.at(update / max(length - 1, 1))
