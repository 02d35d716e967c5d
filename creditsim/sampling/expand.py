"""From compact records to Rollouts: every column of a row is looked up from the slot that was drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import prange

from creditsim.jit import kernel
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.sampling.joining import joined
from creditsim.threads import limited_threads

__all__ = ["Plan", "Walk", "append"]

_CHUNKS = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """Trajectories to draw, all (n,): where each belongs, the state and step it begins at, the step not to begin."""

    batch: np.ndarray
    group: np.ndarray
    parent: np.ndarray
    state: np.ndarray
    step: np.ndarray
    stop: np.ndarray


@dataclass(frozen=True, eq=False)
class Walk:
    """Decisions drawn: `codes` (n, most rows) slots, `length`, `terminated` (n,); state, action, branch by slot."""

    codes: np.ndarray
    length: np.ndarray
    terminated: np.ndarray
    state: np.ndarray
    action: np.ndarray
    branch: np.ndarray


def append(
    rollouts: Rollouts | None,
    plan: Plan,
    walk: Walk,
    mdp: TabularMDP,
    pi: np.ndarray,
    weight: float,
    record: tuple[str, ...],
    threads: int | None = None,
) -> Rollouts:
    """Return `rollouts` with the drawn trajectories at the end; `pi` (S, A), or (batches, S, A)."""
    offsets = np.concatenate([[0], np.cumsum(walk.length)])
    new = _new_rows(plan, walk, mdp, pi, offsets, threads)
    fields = {name: new.pop(name) for name in ("observation", "action", "reward", "step")}
    fields |= {"parent": plan.parent, "group": plan.group, "batch": plan.batch, "terminated": walk.terminated}
    if record:
        replicate = np.repeat(_replicate(plan, pi), walk.length)
        new |= {name: _BY_STATE[name](pi.reshape(-1, *pi.shape[-2:]))[replicate, new["state"]] for name in record}
    if mdp.reward.ndim == 4:
        slots = walk.codes[np.arange(walk.codes.shape[1]) < walk.length[:, None]]
        new["reward_K"] = mdp.reward[walk.state[slots], walk.action[slots], walk.branch[slots]]
    return joined(rollouts, walk.length, fields, new, weight)


_BY_STATE = {
    "entropy": lambda pi: -np.where(pi > 0, pi * np.log(np.where(pi > 0, pi, 1.0)), 0.0).sum(axis=-1),
    "sum_pi_squared": lambda pi: (pi**2).sum(axis=-1),
}


def _replicate(plan: Plan, pi: np.ndarray) -> np.ndarray:
    return plan.batch if pi.ndim == 3 else np.zeros_like(plan.batch)


def _new_rows(
    plan: Plan, walk: Walk, mdp: TabularMDP, pi: np.ndarray, offsets: np.ndarray, threads: int | None
) -> dict[str, np.ndarray]:
    m = int(offsets[-1])
    integers = ("observation", "action", "step", "state", "next_state", "context")
    out = {name: np.empty(m, np.int64) for name in integers} | {name: np.empty(m) for name in ("reward", "log_prob")}
    with np.errstate(divide="ignore"):
        log_pi = np.log(pi.reshape(-1, *pi.shape[-2:]))
    with limited_threads(threads, m):
        _fill(
            walk.codes, offsets, plan.step, _replicate(plan, pi), walk.state, walk.action, walk.branch,
            mdp.successor.shape, mdp.successor.reshape(-1), mdp.scalar_reward.reshape(-1), mdp.observation,
            mdp.context, mdp.tick, log_pi.reshape(-1), out["observation"], out["action"],
            out["reward"], out["step"], out["state"], out["next_state"], out["context"], out["log_prob"],
        )  # fmt: skip
    return out


@kernel(parallel=True)
def _fill(
    codes, offsets, first_step, replicate, slot_state, slot_action, slot_branch, shape, to, paid,
    observation_of, context_of, tick, log_of, observation, action, reward, step, state, next_state, context, log_prob,
):  # fmt: skip
    n = codes.shape[0]
    # Unsigned look-ups in flat tables: signed ones would be checked for counting from the end.
    states, actions, branches = np.uint64(shape[0]), np.uint64(shape[1]), np.uint64(shape[2])
    for chunk in prange(_CHUNKS):
        for i in range(n * chunk // _CHUNKS, n * (chunk + 1) // _CHUNKS):
            time, begin = first_step[i], offsets[i]
            drawn, own = codes[i], np.uint64(replicate[i]) * states
            for at in range(offsets[i + 1] - begin):
                row, slot = begin + at, np.uint64(drawn[at])
                s, a = np.uint64(slot_state[slot]), np.uint64(slot_action[slot])
                outcome = (s * actions + a) * branches + np.uint64(slot_branch[slot])
                there = to[outcome]
                observation[row] = observation_of[s]
                action[row] = a
                reward[row] = paid[outcome]
                step[row] = time
                state[row] = s
                next_state[row] = there
                context[row] = context_of[s]
                log_prob[row] = log_of[(own + s) * actions + a]
                time += tick[np.uint64(there)]
