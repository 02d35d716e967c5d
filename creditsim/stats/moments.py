"""Streaming moments whose bits depend on the numbered values alone: not on chunks, threads or the order of merging.

Floating-point addition is not associative, so sums taken chunk by chunk differ in their last bits from chunking to
chunking. Replicates are numbered, and here the numbers fix the order of addition: `block` consecutive replicates are a
leaf of one binary tree over all replicate numbers, rows of a leaf are added in adjacent pairs, and a node is made only
from its two complete children. Rows of a block that is not complete are carried as they came. After any sequence of
`add` and `merge`, what is held is therefore a function of the set of (number, value) pairs. Every operation is an
elementwise IEEE one (no BLAS, no `np.sum`), so the bits do not depend on the number of coordinates either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from creditsim.errors import InputError
from creditsim.stats.sums import Summary, Sums, combine, joined, leaves

__all__ = ["BLOCK", "Moments", "merge"]

BLOCK = 256
_ROOM = 1 << 17
"""Numbers that the leaves of one pass may hold: a cap on working memory (1 MiB, a few times over) without effect on
results; small enough that the passes over a block stay in cache."""

Node = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean, second to fourth central moments, and on request cross-moments, of numbered replicates.

    `shape` is that of one replicate's value; `cross` asks for the covariance between its coordinates (memory grows
    with the square of their number). Values are immutable: `add` and `merged` return new ones.

    `nodes` maps (level, index) to the sums over replicates `index * 2^level * block` and on; `partial` maps a block to
    the slots (k,) that are filled and their values (k, K).
    """

    shape: tuple[int, ...] = ()
    cross: bool = False
    block: int = BLOCK
    nodes: Mapping[Node, Sums] = field(default_factory=dict)
    partial: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.block < 1 or self.block & (self.block - 1):
            raise InputError("block", self.block, "a power of two")

    @property
    def size(self) -> int:
        """K, the number of coordinates of one replicate's value."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def n(self) -> int:
        """Number of replicates held."""
        return sum(stop - start for start, stop in self.replicates)

    @property
    def replicates(self) -> list[tuple[int, int]]:
        """Runs [start, stop) of the replicate numbers held, in order."""
        runs = [((i << level) * self.block, ((i + 1) << level) * self.block) for level, i in self.nodes]
        for block, (slots, _) in self.partial.items():
            cuts = np.flatnonzero(np.diff(slots) > 1) + 1
            runs += [
                (block * self.block + int(s[0]), block * self.block + int(s[-1]) + 1) for s in np.split(slots, cuts)
            ]
        return _coalesced(sorted(runs))

    def add(self, values: np.ndarray, first: int) -> Moments:
        """Return these moments with replicates `first`, `first` + 1, ... added; `values` (n, *shape).

        Errors: InputError for a wrong shape, NaN or infinity, and replicates that are held already.
        """
        values = np.asarray(values, np.float64)
        if values.shape[1:] != self.shape or values.ndim != len(self.shape) + 1:
            raise InputError("values", f"shape {values.shape}", f"(n, {', '.join(map(str, self.shape))})")
        if first < 0:
            raise InputError("first", first, "a replicate number >= 0")
        if not np.isfinite(values).all():
            bad = first + int(np.argwhere(~np.isfinite(values))[0, 0])
            raise InputError("values", f"NaN or infinity in replicate {bad}", "finite numbers")
        n = values.shape[0]
        if n == 0:
            return self
        _coalesced(sorted([*self.replicates, (first, first + n)]))
        rows = values.reshape(n, self.size)
        nodes, partial = dict(self.nodes), dict(self.partial)
        # Whole blocks lie between the first and the last block border inside the chunk.
        head = min(-first % self.block, n)
        body = (n - head) // self.block
        tail = head + body * self.block
        for start, stop in ((0, head), (tail, n)):
            if stop > start:
                self._fill(nodes, partial, rows[start:stop], first + start)
        per_pass = max(1, _ROOM // (self.block * self.size + self.cross * 9 * self.size**2))
        for done in range(0, body, per_pass):
            count = min(per_pass, body - done)
            start = head + done * self.block
            whole = rows[start : start + count * self.block].reshape(count, self.block, self.size)
            _grow(nodes, 0, (first + start) // self.block, leaves(whole, None, self.cross))
        return replace(self, nodes=nodes, partial=partial)

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of replicates, which must not overlap and must be of one kind."""
        for name in ("shape", "cross", "block"):
            if getattr(self, name) != getattr(other, name):
                raise InputError(f"moments {name}", getattr(other, name), f"{getattr(self, name)}, as the others have")
        _coalesced(sorted([*self.replicates, *other.replicates]))
        nodes, partial = dict(self.nodes), dict(self.partial)
        for (level, index), sums in other.nodes.items():
            _grow(nodes, level, index, sums)
        for block, (slots, rows) in other.partial.items():
            self._fill_slots(nodes, partial, block, slots, rows)
        return replace(self, nodes=nodes, partial=partial)

    def summary(self) -> Summary:
        """Return count, mean and moments over all replicates held; an empty set has n = 0 and means NaN."""
        pieces = [((index << level) * self.block, sums) for (level, index), sums in self.nodes.items()]
        for block, (slots, rows) in self.partial.items():
            values = np.zeros((1, self.block, self.size))
            mask = np.zeros((1, self.block), bool)
            values[0, slots], mask[0, slots] = rows, True
            pieces.append((block * self.block, leaves(values, mask, self.cross)))
        if not pieces:
            return Summary.empty(self.shape, self.cross)
        pieces.sort(key=lambda piece: piece[0])
        total = pieces[0][1]
        for _, sums in pieces[1:]:
            total = combine(total, sums)
        return Summary.of(total, self.shape, self.cross)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return plain arrays from which `from_arrays` rebuilds the same bits."""
        keys = sorted(self.nodes)
        sums = joined([self.nodes[key] for key in keys], self.size, self.cross)
        blocks = sorted(self.partial)
        slots = [self.partial[b][0] + b * self.block for b in blocks]
        rows = [self.partial[b][1] for b in blocks]
        return {
            "shape": np.asarray(self.shape, np.int64),
            "cross": np.asarray(self.cross),
            "block": np.asarray(self.block, np.int64),
            "node_level": np.asarray([level for level, _ in keys], np.int64),
            "node_index": np.asarray([index for _, index in keys], np.int64),
            **{f"node_{name}": value for name, value in sums._asdict().items()},
            "row_replicate": np.concatenate([np.zeros(0, np.int64), *slots]),
            "row_value": np.concatenate([np.zeros((0, self.size)), *rows]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """Rebuild moments from what `to_arrays` gave. Error: InputError naming an array that is missing."""
        names = [*cls().to_arrays()]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise InputError("moments", f"no array {missing[0]}", ", ".join(names))
        shape = tuple(int(k) for k in arrays["shape"])
        block = int(arrays["block"])
        columns = [np.asarray(arrays[f"node_{name}"]) for name in Sums._fields]
        nodes = {
            (int(level), int(index)): Sums(*(column[i : i + 1] for column in columns))
            for i, (level, index) in enumerate(zip(arrays["node_level"], arrays["node_index"], strict=True))
        }
        number, rows = np.asarray(arrays["row_replicate"]), np.asarray(arrays["row_value"])
        home = number // block
        partial = {int(b): (number[home == b] % block, rows[home == b]) for b in np.unique(home)}
        return cls(shape, bool(arrays["cross"]), block, nodes, partial)

    def _fill(
        self, nodes: dict[Node, Sums], partial: dict[int, tuple[np.ndarray, np.ndarray]], rows: np.ndarray, first: int
    ) -> None:
        block, slot = divmod(first, self.block)
        self._fill_slots(nodes, partial, block, np.arange(slot, slot + rows.shape[0]), rows.copy())

    def _fill_slots(
        self,
        nodes: dict[Node, Sums],
        partial: dict[int, tuple[np.ndarray, np.ndarray]],
        block: int,
        slots: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        if block in partial:
            held, values = partial.pop(block)
            slots, rows = np.concatenate([held, slots]), np.concatenate([values, rows])
            order = np.argsort(slots)
            slots, rows = slots[order], rows[order]
        if slots.shape[0] == self.block:
            _grow(nodes, 0, block, leaves(rows[None], None, self.cross))
        else:
            partial[block] = (slots, rows)


def merge(parts: Iterable[Moments]) -> Moments:
    """Return the moments of all parts, whatever their order. Errors: none given, overlaps, unlike kinds."""
    total: Moments | None = None
    for part in parts:
        total = part if total is None else total.merged(part)
    if total is None:
        raise InputError("moments", "nothing to merge", "at least one")
    return total


def _grow(nodes: dict[Node, Sums], level: int, first: int, sums: Sums) -> None:
    """Put `sums`, the nodes (level, first), (level, first + 1), ..., into the tree and make the parents now complete.

    Pairs inside the run are combined at once, level by level; the odd ones at its ends meet what is already there.
    """
    loose: list[tuple[int, int, Sums]] = []
    while sums.n.shape[0]:
        left = first & 1
        paired = (sums.n.shape[0] - left) // 2 * 2
        if left:
            loose.append((level, first, sums.copied(0)))
        if left + paired < sums.n.shape[0]:
            loose.append((level, first + left + paired, sums.copied(-1)))
        sums = combine(sums.part(slice(left, left + paired, 2)), sums.part(slice(left + 1, left + paired, 2)))
        level, first = level + 1, (first + left) // 2
    for low, index, node in loose:
        rank = low
        while (rank, index ^ 1) in nodes:
            other = nodes.pop((rank, index ^ 1))
            node = combine(other, node) if index & 1 else combine(node, other)
            rank, index = rank + 1, index >> 1
        nodes[rank, index] = node


def _coalesced(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join sorted runs that touch; runs that overlap are an error, since a replicate would count twice."""
    out: list[tuple[int, int]] = []
    for start, stop in runs:
        if out and start < out[-1][1]:
            raise InputError("replicates", f"number {start} twice", "each replicate once")
        if out and start == out[-1][1]:
            out[-1] = (out[-1][0], stop)
        else:
            out.append((start, stop))
    return out
