"""Timing in interleaved rounds, on a machine that may be busy: every round knows how much others took of it.

A round times one side, then the other, so that both see the same weather. What other processes used meanwhile is the
processors' busy time less our own; a round with too much of it is measured again, and a line without enough quiet
rounds is not judged.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ROUNDS",
    "Round",
    "Rounds",
    "Sample",
    "busy_seconds",
    "compare",
    "others_share",
    "own_seconds",
    "settle_allocator",
]

ROUNDS = 9
"""Quiet rounds that are asked for."""
ENOUGH = 7
"""Quiet rounds without which a line is not judged."""
OTHERS = 0.10
"""Share of all processors that others may use in a quiet round."""
COMPUTING = 0.85
"""CPU over wall below which a side, which has nothing to wait for, was kept waiting."""
_SIDE_SECONDS = 0.08
_ATTEMPTS = 3
_PATIENCE = 4.0
_TICK = os.sysconf("SC_CLK_TCK")
_PROCESSORS = os.cpu_count() or 1

Call = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """One side in one round, seconds per call."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Round:
    """Both sides of a round (`theirs` None where a line has one side), and the share of the processors others used."""

    ours: Sample
    theirs: Sample | None
    others: float

    @property
    def quiet(self) -> bool:
        """Whether nobody else took much of the machine, and neither side was kept waiting."""
        sides = [side for side in (self.ours, self.theirs) if side is not None]
        return self.others <= OTHERS and all(side.cpu >= COMPUTING * side.wall for side in sides)


@dataclass(frozen=True)
class Rounds:
    """The rounds of a line; what is reported is of the quiet ones, or of all where too few were quiet."""

    every: Sequence[Round]

    @property
    def judged(self) -> bool:
        """Whether enough rounds were quiet."""
        return sum(r.quiet for r in self.every) >= ENOUGH

    @property
    def used(self) -> list[Round]:
        """The rounds that numbers are taken from."""
        return [r for r in self.every if r.quiet or not self.judged]


def busy_seconds() -> float:
    """Seconds of all processors that were not idle, since boot; with the time that a host took away."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICK


def own_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def others_share(seconds: float, busy: float, own: float) -> float:
    """Share of all processors that others used in so many seconds, from what all and what we used."""
    return max(0.0, busy - own) / (seconds * _PROCESSORS)


def _wait_for_quiet() -> None:
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        wall, busy, own = time.perf_counter(), busy_seconds(), own_seconds()
        time.sleep(0.15)
        if others_share(time.perf_counter() - wall, busy_seconds() - busy, own_seconds() - own) <= OTHERS:
            return


def _time(call: Call, calls: int) -> Sample:
    cpu, wall = own_seconds(), time.perf_counter()
    for _ in range(calls):
        call()
    return Sample((time.perf_counter() - wall) / calls, (own_seconds() - cpu) / calls)


def _calls(call: Call) -> int:
    """Calls that make a side long enough for the processors' clock, which counts hundredths of a second."""
    call()
    return max(1, round(_SIDE_SECONDS / max(min(_time(call, 1).wall for _ in range(3)), 1e-7)))


def compare(ours: Call, theirs: Call | None = None, *, rounds: int = ROUNDS) -> Rounds:
    """Time both sides in rounds, one after the other in each; rounds that others disturbed are measured again."""
    sides = [ours] if theirs is None else [ours, theirs]
    calls = [_calls(side) for side in sides]
    done: list[Round] = []
    while sum(r.quiet for r in done) < rounds and len(done) < _ATTEMPTS * rounds:
        if len(done) >= rounds and not any(r.quiet for r in done):
            break  # busy throughout: more rounds would only take longer
        _wait_for_quiet()
        wall, busy, own = time.perf_counter(), busy_seconds(), own_seconds()
        samples = [_time(side, n) for side, n in zip(sides, calls, strict=True)]
        others = others_share(time.perf_counter() - wall, busy_seconds() - busy, own_seconds() - own)
        done.append(Round(samples[0], samples[1] if theirs is not None else None, others))
    return Rounds(done)


def settle_allocator() -> None:
    """Hold and release 30 MB once, so that later arrays reuse memory instead of asking the system for new pages.

    glibc returns freed memory to the system until a process has released something larger; a process that has held
    one batch of rollouts, a model or a table is past that point, a fresh one would time page faults instead.
    """
    import numpy as np

    np.ones(30_000_000 // 8)
