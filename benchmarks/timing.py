"""Timing in interleaved rounds, on a machine that may be busy: every round knows how much others took of it.

A round times one side, then the other, so that both see the same weather. What other processes used meanwhile is the
processors' busy time less our own; a round with too much of it is measured again, and a line without enough quiet
rounds is not judged.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROUNDS", "Rounds", "Sample", "compare", "settle_allocator"]

ROUNDS = 9
"""Quiet rounds that a median is taken of."""
OTHERS = 0.10
"""Share of all processors that others may use in a quiet round."""
IDLE_CPU = 0.85
"""CPU over wall below which a side that computes all the time was kept waiting."""
_SIDE_SECONDS = 0.08
_ATTEMPTS = 3
_PATIENCE = 5.0
_TICK = os.sysconf("SC_CLK_TCK")
_PROCESSORS = os.cpu_count() or 1

Call = Callable[[], object]


@dataclass(frozen=True)
class Sample:
    """One side in one round, seconds per call."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Rounds:
    """All rounds of a line: `ours`, `theirs` (empty where a line has one side), and the quiet ones among them."""

    ours: Sequence[Sample]
    theirs: Sequence[Sample]
    quiet: Sequence[bool]
    others: float
    """Median share of the processors that others used."""

    @property
    def judged(self) -> bool:
        """Whether enough rounds were quiet."""
        return sum(self.quiet) >= min(7, len(self.quiet))

    def walls(self, theirs: bool = False) -> list[float]:
        """Seconds per call of a side in the quiet rounds, in all rounds where too few were quiet."""
        samples = self.theirs if theirs else self.ours
        return [s.wall for s, quiet in zip(samples, self.quiet, strict=True) if quiet or not self.judged]

    def load(self, theirs: bool = False) -> float:
        """Median CPU seconds per second of a side."""
        samples = self.theirs if theirs else self.ours
        return statistics.median(s.cpu / s.wall for s in samples) if samples else float("nan")


def _busy() -> float:
    """Seconds of all processors that were not idle, since boot; with the time that a host took away."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICK


def _own() -> float:
    """CPU seconds of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _others(seconds: float, busy: float, own: float) -> float:
    return max(0.0, busy - own) / (seconds * _PROCESSORS)


def _wait_for_quiet() -> None:
    end = time.perf_counter() + _PATIENCE
    while time.perf_counter() < end:
        wall, busy, own = time.perf_counter(), _busy(), _own()
        time.sleep(0.15)
        if _others(time.perf_counter() - wall, _busy() - busy, _own() - own) <= OTHERS:
            return


def _time(call: Call, calls: int) -> Sample:
    cpu, wall = _own(), time.perf_counter()
    for _ in range(calls):
        call()
    return Sample((time.perf_counter() - wall) / calls, (_own() - cpu) / calls)


def _calls(call: Call) -> int:
    """Calls that make a side long enough for the processors' clock, which counts hundredths of a second."""
    call()
    return max(1, round(_SIDE_SECONDS / max(min(_time(call, 1).wall for _ in range(3)), 1e-7)))


def compare(ours: Call, theirs: Call | None = None, *, rounds: int = ROUNDS) -> Rounds:
    """Time both sides in rounds, one after the other in each; rounds that others disturbed are measured again."""
    sides = [ours] if theirs is None else [ours, theirs]
    calls = [_calls(side) for side in sides]
    done: list[tuple[list[Sample], bool, float]] = []
    while sum(quiet for _, quiet, _ in done) < rounds and len(done) < _ATTEMPTS * rounds:
        # A machine that has been busy for a whole set of rounds will not be waited for.
        if len(done) < rounds or any(quiet for _, quiet, _ in done):
            _wait_for_quiet()
        wall, busy, own = time.perf_counter(), _busy(), _own()
        samples = [_time(side, n) for side, n in zip(sides, calls, strict=True)]
        share = _others(time.perf_counter() - wall, _busy() - busy, _own() - own)
        kept_waiting = any(s.cpu < IDLE_CPU * s.wall for s in samples)
        done.append((samples, share <= OTHERS and not kept_waiting, share))
    return Rounds(
        ours=[samples[0] for samples, _, _ in done],
        theirs=[samples[1] for samples, _, _ in done] if theirs is not None else [],
        quiet=[quiet for _, quiet, _ in done],
        others=statistics.median(share for _, _, share in done),
    )


def settle_allocator() -> None:
    """Hold and release 30 MB once, so that later arrays reuse memory instead of asking the system for new pages.

    glibc returns freed memory to the system until a process has released something larger; a process that has held
    one batch of rollouts, a model or a table is past that point, a fresh one would time page faults instead.
    """
    import numpy as np

    np.ones(30_000_000 // 8)
