"""Information gain of a turn: by how much the potential of what is known rises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError
from creditsim.rng import Purpose, normals
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_sum
from creditsim.signals.base import State, signal
from creditsim.signals.oracle_value import oracle_value

__all__ = ["information_gain"]


@signal(
    "information_gain",
    paper="IGPO, arXiv:2510.14967",
    evidence="inferred",
    needs=("state", "next_state"),
    makes=("information_gain", "potential"),
    tables=("oracle_value",),
)
def information_gain(
    rollouts: Rollouts,
    state: State,
    *,
    table: Sequence[float] | np.ndarray | None = None,
    noise: float = 0.0,
    noise_seed: int = 0,
) -> tuple[dict[str, np.ndarray], State]:
    """Rise of a potential over each turn, on tables in place of the policy's probability of the gold answer.

    information_gain_t = Phi(s_{t+1}) - Phi(s_t), `potential` = Phi(s_t), both (M,); Phi in [0, 1] is `table` (S,), or
    without it the exact value of the policy that drew the rollouts, by steps left. To either a fixed error per state
    noise z(s) is added, z standard normal by `noise_seed`, the same for all replicates and updates.

    Turns are steps: decisions of one step share its gain and its first potential, and the first row of an episode holds
    the baseline Phi(s_0), so gains add up, sum_{j=t}^{n} gain_j = Phi(s_{n+1}) - Phi(s_t). Where an episode ended or no
    step is left the exact value is 0 without error, so that the last gain gives its potential back; which turns are
    paid their gain is the estimator's affair.
    Errors: InputError for a table with entries outside [0, 1] or fewer than the states met, trees, a negative noise.
    """
    if rollouts.is_tree:
        raise InputError(
            "signal information_gain", "a tree of rollouts", "rollouts without forks; unroll them with paths()"
        )
    if table is None:
        columns, _ = oracle_value(rollouts, state, noise=noise, noise_seed=noise_seed)
        before, after = columns["value"], columns["next_value"]
    else:
        phi = numbers("signal information_gain table", table, "numbers in [0, 1], one per state")
        before, after = _from_table(rollouts, phi, noise, noise_seed)
    new = rollouts.first_row.copy()
    new[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    turn = np.cumsum(new) - 1
    gain = segment_sum(after - before, turn, int(new.sum()))
    return {"information_gain": gain[turn], "potential": before[np.flatnonzero(new)][turn]}, state


def _from_table(rollouts: Rollouts, phi: np.ndarray, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(M,) potential of each row's state and of the next."""
    here, after = (rollouts.column(name, "information_gain") for name in ("state", "next_state"))
    states = int(max(here.max(initial=-1), after.max(initial=-1))) + 1
    if phi.ndim != 1 or phi.size < states or not ((phi >= 0) & (phi <= 1)).all():
        raise InputError("signal information_gain table", f"shape {phi.shape}", f">= {states} numbers in [0, 1]")
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError("signal information_gain noise", noise, "a finite number >= 0")
    phi = phi + noise * normals(seed, 0, Purpose.NOISE, phi.size)
    return phi[here], phi[after]
