"""Every trajectory a policy can produce, with its probability: the law that enumeration draws its groups from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim import ragged
from creditsim.errors import InputError, NumericalError, TooLargeError
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["TrajectoryLaw", "enumerate_trajectories"]

_TOLERANCE = 1e-12
_NODE_FIELDS = ("parent", "edge", "step", "log_prob", "probability")


@dataclass(frozen=True, eq=False)
class TrajectoryLaw:
    """The T distinct trajectories of a policy on an MDP, sorted by start state.

    `rollouts` holds them, one group (and batch) each, with columns `state`, `next_state`, `context` and `log_prob`, and
    with trajectory column `rewards_K` (T, K), the sum of each reward, where the MDP has several. `probability` (T,) is
    conditional on the start state `start` (T,); `start_probability` (S,) is that of each state.
    """

    rollouts: Rollouts
    probability: np.ndarray
    start: np.ndarray
    start_probability: np.ndarray

    @property
    def size(self) -> int:
        """T."""
        return self.probability.shape[0]

    @cached_property
    def joint(self) -> np.ndarray:
        """(T,) probability of each trajectory, its start state included."""
        return self.probability * self.start_probability[self.start]

    @cached_property
    def ranges(self) -> list[tuple[int, int, float]]:
        """For every start state: its first trajectory, the one after its last, and its probability."""
        first = np.flatnonzero(np.diff(self.start, prepend=-1))
        last = np.append(first[1:], self.size)
        weight = self.start_probability[self.start[first]]
        return list(zip(first.tolist(), last.tolist(), weight.tolist(), strict=True))

    def compose(self, index: np.ndarray, groups: int = 1) -> Rollouts:
        """Rollouts of B batches, batch b made of trajectories `index[b]` in order; `index` (B, groups * group size)."""
        batches, n = index.shape
        law, flat = self.rollouts, index.reshape(-1)
        offsets = np.zeros(flat.shape[0] + 1, np.int64)
        np.cumsum(law.length[flat], out=offsets[1:])
        rows = ragged.ranges(law.offsets[:-1][flat], offsets)
        return Rollouts(
            offsets=offsets,
            parent=np.full(flat.shape[0], -1),
            group=np.repeat(np.arange(batches * groups), n // groups),
            batch=np.repeat(np.arange(batches), n),
            terminated=law.terminated[flat],
            observation=law.observation[rows],
            action=law.action[rows],
            reward=law.reward[rows],
            step=law.step[rows],
            columns={name: values[rows] for name, values in law.columns.items()},
            trajectory_columns={name: values[flat] for name, values in law.trajectory_columns.items()},
        )


def enumerate_trajectories(mdp: TabularMDP, pi: np.ndarray, *, limit: int = 200_000) -> TrajectoryLaw:
    """Enumerate the trajectories of positive probability, equal ones merged.

    P(tau | s_0) = prod_t pi(a_t|s_t) P(s_{t+1}, r_t | s_t, a_t). Two trajectories are equal when their states, actions,
    rewards and termination are. `pi` (S,A), or (H,S,A) with one table per step. Steps follow `tick`: an episode ends on
    entering a terminal state, or is cut (`terminated` False) when it would begin step `mdp.horizon`.
    Errors: TooLargeError past `limit` trajectories, InputError for a policy whose rows are no distributions or for
    states without tick in a circle, NumericalError if the probabilities miss 1 by more than 1e-12. (inferred)
    """
    tables = _policy_tables(mdp, pi)
    _ = mdp.sweep_order  # refuses steps that might never end
    edges = _Edges(mdp)
    starts = np.flatnonzero(mdp.start > 0)
    state, step, probability = starts, np.zeros(starts.size, np.int64), np.ones(starts.size)
    node = np.full(starts.size, -1)
    layers, total, leaves = [], 0, 0
    while state.size:
        layer = edges.expand(tables, node, state, step, probability)
        ahead = edges.next_state[layer["edge"]]
        next_step = layer["step"] + mdp.tick[ahead]
        going = ~mdp.terminal[ahead] & (next_step < mdp.horizon)
        leaves += int((~going).sum())
        if leaves + int(going.sum()) > limit:
            raise TooLargeError("trajectories", f"more than {limit} (after {len(layers) + 1} decisions)", f"{limit}")
        layers.append(layer)
        node = total + np.flatnonzero(going)
        total += going.size
        state, step, probability = ahead[going], next_step[going], layer["probability"][going]
    return _law(mdp, edges, {name: np.concatenate([layer[name] for layer in layers]) for name in _NODE_FIELDS}, total)


def _law(mdp: TabularMDP, edges: _Edges, nodes: dict[str, np.ndarray], total: int) -> TrajectoryLaw:
    leaf, rows, offsets = ragged.leaf_paths(np.arange(total + 1), nodes["parent"], total)
    edge, ids = nodes["edge"][rows], np.arange(leaf.shape[0])
    columns = {"state": edges.state[edge], "next_state": edges.next_state[edge], "log_prob": nodes["log_prob"][rows]}
    per_reward = ragged.reduce_ranges(edges.reward[edge], offsets[:-1], edge.size, "sum")
    rollouts = Rollouts.flat(
        offsets=offsets,
        group=ids,
        batch=ids,
        terminated=mdp.terminal[edges.next_state[nodes["edge"][leaf]]],
        observation=mdp.observation[columns["state"]],
        action=edges.action[edge],
        reward=edges.reward[edge].sum(axis=-1),
        step=nodes["step"][rows],
        columns=columns | {"context": mdp.context[columns["state"]]},
        trajectory_columns={"rewards_K": per_reward} if mdp.reward.ndim == 4 else {},
        check=False,
    )
    start = columns["state"][offsets[:-1]]
    probability = nodes["probability"][leaf]
    order = np.argsort(start, kind="stable")
    if (order != ids).any():
        rollouts = rollouts.take(order, group=ids, batch=ids)
    law = TrajectoryLaw(rollouts, probability[order], start[order], mdp.start / mdp.start.sum())
    for first, last, _ in law.ranges:
        missing = 1.0 - law.probability[first:last].sum()
        if abs(missing) > _TOLERANCE:
            raise NumericalError(f"trajectory probabilities miss 1 by {missing:.3g}, allowed {_TOLERANCE:g}")
    return law


class _Edges:
    """Distinct (state, action, successor, reward), sorted; branches with equal ones are added up.

    `reward` (E, K) holds the rewards of all objectives, `chance` (E,) the probability given state and action;
    `offsets` (S+1,) are the edges of each state.
    """

    def __init__(self, mdp: TabularMDP) -> None:
        here, action, branch = np.nonzero((mdp.probability > 0) & mdp.mask[:, :, None] & ~mdp.terminal[:, None, None])
        chance = mdp.probability[here, action, branch] / mdp.probability[here, action].sum(axis=-1)
        ahead = mdp.successor[here, action, branch]
        reward = mdp.reward[here, action, branch].reshape(here.size, -1)
        order = np.lexsort([*reward.T, ahead, action, here])
        place = np.stack([here, action, ahead], axis=1)[order]
        reward = reward[order]
        new = np.ones(order.size, bool)
        new[1:] = (place[1:] != place[:-1]).any(axis=1) | (reward[1:] != reward[:-1]).any(axis=1)
        self.state, self.action, self.next_state = place[new].T
        self.reward = reward[new]
        self.chance = np.add.reduceat(chance[order], np.flatnonzero(new))
        self.offsets = np.searchsorted(self.state, np.arange(mdp.n_states + 1))

    def expand(
        self, pi: np.ndarray, node: np.ndarray, state: np.ndarray, step: np.ndarray, probability: np.ndarray
    ) -> dict[str, np.ndarray]:
        """One decision more: every edge of positive probability out of every node."""
        out = np.zeros(state.size + 1, np.int64)
        np.cumsum(self.offsets[state + 1] - self.offsets[state], out=out[1:])
        edge = ragged.ranges(self.offsets[state], out)
        which = ragged.rows_of(out, edge.size)
        choice = pi[np.minimum(step[which], pi.shape[0] - 1), state[which], self.action[edge]]
        kept = choice > 0
        edge, which, choice = edge[kept], which[kept], choice[kept]
        return {
            "parent": node[which],
            "edge": edge,
            "step": step[which],
            "log_prob": np.log(choice),
            "probability": probability[which] * choice * self.chance[edge],
        }


def _policy_tables(mdp: TabularMDP, pi: np.ndarray) -> np.ndarray:
    tables = np.asarray(pi, np.float64)
    tables = tables[None] if tables.ndim == 2 else tables
    shape = (mdp.n_states, mdp.n_actions)
    if tables.ndim != 3 or tables.shape[1:] != shape or tables.shape[0] not in (1, mdp.horizon):
        raise InputError("pi", f"shape {np.shape(pi)}", f"{shape} or {(mdp.horizon, *shape)}")
    tables = np.where(mdp.mask, tables, 0.0)[:, ~mdp.terminal]
    total = tables.sum(axis=-1, keepdims=True)
    if not ((tables >= 0).all() and (np.abs(total - 1) <= 1e-9).all()):
        got = f"rows that sum to {total.min():.12g} .. {total.max():.12g}"
        raise InputError("pi", got, "distributions over the allowed actions")
    out = np.zeros((tables.shape[0], *shape))
    out[:, ~mdp.terminal] = tables / total
    return out
