"""From logged rollouts to a table: counted transitions, mean rewards, and the policy that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts

__all__ = ["States", "Twin", "build_twin"]

States = Literal["anchor", "hidden"]


@dataclass(frozen=True, eq=False)
class Twin:
    """An empirical table and the policy that acted on it; S states, the last of them the end of every episode.

    `visits` (S,A) rows counted at each state and action; `anchor` (S,) the logged observation of each state, -1 for the
    end; `action` (S,A) the logged action behind each of a state's actions, -1 for none. `cut` counts rows whose episode
    was cut before anything was seen after them (left out), `frontier` states that were seen but never acted in (they
    end the episode with nothing), `spread` the largest standard deviation of the rewards logged on one transition: not
    0 means that the states do not tell all.
    """

    mdp: TabularMDP
    policy: SoftmaxPolicy
    visits: np.ndarray
    anchor: np.ndarray
    action: np.ndarray
    rows: int
    trajectories: int
    cut: int
    frontier: int
    spread: float


def build_twin(
    rollouts: Rollouts, *, states: States = "anchor", action_prior: float = 0.0, horizon: int | None = None
) -> Twin:
    """Count a table out of rollouts: P(s'|s,a) = n(s,a,s')/n(s,a), r(s,a,s') the mean reward, pi(a|o) as logged.

    A state is an anchor, or with states="hidden" the column `state` together with the anchor shown there; where
    trajectories carry the column `task`, states of different tasks are different, as the policy is told its task.
    pi(a|o) = (n(o,a) + action_prior) / (n(o) + action_prior A_o), over the A_o actions logged under o: no action that
    was never tried can be known, and a hidden state in which some of them were not tried has the shares of the others.
    Transitions are not smoothed. What follows a row is the observation of the row after it, else column
    `next_observation` (`next_state` for hidden states), else unknown: then the row counts for the policy and not for
    the transitions, and a pair of state and action without any other row ends the episode. Start: the first states of
    trajectories. `horizon`: by default as many steps as the longest trajectory has.

    Rows of weight 0 count too: they are draws of the environment like others. Errors: InputError for steps of several
    decisions, no rows, a missing column, a negative prior, a horizon < 1.
    """
    choose("states", states, ("anchor", "hidden"))
    if not (np.isfinite(action_prior) and action_prior >= 0):
        raise InputError("action_prior", action_prior, "a number >= 0")
    if rollouts.n_rows == 0:
        raise InputError("rollouts", "no rows", "at least one")
    if not rollouts.has_single_decisions:
        raise InputError("rollouts", "steps of several decisions", "one decision per step; fold them with steps()")
    task = _task(rollouts)
    if states == "hidden":
        here, after = _hidden(rollouts)
    else:
        here, after = rollouts.observation, _after(rollouts, "observation", "next_observation")
    known = after >= 0
    key = np.concatenate([_pairs(task, here), _pairs(task[known], after[known])])
    unique, ids = np.unique(key, axis=0, return_inverse=True)
    state, end = ids.reshape(-1)[: here.size], unique.shape[0]
    following = np.full(here.size, -1)
    following[known] = ids.reshape(-1)[here.size :]
    following[_ends(rollouts)] = end

    # States of one observation share a row of the policy, so they share the numbering of actions too.
    context = np.unique(_pairs(task, rollouts.observation), axis=0, return_inverse=True)[1].reshape(-1)
    index, width = _local_actions(context, rollouts.action)
    action = np.full((end + 1, width), -1)
    action[state, index] = rollouts.action
    visits = np.zeros((end + 1, width))
    np.add.at(visits, (state, index), 1.0)
    successor, probability, reward, spread = _transitions(state, index, following, rollouts.reward, end, width)

    anchor = np.full(end + 1, -1)
    anchor[state] = rollouts.observation
    frontier = np.flatnonzero(visits.sum(axis=1) == 0)[:-1]
    if states == "anchor":
        anchor[frontier] = unique[frontier, 1]
    terminal = np.equal(visits.sum(axis=1), 0.0)
    start = np.bincount(state[rollouts.previous < 0], minlength=end + 1).astype(float)
    seen = _seen(unique[:, 0], anchor[:-1])
    mdp = TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=reward,
        observation=seen,
        start=start / start.sum(),
        terminal=terminal,
        mask=visits > 0,
        horizon=int(rollouts.step.max()) + 1 if horizon is None else horizon,
        name="twin",
    )
    policy = _policy(mdp, visits, action_prior)
    cut = int((following < 0).sum())
    return Twin(
        mdp, policy, visits, anchor, action, here.size, rollouts.n_trajectories, cut, int(frontier.size), spread
    )


def _task(rollouts: Rollouts) -> np.ndarray:
    """(M,) task of each row; 0 where rollouts name none."""
    task = rollouts.trajectory_columns.get("task")
    return np.zeros(rollouts.n_rows, np.int64) if task is None else np.asarray(task)[rollouts.trajectory]


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], axis=1)


def _ends(rollouts: Rollouts) -> np.ndarray:
    """Last rows of the trajectories that the environment ended."""
    return rollouts.offsets[1:][rollouts.terminated & (rollouts.length > 0)] - 1


def _hidden(rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
    """(M,) ids of hidden state and observation together, at each row and after it; -1 where nothing tells.

    An environment may show one place in several ways (ALFWorld answers the last command), so what is shown belongs to
    the state. A next state without its observation takes the one logged first in it; if it was never acted in, none.
    """
    state, seen = rollouts.column("state", "a twin of hidden states"), rollouts.observation
    then = _after(rollouts, "state", "next_state")
    shown = _after(rollouts, "observation", "next_observation")
    known, first = np.unique(state, return_index=True)
    place = np.minimum(np.searchsorted(known, then), known.size - 1)
    shown = np.where((shown < 0) & (known[place] == then), seen[first[place]], shown)
    ids = np.unique(np.concatenate([_pairs(state, seen), _pairs(then, shown)]), axis=0, return_inverse=True)[1]
    ids = ids.reshape(-1)
    return ids[: state.size], np.where(then >= 0, ids[state.size :], -1)


def _after(rollouts: Rollouts, own: str, column: str) -> np.ndarray:
    """(M,) what is there after each row, -1 where nothing tells."""
    given = rollouts.columns.get(column)
    after = np.full(rollouts.n_rows, -1) if given is None else np.array(given, np.int64)
    previous = rollouts.previous
    later = np.flatnonzero(previous >= 0)
    after[previous[later]] = rollouts.column(own)[later]
    after[_ends(rollouts)] = -1
    return after


def _local_actions(context: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, int]:
    """(M,) index of each row's action among those of its context, and the most that any context has."""
    pairs, ids = np.unique(_pairs(context, action), axis=0, return_inverse=True)
    place = np.arange(pairs.shape[0]) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    return place[ids.reshape(-1)], int(place.max()) + 1


def _transitions(
    state: np.ndarray, index: np.ndarray, following: np.ndarray, reward: np.ndarray, end: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Successors, probabilities and mean rewards (S,A,B), and the largest deviation of the rewards of one transition.

    A pair of state and action of which only cut rows are known leads to the end, with their mean reward.
    """
    known = following >= 0
    only_cut = np.ones((end + 1, width), bool)
    only_cut[state[known], index[known]] = False
    used = known | only_cut[state, index]
    following = np.where(known, following, end)
    triples, ids, count = np.unique(
        np.stack([state, index, following], axis=1)[used], axis=0, return_inverse=True, return_counts=True
    )
    ids = ids.reshape(-1)
    total = np.bincount(ids, reward[used], count.size)
    mean = total / count
    deviation = np.sqrt(np.bincount(ids, (reward[used] - mean[ids]) ** 2, count.size) / count)
    cell = triples[:, 0] * width + triples[:, 1]
    place = np.arange(cell.size) - np.searchsorted(cell, cell)
    shape = ((end + 1), width, int(place.max()) + 1)
    successor = np.full(shape, end, np.int64)
    probability, rewards = np.zeros(shape), np.zeros(shape)
    at = (triples[:, 0], triples[:, 1], place)
    successor[at] = triples[:, 2]
    probability[at] = count / np.bincount(cell, count)[cell]
    rewards[at] = mean
    return successor, probability, rewards, float(deviation.max())


def _seen(task: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """(S,) observation ids: one for each anchor of each task, and one more for the end."""
    ids = np.unique(_pairs(task, anchor), axis=0, return_inverse=True)[1].reshape(-1)
    return np.append(ids, ids.max() + 1)


def _policy(mdp: TabularMDP, visits: np.ndarray, prior: float) -> SoftmaxPolicy:
    counts = np.zeros((mdp.n_contexts, mdp.n_actions))
    np.add.at(counts, mdp.context, visits)
    counts += np.where(counts > 0, prior, 0.0)
    total = counts.sum(axis=1, keepdims=True)
    uniform = np.full_like(counts, 1.0 / mdp.n_actions)
    return SoftmaxPolicy.from_probabilities(mdp, np.where(total > 0, counts / np.where(total > 0, total, 1.0), uniform))
