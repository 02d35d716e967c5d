"""Kernels of backward induction and occupancy, on one flat form of the MDP."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from creditsim.arrays import Array
from creditsim.errors import InputError
from creditsim.jit import kernel
from creditsim.mdp.table import TabularMDP

__all__ = ["Sweep", "backward", "backward_lanes", "best", "forward", "look_ahead", "prepare"]


@dataclass(frozen=True, eq=False)
class Sweep:
    """The MDP as the kernels want it.

    A table by steps left has rows 0..H of S states; the kernels look at rows n-1 and n as one array of 2S numbers.
    `place` (S,A,B) uint32 is a successor's place there: in row n-1 if it begins a step, in row n if not. `weight` is
    the branch's probability times the discount on entering, 0 into terminal states; `reward` (S,A) the mean reward.
    Rows nobody acts in (terminal, forbidden) are 0. `order` (S,) uint32 visits successors inside a step first. Indices
    are unsigned because Numba checks signed ones for being negative.
    """

    place: np.ndarray
    weight: np.ndarray
    reward: np.ndarray
    order: np.ndarray

    def scratch(self) -> tuple[np.ndarray, np.ndarray]:
        """Space for one step's averages over actions: (S, A*B) and (S,)."""
        n_states, n_actions, n_branches = self.weight.shape
        return np.empty((n_states, n_actions * n_branches)), np.empty(n_states)


def prepare(mdp: TabularMDP, gamma: float, reward: np.ndarray | None = None) -> Sweep:
    """Bring an MDP into the kernels' form; `reward` (S,A,B) replaces the MDP's own (summed over objectives)."""
    if not 0.0 <= gamma <= 1.0:
        raise InputError("gamma", gamma, "0 <= gamma <= 1")
    given = mdp.scalar_reward if reward is None else np.ascontiguousarray(reward, np.float64)
    if given.shape != mdp.successor.shape:
        raise InputError("reward", f"shape {given.shape}", f"shape {mdp.successor.shape}")
    states = np.arange(mdp.n_states, dtype=np.uint32)
    at = np.where(mdp.tick, states, states + np.uint32(mdp.n_states))
    discount = np.where(mdp.terminal, 0.0, np.where(mdp.tick, gamma, 1.0))
    acts = mdp.mask & ~mdp.terminal[:, None]
    place = np.empty(mdp.successor.shape, np.uint32)
    weight, mean = np.empty(mdp.successor.shape), np.empty(mdp.mask.shape)
    _prepare(mdp.successor, mdp.probability, given, acts, discount, at, place, weight, mean)
    if not np.isfinite(mean).all():
        raise InputError("reward", "NaN or infinity", "finite numbers")
    return Sweep(place, weight, mean, mdp.sweep_order.astype(np.uint32))


@kernel
def _prepare(
    successor: Array, probability: Array, reward: Array, acts: Array, discount: Array, at: Array,
    place: Array, weight: Array, mean: Array,
) -> None:  # fmt: skip
    n_states, n_actions, n_branches = successor.shape
    for s in range(n_states):
        for a in range(n_actions):
            total = 0.0
            for b in range(n_branches):
                to = successor[s, a, b]
                place[s, a, b] = at[to]
                # Rows nobody acts in may hold anything, NaN too.
                p = probability[s, a, b] if acts[s, a] else 0.0
                weight[s, a, b] = p * discount[to]
                total += p * reward[s, a, b]
            mean[s, a] = total


@kernel
def _fold(weight: Array, reward: Array, now: Array, folded: Array, paid: Array) -> None:
    """Average over the actions of one step: folded (S,A*B) and paid (S,) for now (S,A)."""
    n_states, n_actions, n_branches = weight.shape
    for s in range(n_states):
        total = 0.0
        for a in range(n_actions):
            total += now[s, a] * reward[s, a]
            for b in range(n_branches):
                folded[s, a * n_branches + b] = now[s, a] * weight[s, a, b]
        paid[s] = total


