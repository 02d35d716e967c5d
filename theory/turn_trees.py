"""Many random turn trees side by side: sweeps of hard and of exponentiated updates, in any order of the turns.

A tree of T turns with A choices has A^T leaves; a policy is one table (n, A^t, A) for each turn t, with a row for each
history. All is exact: values by folding the leaves, J the value of the empty history.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.rng import Purpose, normals, uniforms

__all__ = ["ORDERS", "Sweeper", "Tables", "random_leaves"]

Tables = list[np.ndarray]
ORDERS = ("reverse", "forward", "random", "simultaneous")


def random_leaves(n: int, turns: int, actions: int, seed: int, law: str = "uniform") -> np.ndarray:
    """(n, A^T) leaf rewards, uniform on [0, 1) or standard normal."""
    draw = {"uniform": uniforms, "normal": normals}[law]
    return draw(seed, 0, Purpose.DATA, (n, actions**turns))


@dataclass(frozen=True, eq=False)
class Sweeper:
    """Trees by their leaves (n, A^T), and how a policy is improved on them.

    `step` None puts each met history on its best choice; a number multiplies pi(.|h) by exp(step Q(h, .)) at every
    history, `reach` by exp(step d(h) Q(h, .)), d the chance of meeting h.
    """

    leaves: np.ndarray
    turns: int
    actions: int
    step: float | None = None
    reach: bool = False

    @property
    def n(self) -> int:
        """Number of trees."""
        return self.leaves.shape[0]

    @cached_property
    def best(self) -> np.ndarray:
        """(n,) the best leaf of each tree."""
        return self.leaves.max(axis=1)

    def uniform(self) -> Tables:
        """The policy that chooses evenly everywhere."""
        return [np.full((self.n, self.actions**t, self.actions), 1.0 / self.actions) for t in range(self.turns)]

    def values(self, tables: Tables) -> Tables:
        """Q of each turn, (n, A^t, A)."""
        value, out = self.leaves, []
        for table in reversed(tables):
            q = value.reshape(table.shape)
            out.append(q)
            value = (table * q).sum(axis=-1)
        return out[::-1]

    def objective(self, tables: Tables) -> np.ndarray:
        """(n,) J."""
        return (tables[0] * self.values(tables)[0]).sum(axis=(1, 2))

    def sweep(self, tables: Tables, order: str, permutation: np.ndarray | None = None) -> Tables:
        """Improve every turn once; `permutation` (n, T) is the order of "random"."""
        if order == "simultaneous":
            values, chance = self.values(tables), self._chance(tables)
            return [self._improved(*each) for each in zip(tables, values, chance, strict=True)]
        tables = list(tables)
        for stage in range(self.turns):
            values, chance = self.values(tables), self._chance(tables)
            for turn in self._due(order, stage, permutation):
                better = self._improved(tables[turn], values[turn], chance[turn])
                mine = True if permutation is None else (permutation[:, stage] == turn)[:, None, None]
                tables[turn] = np.where(mine, better, tables[turn])
        return tables

    def run(self, order: str, seed: int = 0) -> Iterator[np.ndarray]:
        """(n,) J before the first sweep, and after each, without end."""
        tables, sweep = self.uniform(), 0
        while True:
            yield self.objective(tables)
            mixed = None
            if order == "random":
                mixed = np.argsort(uniforms(seed, sweep, Purpose.RESAMPLE, (self.n, self.turns)), axis=1)
            tables, sweep = self.sweep(tables, order, mixed), sweep + 1

    def _due(self, order: str, stage: int, permutation: np.ndarray | None) -> range:
        if permutation is not None:
            return range(self.turns)
        turn = stage if order == "forward" else self.turns - 1 - stage
        return range(turn, turn + 1)

    def _chance(self, tables: Tables) -> Tables:
        """Chance of meeting each history, (n, A^t) for each turn."""
        out = [np.ones((self.n, 1))]
        for table in tables[:-1]:
            out.append((out[-1][:, :, None] * table).reshape(self.n, -1))
        return out

    def _improved(self, table: np.ndarray, q: np.ndarray, chance: np.ndarray) -> np.ndarray:
        if self.step is None:
            best = (np.arange(self.actions) == q.argmax(axis=-1)[..., None]).astype(np.float64)
            return np.where(chance[:, :, None] > 0, best, table)
        size = self.step * (chance[:, :, None] if self.reach else 1.0)
        moved = table * np.exp(size * (q - q.max(axis=-1, keepdims=True)))
        return moved / moved.sum(axis=-1, keepdims=True)
