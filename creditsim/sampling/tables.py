"""From an MDP and a policy to what the kernels read: alias tables, moves, and the meaning of every slot.

Joint form (one frozen policy): one alias table per state over (action, successor). Two-stage form (one policy per
replicate, or joint tables that would be too large): one per (replicate, state) over actions, one per (state, action)
over successors. A *slot* is what a draw returns; each stands for one outcome (state, action, successor branch).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from creditsim.errors import InputError, TooLargeError
from creditsim.mdp.once import once_per_mdp
from creditsim.mdp.policy import Policy
from creditsim.mdp.table import TabularMDP
from creditsim.sampling.alias import AliasTables, alias_tables

__all__ = ["Tables", "advance", "build_tables", "most_rows", "moves", "policy_rows"]

_JOINT_LIMIT = 1 << 22
_SLOT_LIMIT = 1 << 29
_NARROW_BUCKETS = 16


def advance(move, step, stop, sink):
    """Return (place, step) after a move, the place being `sink` when the episode is over or would begin step `stop`.

    A move packs 4 * next place + 2 * (it enters a terminal state) + (it begins a step).
    """
    step = step + (move & 1)
    place = sink if step >= stop else move >> 2
    return place, step


def moves(mdp: TabularMDP, outcome_state: np.ndarray) -> np.ndarray:
    """Pack the move into each next state; the place of a terminal state is S, the sink."""
    place = np.where(mdp.terminal, mdp.n_states, np.arange(mdp.n_states))
    packed = 4 * place + 2 * mdp.terminal + mdp.tick
    return packed[outcome_state]


@dataclass(frozen=True, eq=False)
class Tables:
    """What the rollout kernels read; flat arrays indexed by slot, place or row.

    `threshold`, `bits`: alias tables of the last stage, 2^bits buckets each; place p of the joint form is table p, and
    the sink S has a table too, whose only move is back to the sink. `move` (slots,) as in `advance`.
    `pick_threshold`, `pick_action`, `pick_bits`: alias tables over actions, table r (S+1) + s, empty in the joint form.
    `wide`: a draw takes two words (more than 16 buckets somewhere), else one. `uniform`: every decision is a step.
    `state`, `action`, `branch` (slots,) int32: the outcome of each slot. `reward` (slots,) its scalar reward, 0 at the
    sink.
    """

    threshold: np.ndarray
    bits: int
    move: np.ndarray
    pick_threshold: np.ndarray
    pick_action: np.ndarray
    pick_bits: int
    n_actions: int
    wide: bool
    uniform: bool
    sink: int
    state: np.ndarray
    action: np.ndarray
    branch: np.ndarray
    reward: np.ndarray

    @property
    def two_stage(self) -> bool:
        """Whether action and successor are drawn one after the other."""
        return self.pick_threshold.size > 0

    @property
    def words(self) -> int:
        """Words that one decision takes: 1, 2 or 4."""
        return (1 + self.two_stage) * (1 + self.wide)

    @property
    def layout(self) -> tuple[Any, ...]:
        """Scalars as the kernels take them: bits, pick bits, wide, sink, actions, words per decision, uniform."""
        u = np.uint64
        actions = self.n_actions
        return (u(self.bits), u(self.pick_bits), int(self.wide), u(self.sink), u(actions), self.words, self.uniform)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Arrays as the kernels take them."""
        return self.threshold, self.move, self.pick_threshold, self.pick_action, self.reward


def policy_rows(mdp: TabularMDP, policy: Policy, replicates: int) -> np.ndarray:
    """Checked action probabilities: (S, A) of a policy that all share, or (replicates, S, A) of one for each.

    A single replicate's own policy keeps its leading axis: replicates and shared policies draw from different tables,
    and a replicate's bits must not depend on how many run beside it.
    """
    pi = np.asarray(policy.probabilities(mdp), np.float64)
    shape = (mdp.n_states, mdp.n_actions)
    if pi.shape not in {shape, (replicates, *shape)}:
        raise InputError("policy", f"probabilities of shape {pi.shape}", f"{shape} or {(replicates, *shape)}")
    active = pi[..., ~mdp.terminal, :]
    if not np.isfinite(active).all() or (active < 0).any():
        raise InputError("policy", "a probability that is negative, NaN or infinite", "probabilities")
    total = active.sum(axis=-1).reshape(-1)
    if total.size and np.abs(total - 1.0).max() > 1e-9:
        worst = total[np.abs(total - 1.0).argmax()]
        raise InputError("policy", f"a row that sums to {worst:.12g}", "rows that sum to 1")
    if (active[..., ~mdp.mask[~mdp.terminal]] > 0).any():
        raise InputError("policy", "a forbidden action with positive probability", "0 where the mask forbids")
    return pi