@kernel
def backward(
    place: Array, weight: Array, reward: Array, order: Array, pi: Array, folded: Array, paid: Array, value: Array
) -> None:
    """Fill value (H+1,S), row 0 zero on entry, for pi (1,S,A) or (H,S,A) by step; folded (S,A*B), paid (S,) scratch."""
    n_states, width = folded.shape
    horizon = value.shape[0] - 1
    flat = value.reshape(-1)
    to = place.reshape(n_states, width)
    for n in range(1, horizon + 1):
        if n == 1 or pi.shape[0] > 1:
            _fold(weight, reward, pi[(horizon - n) % pi.shape[0]], folded, paid)
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        for i in range(n_states):
            s = order[i]
            # Four sums at a time: one chain of additions would wait for itself.
            x0, x1, x2, x3 = paid[s], 0.0, 0.0, 0.0
            k = 0
            while k + 4 <= width:
                x0 += folded[s, k] * two[to[s, k]]
                x1 += folded[s, k + 1] * two[to[s, k + 1]]
                x2 += folded[s, k + 2] * two[to[s, k + 2]]
                x3 += folded[s, k + 3] * two[to[s, k + 3]]
                k += 4
            while k < width:
                x1 += folded[s, k] * two[to[s, k]]
                k += 1
            two[n_states + s] = (x0 + x1) + (x2 + x3)


@kernel
def look_ahead(place: Array, weight: Array, reward: Array, value: Array, q: Array) -> None:
    """Fill q (H+1,S,A) from value (H+1,S); row 0 is left alone."""
    n_states, n_actions, n_branches = weight.shape
    flat = value.reshape(-1)
    for n in range(1, value.shape[0]):
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        for s in range(n_states):
            for a in range(n_actions):
                x = reward[s, a]
                for b in range(n_branches):
                    x += weight[s, a, b] * two[place[s, a, b]]
                q[n, s, a] = x


@kernel
def forward(
    place: Array, weight: Array, reward: Array, order: Array, pi: Array, folded: Array, paid: Array, mass: Array
) -> None:
    """Spread mass (H+1,S) by steps left from row H down; `weight` made with gamma = 1. Row 0 gathers what is cut."""
    n_states, width = folded.shape
    horizon = mass.shape[0] - 1
    flat = mass.reshape(-1)
    to = place.reshape(n_states, width)
    for n in range(horizon, 0, -1):
        if n == horizon or pi.shape[0] > 1:
            _fold(weight, reward, pi[(horizon - n) % pi.shape[0]], folded, paid)
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        for i in range(n_states - 1, -1, -1):
            s = order[i]
            here = two[n_states + s]
            if here > 0.0:
                for k in range(width):
                    two[to[s, k]] += here * folded[s, k]


@kernel
def best(place: Array, weight: Array, reward: Array, order: Array, mask: Array, value: Array, action: Array) -> None:
    """Fill value (H+1,S) with the optimum and action (H,S) by step with its lowest best action."""
    n_states, n_actions, n_branches = weight.shape
    horizon = value.shape[0] - 1
    flat = value.reshape(-1)
    for n in range(1, horizon + 1):
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        for i in range(n_states):
            s = order[i]
            top = -np.inf
            chosen = 0
            for a in range(n_actions):
                if mask[s, a]:
                    x = reward[s, a]
                    for b in range(n_branches):
                        x += weight[s, a, b] * two[place[s, a, b]]
                    if x > top:
                        top = x
                        chosen = a
            two[n_states + s] = top
            action[horizon - n, s] = chosen


@kernel(parallel=True)
def backward_lanes(
    place: Array, weight: Array, reward: Array, order: Array, pi: Array, steps: int, two: Array, mean: Array
) -> None:
    """Backward induction for many policies of one MDP, L of them side by side.

    pi (C,S,A,L): L policies in each of C chunks; two (C,2S,L) and mean (C,L) are scratch, two zero on entry; the values
    with all `steps` left end up in two[:, S:]. Chunks do not meet, so the result is the same for any number of threads.
    """
    n_states, n_actions, n_branches = weight.shape
    lanes = pi.shape[3]
    for c in numba.prange(pi.shape[0]):
        for n in range(steps):
            if n > 0:
                for s in range(n_states):
                    for k in range(lanes):
                        two[c, s, k] = two[c, n_states + s, k]
            for i in range(n_states):
                s = order[i]
                to = n_states + s
                for k in range(lanes):
                    two[c, to, k] = 0.0
                for a in range(n_actions):
                    for k in range(lanes):
                        mean[c, k] = reward[s, a]
                    for b in range(n_branches):
                        w = weight[s, a, b]
                        if w != 0.0:
                            at = place[s, a, b]
                            for k in range(lanes):
                                mean[c, k] += w * two[c, at, k]
                    for k in range(lanes):
                        two[c, to, k] += pi[c, s, a, k] * mean[c, k]
