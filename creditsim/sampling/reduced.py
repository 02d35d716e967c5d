"""Returns without rollouts: what a Monte Carlo value needs, at no memory per step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP
from creditsim.rng import Purpose, key_words
from creditsim.sampling.kernels import reduce
from creditsim.sampling.table import start_states
from creditsim.sampling.tables import build_tables, most_rows, policy_rows
from creditsim.threads import limited_threads

__all__ = ["Returns", "sample_returns"]

_LANES = 64
_CHUNKS = 64


class Returns(NamedTuple):
    """What is left of an episode; all (batches, episodes)."""

    value: np.ndarray
    """Sum of gamma^step * reward (several rewards: of their sum)."""
    length: np.ndarray
    """Decisions."""
    terminated: np.ndarray
    """Whether a terminal state was reached."""


def sample_returns(
    mdp: TabularMDP,
    policy: Policy,
    episodes: int,
    *,
    seed: int = 0,
    batches: int = 1,
    first_batch: int = 0,
    gamma: float | None = None,
    threads: int | None = None,
) -> Returns:
    """Sample `episodes` episodes per batch, each with a start state of its own, and keep returns only.

    They are the very episodes of `TableSampler(mdp, seed=seed, batches=batches, groups=episodes,
    first_batch=first_batch).extend(policy=policy)`. `policy` has probabilities (S, A), or (batches, S, A). `gamma`
    None: the MDP's. Errors: InputError for sizes below 1 and policies of the wrong shape.
    """
    for field, size in (("episodes", episodes), ("batches", batches)):
        if size < 1:
            raise InputError(field, size, "at least 1")
    pi = policy_rows(mdp, policy, batches)
    tables = build_tables(mdp, pi)
    n, rows = episodes * batches, most_rows(mdp)
    # In the kernels' own types: these arrays are long, and a conversion would be one more pass on one thread.
    number, stream = np.empty((2, batches, episodes), np.uint64)
    number[:] = np.arange(episodes)
    stream[:] = np.arange(first_batch, first_batch + batches)[:, None]
    first = np.zeros((batches, episodes), np.uint32)
    if pi.ndim == 3:
        first += np.arange(batches, dtype=np.uint32)[:, None] * np.uint32(mdp.n_states + 1)
    number, stream, first = number.reshape(n), stream.reshape(n), first.reshape(n)
    value, length, terminated = np.empty(n), np.empty(n, np.int64), np.empty(n, bool)
    chunks = max(1, min(_CHUNKS, n // _LANES))
    work = (
        np.empty((chunks, 4, _LANES), np.uint32),
        np.empty((chunks, 3, _LANES), np.uint32),
        np.empty((chunks, 2, _LANES), np.int64),
        np.empty((chunks, _LANES)),
    )
    discount = (mdp.gamma if gamma is None else gamma) ** np.arange(mdp.horizon, dtype=np.float64)
    with limited_threads(threads, n * rows):
        reduce(
            value,
            length,
            terminated,
            start_states(mdp, seed, stream, number).astype(np.uint32),
            discount,
            rows,
            first,
            number,
            stream,
            key_words(seed),
            np.uint64(Purpose.STEP),
            tables.layout,
            tables.arrays,
            work,
        )
    shape = (batches, episodes)
    return Returns(value.reshape(shape), length.reshape(shape), terminated.reshape(shape))