def most_rows(mdp: TabularMDP) -> int:
    """Most decisions an episode can have: horizon times the longest chain of decisions inside one step."""
    if mdp.tick[~mdp.terminal].all():
        return mdp.horizon
    _ = mdp.sweep_order  # a step that might never end is refused there
    possible = (mdp.probability > 0) & mdp.mask[:, :, None] & ~mdp.terminal[:, None, None]
    inner = possible & ~mdp.tick[mdp.successor] & ~mdp.terminal[mdp.successor]
    depth = np.ones(mdp.n_states, np.int64)
    for _ in range(mdp.n_states):
        deeper = np.where(inner, depth[mdp.successor] + 1, 1).max(axis=(1, 2))
        if (deeper == depth).all():
            break
        depth = deeper
    return mdp.horizon * int(depth.max())


def build_tables(mdp: TabularMDP, pi: np.ndarray) -> Tables:
    """Build the tables for action probabilities `pi`: (S, A) of one frozen policy, or (R, S, A) one per replicate.

    Errors: TooLargeError when the successor tables alone would pass 2^29 slots.
    """
    s, a, b = mdp.successor.shape
    buckets = 1 << (a * b - 1).bit_length()
    if pi.ndim == 2 and s * buckets <= _JOINT_LIMIT:
        return _joint(mdp, pi)
    if 2 * s * a * (1 << (b - 1).bit_length()) > _SLOT_LIMIT:
        raise TooLargeError("mdp", f"{s} states x {a} actions x {b} successors", f"at most {_SLOT_LIMIT} table slots")
    return _two_stage(mdp, pi.reshape(-1, s, a))


def _lawful(rows: np.ndarray, used: np.ndarray) -> np.ndarray:
    # Terminal states and forbidden actions are never drawn from; any law will do there.
    first = np.eye(1, rows.shape[-1])
    return np.where(used[..., None], rows, first)


def _with_sink(values: np.ndarray, fill: float) -> np.ndarray:
    return np.concatenate([values, np.full((1, *values.shape[1:]), fill, values.dtype)])


def _joint(mdp: TabularMDP, pi: np.ndarray) -> Tables:
    s, a, b = mdp.successor.shape
    joint = (pi[:, :, None] * np.where(mdp.mask[:, :, None], mdp.probability, 0.0)).reshape(s, a * b)
    alias = alias_tables(_lawful(joint, ~mdp.terminal))
    inside = alias.slot_outcome.reshape(s, -1)
    owner = np.repeat(np.arange(s), inside.shape[1]).reshape(inside.shape)
    return _finish(mdp, alias, owner, inside // b, inside % b)


def _two_stage(mdp: TabularMDP, pi: np.ndarray) -> Tables:
    a, last = mdp.n_actions, _successors(mdp)
    padded = np.concatenate([_lawful(pi, ~mdp.terminal[None]), np.broadcast_to(np.eye(1, a), (pi.shape[0], 1, a))], 1)
    pick = alias_tables(padded.reshape(-1, a))
    return replace(
        last,
        pick_threshold=pick.threshold.reshape(-1),
        pick_action=pick.slot_outcome,
        pick_bits=(pick.n_buckets - 1).bit_length(),
        wide=last.wide or pick.n_buckets > _NARROW_BUCKETS,
    )


@once_per_mdp
def _successors(mdp: TabularMDP) -> Tables:
    """The stage that draws successors: it is the same for all policies."""
    s, a, b = mdp.successor.shape
    used = ~mdp.terminal[:, None] & mdp.mask
    alias = alias_tables(_lawful(mdp.probability, used).reshape(s * a, b))
    inside = alias.slot_outcome.reshape(s, -1)
    owner = np.repeat(np.arange(s), inside.shape[1]).reshape(inside.shape)
    action = np.tile(np.repeat(np.arange(a), inside.shape[1] // a), (s, 1))
    return _finish(mdp, alias, owner, action, inside)


def _finish(mdp: TabularMDP, alias: AliasTables, state: np.ndarray, action: np.ndarray, branch: np.ndarray) -> Tables:
    """Add the sink and flatten, without a stage for actions; `state`, `action`, `branch` are (S, slots of a state)."""
    s, none = mdp.n_states, np.zeros(0, np.uint32)
    move = moves(mdp, mdp.successor[state, action, branch])
    bits = (alias.n_buckets - 1).bit_length()
    return Tables(
        threshold=_with_sink(alias.threshold.reshape(s, -1), 0).reshape(-1),
        bits=bits,
        move=_with_sink(move, 4 * s).astype(np.uint32).reshape(-1),
        pick_threshold=none,
        pick_action=none.astype(np.int32),
        pick_bits=0,
        n_actions=mdp.n_actions,
        uniform=bool(mdp.tick[~mdp.terminal].all()),
        wide=alias.n_buckets > _NARROW_BUCKETS,
        sink=s,
        state=_with_sink(state, 0).astype(np.int32).reshape(-1),
        action=_with_sink(action, 0).astype(np.int32).reshape(-1),
        branch=_with_sink(branch, 0).astype(np.int32).reshape(-1),
        reward=_with_sink(mdp.scalar_reward[state, action, branch], 0.0).reshape(-1),
    )
