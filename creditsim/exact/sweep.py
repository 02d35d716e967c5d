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
    Rows nobody acts in (terminal, forbidden) are 0. `order` (S,) visits successors inside a step first.
    """

    place: np.ndarray
    weight: np.ndarray
    reward: np.ndarray
    order: np.ndarray


def prepare(mdp: TabularMDP, gamma: float, reward: np.ndarray | None = None) -> Sweep:
    """Bring an MDP into the kernels' form; `reward` (S,A,B) replaces the MDP's own (summed over objectives)."""
    if not 0.0 <= gamma <= 1.0:
        raise InputError("gamma", gamma, "0 <= gamma <= 1")
    given = mdp.scalar_reward if reward is None else np.ascontiguousarray(reward, np.float64)
    if given.shape != mdp.successor.shape:
        raise InputError("reward", f"shape {given.shape}", f"shape {mdp.successor.shape}")
    place = np.empty(mdp.successor.shape, np.uint32)
    weight, mean = np.empty(mdp.successor.shape), np.empty(mdp.mask.shape)
    _prepare(
        mdp.successor, mdp.probability, given, mdp.mask, mdp.terminal, mdp.tick, float(gamma), place, weight, mean
    )
    if not np.isfinite(mean).all():
        raise InputError("reward", "NaN or infinity", "finite numbers")
    return Sweep(place, weight, mean, mdp.sweep_order)


@kernel
def _prepare(
    successor: Array, probability: Array, reward: Array, mask: Array, terminal: Array, tick: Array, gamma: float,
    place: Array, weight: Array, mean: Array,
) -> None:  # fmt: skip
    n_states, n_actions, n_branches = successor.shape
    for s in range(n_states):
        for a in range(n_actions):
            acts = mask[s, a] and not terminal[s]
            total = 0.0
            for b in range(n_branches):
                to = successor[s, a, b]
                p = probability[s, a, b]
                live = acts and p > 0.0
                if live:
                    total += p * reward[s, a, b]
                place[s, a, b] = to if tick[to] else to + n_states
                if not live or terminal[to]:
                    weight[s, a, b] = 0.0
                else:
                    weight[s, a, b] = p * gamma if tick[to] else p
            mean[s, a] = total


@kernel
def _look(weight: Array, place: Array, two: Array, s: int, a: int, n_branches: int) -> float:
    """Mean of what follows (s, a); written out for the usual numbers of branches, where a loop costs more than the sum."""
    if n_branches == 1:
        return weight[s, a, 0] * two[place[s, a, 0]]
    if n_branches == 2:
        return weight[s, a, 0] * two[place[s, a, 0]] + weight[s, a, 1] * two[place[s, a, 1]]
    if n_branches == 3:
        x = weight[s, a, 0] * two[place[s, a, 0]] + weight[s, a, 1] * two[place[s, a, 1]]
        return x + weight[s, a, 2] * two[place[s, a, 2]]
    if n_branches == 4:
        x = weight[s, a, 0] * two[place[s, a, 0]] + weight[s, a, 1] * two[place[s, a, 1]]
        return x + (weight[s, a, 2] * two[place[s, a, 2]] + weight[s, a, 3] * two[place[s, a, 3]])
    x = 0.0
    for b in range(n_branches):
        x += weight[s, a, b] * two[place[s, a, b]]
    return x


@kernel
def backward(place: Array, weight: Array, reward: Array, order: Array, pi: Array, value: Array) -> None:
    """Fill value (H+1,S), row 0 zero on entry, for pi (1,S,A) or (H,S,A) by step."""
    n_states, n_actions, n_branches = weight.shape
    horizon = value.shape[0] - 1
    flat = value.reshape(-1)
    for n in range(1, horizon + 1):
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        now = pi[(horizon - n) % pi.shape[0]]
        for i in range(n_states):
            s = order[i]
            v = 0.0
            for a in range(n_actions):
                v += now[s, a] * (reward[s, a] + _look(weight, place, two, s, a, n_branches))
            two[n_states + s] = v


@kernel
def look_ahead(place: Array, weight: Array, reward: Array, value: Array, q: Array) -> None:
    """Fill q (H+1,S,A) from value (H+1,S); row 0 is left alone."""
    n_states, n_actions, n_branches = weight.shape
    flat = value.reshape(-1)
    for n in range(1, value.shape[0]):
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        for s in range(n_states):
            for a in range(n_actions):
                q[n, s, a] = reward[s, a] + _look(weight, place, two, s, a, n_branches)


@kernel
def forward(place: Array, weight: Array, order: Array, pi: Array, mass: Array) -> None:
    """Spread mass (H+1,S) by steps left from row H down; `weight` made with gamma = 1. Row 0 gathers what is cut."""
    n_states, n_actions, n_branches = weight.shape
    horizon = mass.shape[0] - 1
    flat = mass.reshape(-1)
    for n in range(horizon, 0, -1):
        two = flat[(n - 1) * n_states : (n + 1) * n_states]
        now = pi[(horizon - n) % pi.shape[0]]
        for i in range(n_states - 1, -1, -1):
            s = order[i]
            here = two[n_states + s]
            if here > 0.0:
                for a in range(n_actions):
                    share = here * now[s, a]
                    for b in range(n_branches):
                        two[place[s, a, b]] += share * weight[s, a, b]


@kernel
def best(
    place: Array, weight: Array, reward: Array, order: Array, mask: Array, value: Array, action: Array
) -> None:
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
                    x = reward[s, a] + _look(weight, place, two, s, a, n_branches)
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
