"""The sampler of tabular MDPs: one kernel call for all batches, bits that no thread or chunk can change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.jit import kernel
from creditsim.mdp.once import once_per_mdp
from creditsim.mdp.table import TabularMDP
from creditsim.rng import Purpose, key_words
from creditsim.sampling.alias import AliasTables, alias_tables
from creditsim.sampling.expand import Plan, Walk
from creditsim.sampling.kernels import record, starts
from creditsim.sampling.sampler import Sampler
from creditsim.sampling.tables import Tables, build_tables, most_rows
from creditsim.threads import limited_threads

__all__ = ["TableSampler", "start_states"]

_LANES = 64
_CHUNKS = 64
_TWO_TO_32 = 1 << 32


class TableSampler(Sampler):
    """Sampler by Philox streams and alias tables; `extend` is described at `Sampler`.

    A draw depends only on `seed`, the batch's global number (`first_batch` + b, below 2^32), the trajectory's number
    among all that this sampler and its `fresh` copies have drawn in that batch, and the number of the decision. A study
    cut into chunks of batches by `first_batch` therefore gives the bits of the uncut one, at any number of threads.
    Start states depend on (seed, global batch number, group, round): a second call meets the same ones.
    The law drawn from is the exact one rounded to 2^-28 or finer (`alias.AliasTables.law`). `threads` is the most
    threads to use (None: all that Numba has, or one for short work). `device="cuda"` draws the same bits on a GPU.
    """

    def __init__(
        self,
        mdp: TabularMDP,
        *,
        seed: int = 0,
        batches: int = 1,
        groups: int = 1,
        first_batch: int = 0,
        threads: int | None = None,
        record: Sequence[str] = (),
        device: Literal["cpu", "cuda"] = "cpu",
    ) -> None:
        super().__init__(mdp, batches=batches, groups=groups, record=record)
        if first_batch < 0 or first_batch + batches > _TWO_TO_32:
            raise InputError("first_batch", first_batch, f"0..{_TWO_TO_32 - batches}")
        if threads is not None and threads < 1:
            raise InputError("threads", threads, "at least 1, or None")
        if choose("device", device, ("cpu", "cuda")) == "cuda":
            from creditsim.sampling.gpu import require_device

            require_device()
        self.seed, self.first_batch, self.threads, self.device = seed, first_batch, threads, device
        self._drawn = np.zeros(batches, np.int64)
        self._tables: tuple[np.ndarray, Tables] | None = None

    def _draw_starts(self) -> np.ndarray:
        stream = np.repeat(np.arange(self.batches) + self.first_batch, self.groups)
        return start_states(self.mdp, self.seed, stream, np.tile(np.arange(self.groups), self.batches), self._round)

    def _walk(self, plan: Plan, pi: np.ndarray) -> Walk:
        tables = self._tables_for(pi)
        n, rows = plan.batch.size, most_rows(self.mdp)
        if tables.uniform and n:
            rows = int((plan.stop - plan.step).max())
        codes = np.empty((n, rows), np.uint16 if tables.move.size <= 1 << 16 else np.uint32)
        length, terminated = np.empty(n, np.int64), np.empty(n, bool)
        replicate = plan.batch if pi.ndim == 3 else np.zeros_like(plan.batch)
        episodes = (
            plan.state.astype(np.uint32),
            plan.step,
            plan.stop,
            (replicate * (self.mdp.n_states + 1)).astype(np.uint32),
            self._numbers(plan.batch),
            (plan.batch + self.first_batch).astype(np.uint64),
        )
        if self.device == "cuda" and n:
            from creditsim.sampling.gpu import record_on_gpu

            record_on_gpu(codes, length, terminated, *episodes, self.seed, Purpose.STEP, tables)
        else:
            chunks = max(1, min(_CHUNKS, n // _LANES))
            work = (np.empty((chunks, 4, _LANES), np.uint32), np.empty((chunks, 2, _LANES), np.uint32))
            purpose = np.uint64(Purpose.STEP)
            with limited_threads(self.threads, n * rows):
                record(
                    codes, length, terminated, *episodes, key_words(self.seed), purpose, tables.layout, tables.arrays,
                    work,
                )  # fmt: skip
        return Walk(codes, length, terminated, tables.state, tables.action, tables.branch)

    def _numbers(self, batch: np.ndarray) -> np.ndarray:
        """Number the new trajectories of each batch, in their order, from the first number not yet used."""
        number = np.empty(batch.size, np.uint64)
        _count_on(batch, self._drawn, number)
        return number

    def _tables_for(self, pi: np.ndarray) -> Tables:
        if self._tables is None or not np.array_equal(self._tables[0], pi):
            self._tables = (pi, build_tables(self.mdp, pi))
        return self._tables[1]


def start_states(mdp: TabularMDP, seed: int, stream: np.ndarray, group: np.ndarray, round_: int = 0) -> np.ndarray:
    """Draw the start state of each (stream, group) pair of a round; all (n,)."""
    alias = _start_table(mdp)
    out = np.empty(stream.size, np.int64)
    bits = (alias.n_buckets - 1).bit_length()
    chunks = max(1, min(_CHUNKS, stream.size // _LANES))
    with limited_threads(None, stream.size):
        starts(
            out, group.astype(np.uint64, copy=False), stream.astype(np.uint64, copy=False), np.uint64(round_),
            key_words(seed), np.uint64(Purpose.START), np.uint64(bits), alias.threshold.reshape(-1),
            alias.slot_outcome, np.empty((chunks, 4, _LANES), np.uint32),
        )  # fmt: skip
    return out


@once_per_mdp
def _start_table(mdp: TabularMDP) -> AliasTables:
    return alias_tables(mdp.start[None])


@kernel
def _count_on(batch, drawn, number):
    for i in range(batch.shape[0]):
        number[i] = drawn[batch[i]]
        drawn[batch[i]] += 1
