"""Ranked backtracking depth-first search: 3SPO's tree, one branch group per task and call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.sampling.carried import chosen, pack, unpack
from creditsim.sampling.designs.base import ExtendingSampler, State, design
from creditsim.score_table import Allocation, branches, lookup, next_observation

__all__ = ["dfs"]

Explored = Literal["allow", "search", "run"]


@design(
    "dfs",
    paper="arXiv:2606.09961",
    evidence="notes",
    makes=("weight", "ended", "generated_rows"),
    presets={
        "paper": {},
        "code": {"explored": "run", "trajectories": 32, "depth": 50},
        "gui": {"allocation": "sigmoid"},
        "uniform": {"adaptive": False},
    },
)
def dfs(
    sampler: ExtendingSampler,
    policy: Any,
    state: State,
    *,
    group_size: int = 8,
    adaptive: bool = True,
    allocation: Allocation = "ceil",
    trajectories: int = 32,
    depth: int | None = None,
    explored: Explored = "allow",
) -> tuple[Rollouts, State]:
    """Branch once in every group: n(s) = ceil(G S(s)) one-step siblings at the state where the group's search stands.

    The search (Algorithm 1 through notes) stands at the best branch of its latest branch group, best by the reward
    that the signal gave it; when that group is used up it backtracks to the one before. n = 0 truncates: the path ends
    there. n = 1 goes on and has no group to learn from. A group whose search is used up, or has ended `trajectories`
    paths, begins a new one at the sampler's start state. One call is one branch group per task, so a loop that updates
    after each call updates post-step; the policy given is the one that samples the whole branch group.

    group_size   G, the most branches (n by `allocation`, see `creditsim.score_table.branches`)
    adaptive     False takes G branches everywhere: uniform branching
    depth        paths are cut before this step (None: the sampler's horizon alone)
    explored     a branch whose (observation, action) was explored before is learnt from but neither followed nor
                 counted as a path: "allow" never, "search" in the group's search, "run" ever in the replicate (code)

    Returns a tree of one-row trajectories ordered by batch: the paths in progress and open branches with `weight` 0,
    the new branches with 1. Trajectory columns: `ended` (the path to this leaf is over in this call), `generated_rows`
    (rows drawn for the trajectory's group in this call). A start that is truncated itself is found so by one draw of
    weight 0, in every call anew. State: `score` and `score_reward` of the signal `state_score` (without them S = 1 and
    branches are taken in the order drawn), and its own `dfs_*`, replicate first. Presets: paper | code | gui | uniform.
    Errors: InputError for numbers out of range, and for steps of several decisions.
    """
    choose("explored", explored, ("allow", "search", "run"))
    for name, value in {"group_size": group_size, "trajectories": trajectories, "depth": depth or 1}.items():
        if value < 1:
            raise InputError(name, value, "at least 1")
    given: Mapping[str, Any] = state or {}
    n_groups = sampler.batches * sampler.groups
    search = _resume(given, sampler, trajectories)
    tree, old = search.tree, search.rows
    top = search.top()

    def wanted(rows: np.ndarray, tree: Rollouts, ahead: int) -> np.ndarray:
        """Branches at the state before (0) or after (1) rows."""
        if not adaptive:
            return np.full(rows.size, group_size)
        seen = next_observation(tree, given, "design dfs") if ahead else tree.observation
        score = lookup(given, tree.batch[rows], tree.step[rows] + ahead, seen[rows])
        return branches(score, group_size, allocation)

    number = np.zeros(0, np.int64) if tree is None else wanted(top, tree, 1)
    if (number > 0).any():
        tree = sampler.extend(tree, after=top[number > 0], copies=number[number > 0], steps=1, policy=policy)
    roots = np.zeros(0, np.int64)
    if search.idle.any():
        tree = sampler.extend(tree, copies=search.idle.astype(int), steps=1, policy=policy)
        roots = np.arange(tree.n_trajectories - int(search.idle.sum()), tree.n_trajectories)
    assert tree is not None  # noqa: S101 # a group without a row to go on from is idle
    blocked = np.zeros(0, np.int64)
    if roots.size:
        more = np.zeros(n_groups, np.int64)
        more[tree.group[roots]] = wanted(roots, tree, 0) - 1
        blocked = roots[more[tree.group[roots]] < 0]
        if (more > 0).any():
            tree = sampler.extend(tree, copies=np.maximum(more, 0), steps=1, policy=policy)
    if tree.n_rows != tree.n_trajectories:
        raise InputError("design dfs", "steps of several decisions", "an environment whose steps are one decision each")
    new = np.arange(tree.n_rows) >= old
    new[blocked] = False
    over = ~sampler.continues(tree) | (depth is not None and tree.step + 1 >= (depth or 0))
    followed, flags = _unexplored(given, tree, new, sampler, explored, search.idle)
    ended = new & over & followed
    ended[top[number == 0]] = True
    marks = search.marks(tree.n_rows)
    marks["open"] &= ~ended
    marks["open"][top] = False
    marks["open"] |= new & ~over & followed
    generated = np.bincount(tree.group[old:], minlength=n_groups)
    tree = tree.with_columns(weight=new.astype(float))
    keep = _with_ancestors(tree, marks["open"] | ended | (np.arange(tree.n_rows) >= old))
    keep = keep[np.argsort(tree.batch[keep], kind="stable")]
    tree, marks = chosen(tree, keep), {name: values[keep] for name, values in marks.items()}
    finished = search.finished + np.bincount(tree.group[ended[keep]], minlength=n_groups)
    carried = {
        **pack(tree, marks, sampler.batches, sampler.groups),
        "dfs_finished": finished.reshape(sampler.batches, sampler.groups),
        **flags,
    }
    told = tree.with_trajectory_columns(ended=ended[keep], generated_rows=generated[tree.group])
    return told, {**given, **carried}


@dataclass(frozen=True, eq=False)
class _Search:
    """Where every group's search stands: open branches and the paths to them."""

    tree: Rollouts | None
    waiting: np.ndarray
    """(M,) bool: branches not yet gone on from."""
    age: np.ndarray
    """(M,) calls since the branch was drawn."""
    rank: np.ndarray
    """(M,) reward that the signal gave the branch when it was drawn."""
    finished: np.ndarray
    """(groups of all replicates,) paths that the running search has ended."""
    idle: np.ndarray
    """(groups of all replicates,) bool: groups whose search begins anew."""

    @property
    def rows(self) -> int:
        return 0 if self.tree is None else self.tree.n_rows

    def top(self) -> np.ndarray:
        """The open row of each searching group that comes next: latest branch group first, best first inside it."""
        if self.tree is None:
            return np.zeros(0, np.int64)
        rows = np.flatnonzero(self.waiting)
        order = rows[np.lexsort((-rows, self.rank[rows], -self.age[rows], self.tree.group[rows]))]
        group = self.tree.group[order]
        return order[np.append(group[1:] != group[:-1], True)] if order.size else order

    def marks(self, n_rows: int) -> dict[str, np.ndarray]:
        """What is carried beside the tree, new rows appended."""
        more = n_rows - self.rows
        return {
            "open": np.append(self.waiting, np.zeros(more, bool)),
            "age": np.append(self.age + 1, np.zeros(more, np.int64)),
            "rank": np.append(self.rank, np.zeros(more)),
        }


def _resume(state: Mapping[str, Any], sampler: ExtendingSampler, trajectories: int) -> _Search:
    """Read the searches from the state, drop those that are over and all branches that lead nowhere any more."""
    n_groups = sampler.batches * sampler.groups
    tree, marks = unpack(state, sampler.groups)
    if tree is None:
        none = np.zeros(0)
        return _Search(
            None, none.astype(bool), none.astype(int), none, np.zeros(n_groups, int), np.ones(n_groups, bool)
        )
    if "score_reward" in state:
        own = np.arange(state["dfs_open"].shape[1]) < state["dfs_rows"][:, None]
        reward = state["score_reward"][:, : own.shape[1]][own]
        marks["rank"] = np.where(marks["age"] == 0, reward, marks["rank"])
    finished = state["dfs_finished"].reshape(-1)
    marks["open"] &= finished[tree.group] < trajectories
    idle = np.bincount(tree.group[marks["open"]], minlength=n_groups) == 0
    keep = _with_ancestors(tree, marks["open"])
    finished = np.where(idle, 0, finished)
    if keep.size == 0:
        return _nothing(finished, idle)
    return _Search(chosen(tree, keep), marks["open"][keep], marks["age"][keep], marks["rank"][keep], finished, idle)


def _nothing(finished: np.ndarray, idle: np.ndarray) -> _Search:
    return _Search(None, np.zeros(0, bool), np.zeros(0, np.int64), np.zeros(0), finished, idle)


def _with_ancestors(tree: Rollouts, rows: np.ndarray) -> np.ndarray:
    """Rows named (M,) and all rows before them on their paths, as sorted indices."""
    keep = rows.copy()
    at = np.flatnonzero(keep)
    while at.size:
        at = tree.parent[at]
        at = at[at >= 0]
        at = at[~keep[at]]
        keep[at] = True
    return np.flatnonzero(keep)


def _unexplored(
    state: Mapping[str, Any],
    tree: Rollouts,
    new: np.ndarray,
    sampler: ExtendingSampler,
    explored: Explored,
    idle: np.ndarray,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(M,) bool: new rows to follow, and the flags of explored pairs, (R, groups or 1, O, A)."""
    if explored == "allow":
        return new, {}
    slots = sampler.groups if explored == "search" else 1
    rows = np.flatnonzero(new)
    slot = tree.group[rows] - tree.batch[rows] * sampler.groups if explored == "search" else np.zeros_like(rows)
    known = state.get("dfs_explored", np.zeros((sampler.batches, slots, 0, 0), bool))
    pair = (tree.observation[rows], tree.action[rows])
    o, a = (max(known.shape[2 + k], int(ids.max(initial=-1)) + 1) for k, ids in enumerate(pair))
    flags = np.zeros((sampler.batches, slots, o, a), bool)
    flags[:, :, : known.shape[2], : known.shape[3]] = known
    if explored == "search":
        flags.reshape(-1, o, a)[idle] = False
    cell = np.ravel_multi_index((tree.batch[rows], slot, *pair), flags.shape)
    first = np.zeros(rows.size, bool)
    first[np.unique(cell, return_index=True)[1]] = True
    fresh = first & ~flags.reshape(-1)[cell]
    flags.reshape(-1)[cell] = True
    followed = np.zeros(tree.n_rows, bool)
    followed[rows[fresh]] = True
    return followed, {"dfs_explored": flags}
