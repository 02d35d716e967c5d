"""How much memory a cell will need, measured on a few replicates of it before anything is launched."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass

from creditsim.study.replicates import replicate_block
from creditsim.study.setting import Setting
from creditsim.study.sums import Sums

__all__ = ["Footprint", "footprint"]

_ROWS = 50_000
_MOST = 256


@dataclass(frozen=True)
class Footprint:
    """Bytes of arrays that a cell holds at its peak: `fixed`, and `per_replicate` for each replicate of a chunk."""

    fixed: int
    per_replicate: float

    def bytes(self, chunk: int) -> int:
        """Predicted peak with `chunk` replicates in a call."""
        return int(self.fixed + self.per_replicate * chunk)

    def largest_chunk(self, limit: int) -> int:
        """The most replicates that stay below `limit` bytes, at least one."""
        return max(1, int((limit - self.fixed) / max(self.per_replicate, 1.0)))


def footprint(setting: Setting) -> Footprint:
    """Run two small chunks of a cell, as a cell does, and take what memory they need.

    It also shows whether the estimator works at all, so its errors come before the first cell. What Python and the
    kernels of the libraries take by themselves is not counted.
    """
    many = int(min(max(_ROWS / setting.rows_per_replicate, 2), _MOST))
    few = max(1, many // 2)
    Sums(setting).add(replicate_block(setting, 0, few))  # loads kernels, fills caches
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        small, large = _peak(setting, few), _peak(setting, many)
    finally:
        if ours:
            tracemalloc.stop()
    per_replicate = max(large - small, 0) / (many - few)
    return Footprint(int(max(large - per_replicate * many, 0)), per_replicate)


def _peak(setting: Setting, count: int) -> int:
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    setting = Setting.of(setting.spec, setting.seed)  # anew, so that its tables count
    sums = Sums(setting)
    sums.add(replicate_block(setting, 0, count))
    return tracemalloc.get_traced_memory()[1] - before
