"""The ranked backtracking search: replayed draw by draw by a plain reference, and its laws at the edges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, UnknownNameError
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import DESIGNS, TableSampler, enumerate_design
from creditsim.sampling.carried import pack, unpack
from creditsim.signals import SIGNALS

Call = tuple[Rollouts, dict[str, Any], dict[str, np.ndarray]]


def calls(mdp: TabularMDP, number: int, *, replicates: int = 1, groups: int = 1, first: int = 0, design: dict[str, Any],
          signal: dict[str, Any]) -> Iterator[Call]:  # fmt: skip
    """Rollouts, the state before the call and the signal's columns, call by call, with a fixed policy."""
    policy = SoftmaxPolicy.random(mdp, 4)
    state: dict[str, Any] = {
        "replicate": first + np.arange(replicates), "horizon": mdp.horizon, "observation_of_state": mdp.observation,
    }  # fmt: skip
    search, score = DESIGNS.bind("dfs", **design), SIGNALS.bind("state_score", **signal)
    for k in range(number):
        sampler = TableSampler(mdp, seed=100 + k, batches=replicates, groups=groups, first_batch=first)
        before = state
        rollouts, state = search(sampler, policy, state)
        columns, state = score(rollouts, state)
        yield rollouts, before, columns


class Reference:
    """Algorithm 1 with lists and dicts for one task: where the next branch group stands, how large it is."""

    def __init__(self, g: int, alpha: float, xi: float, zeta: float, omega: float, cap: int, horizon: int) -> None:
        self.g, self.alpha, self.xi, self.zeta, self.omega = g, alpha, xi, zeta, omega
        self.cap, self.horizon = cap, horizon
        self.total: dict[int, int] = {}
        self.success: dict[int, int] = {}
        self.t = 1
        self.stack: list[tuple[list[int], int]] = []
        self.finished = 0

    def score(self, o: int) -> float:
        n, k = self.total.get(o, 0), self.success.get(o, 0)
        if n == 0:
            return 1.0
        rate = k / (n + 1e-6)
        return math.exp(-self.alpha * math.log(self.t) * rate) if n - k < self.xi or rate > self.zeta else 0.0

    def finish(self, path: list[int], won: bool) -> None:
        for o in set(path):
            self.total[o] = self.total.get(o, 0) + 1
            self.success[o] = self.success.get(o, 0) + won
        self.t += 1
        self.finished += 1

    def reward(self, s: int, after: int, won: bool) -> float:
        w = 0.5 * math.exp(-self.omega * self.total.get(s, 0))
        return w * (after != s) + (0.5 - w) * (self.score(s) - self.score(after)) + 0.5 * won

    def learn(self, path: list[int], outcomes: list[tuple[int, bool, bool]]) -> list[float]:
        """Take the branches drawn after `path`: (next observation, over, won) each; return their rewards."""
        rewards = [self.reward(path[-1], after, won) for after, _, won in outcomes]
        best_first = sorted(range(len(outcomes)), key=lambda i: (-rewards[i], i))
        self.stack += [([*path, outcomes[i][0]], i) for i in reversed(best_first) if not outcomes[i][1]]
        for after, over, won in outcomes:
            if over:
                self.finish([*path, after], won)
        return rewards

    def next(self) -> tuple[list[int] | None, int]:
        """The path to go on from (None: a new search) and the branches it gets."""
        if self.finished >= self.cap or not self.stack:
            self.stack, self.finished = [], 0
            return None, 0
        path, _ = self.stack.pop()
        n = math.ceil(self.g * self.score(path[-1]))
        if n == 0:
            self.finish(path, False)
        return path, n


def agrees(mdp: TabularMDP, design: dict[str, Any], number: int = 120, **reference: Any) -> bool:
    """Whether every call is what the reference predicts from the draws made so far."""
    alpha, xi, zeta = 2.0, 6.0, 0.05
    own = {"g": design["group_size"], "alpha": alpha, "xi": xi, "zeta": zeta, "omega": 0.1,
           "cap": design["trajectories"], "horizon": mdp.horizon}  # fmt: skip
    told = Reference(**{**own, **reference})
    signal = {"alpha": alpha, "xi": xi, "zeta": zeta}
    kinds = set()
    for rollouts, _, columns in calls(mdp, number, design=design, signal=signal):
        path, n = told.next()
        new = np.flatnonzero(rollouts.columns["weight"] > 0)
        after = mdp.observation[rollouts.columns["next_state"]]
        if path is None:  # a search begins: everything drawn opens an episode
            root = int(rollouts.observation[rollouts.parent < 0][0])
            n, path = math.ceil(told.g * told.score(root)), [root]
        kinds.add("group" if n > 1 else "step")
        if new.size != n:
            return False
        if n == 0:
            continue
        for row in new:
            walked = [int(after[row])]
            at = row
            while at >= 0:
                walked.append(int(rollouts.observation[at]))
                at = rollouts.previous[at]
            if walked[:0:-1] != path:
                return False
        ends = rollouts.terminated[new] | (rollouts.step[new] + 1 >= mdp.horizon)
        won = rollouts.terminated[new] & (rollouts.reward[new] > 0)
        rewards = told.learn(path, [(int(after[r]), bool(e), bool(v)) for r, e, v in zip(new, ends, won, strict=True)])
        if not np.allclose(rewards, columns["step_reward"][new], atol=1e-12):
            return False
    assert len(kinds) == 2, f"only {kinds}"
    return True


CASES = [
    ("chain", {"length": 2, "horizon": 5, "slip": 0.1}, {"group_size": 4, "trajectories": 6}),
    ("trap", {"length": 2, "horizon": 4}, {"group_size": 5, "trajectories": 3}),
    ("grid", {"width": 2, "height": 2, "horizon": 5}, {"group_size": 3, "trajectories": 10}),
]


@pytest.mark.parametrize(("env", "params", "design"), CASES)
def test_every_call_is_what_algorithm_1_predicts(env: str, params: dict[str, Any], design: dict[str, Any]) -> None:
    assert agrees(make(env, **params), design)


@pytest.mark.parametrize("broken", [{"alpha": 2.5}, {"xi": 7.0}, {"cap": 4}, {"g": 5}, {"omega": 0.0}])
def test_a_reference_with_another_rule_disagrees(broken: dict[str, Any]) -> None:
    assert not all(agrees(make(env, **params), design, **broken) for env, params, design in CASES)


def test_one_branch_group_per_task_and_old_rows_without_weight() -> None:
    mdp = make("grid", width=3, height=3, horizon=6)
    made = 0
    for rollouts, _, _ in calls(mdp, 40, replicates=3, groups=2, design={"group_size": 4}, signal={"xi": 4.0}):
        new = rollouts.columns["weight"] > 0
        ids, _ = rollouts.siblings()
        for group in range(6):
            mine = new & (rollouts.group_rows == group)
            assert np.unique(ids[mine]).size <= 1 and mine.sum() <= 4
            rows = rollouts.trajectory_columns["generated_rows"][rollouts.group == group]
            assert (rows == mine.sum()).all() or not mine.any()
        assert np.array_equal(np.unique(rollouts.group), np.arange(6))
        assert (np.diff(rollouts.batch) >= 0).all() and np.array_equal(rollouts.group // 2, rollouts.batch)
        assert (rollouts.length == 1).all()
        made += int(new.sum())
    assert made > 300


@pytest.mark.parametrize("explored", ["allow", "search", "run"])
def test_replicates_apart_are_the_replicates_together(explored: str) -> None:
    mdp = make("grid", width=3, height=2, horizon=5)
    options: dict[str, Any] = {"design": {"group_size": 3, "explored": explored}, "signal": {"alpha": 2.0, "xi": 5.0}}
    together = [r for r, _, _ in calls(mdp, 25, replicates=3, groups=2, **options)]
    for first, count in ((0, 1), (1, 2)):
        apart = [r for r, _, _ in calls(mdp, 25, replicates=count, groups=2, first=first, **options)]
        for whole, part in zip(together, apart, strict=True):
            inside = (whole.batch >= first) & (whole.batch < first + count)
            for name in ("observation", "action", "reward", "step"):
                assert np.array_equal(getattr(part, name), getattr(whole, name)[inside])
            assert np.array_equal(part.trajectory_columns["ended"], whole.trajectory_columns["ended"][inside])
    other = next(iter(calls(mdp, 1, replicates=1, groups=2, first=7, **options)))[0]  # another number is another draw
    assert not np.array_equal(other.action, together[0].action[together[0].batch == 0])


def test_a_hopeless_start_costs_one_draw_a_call_and_teaches_nothing() -> None:
    mdp = make("lock", length=8, actions=4, wrong="end", horizon=8)
    last = None
    for rollouts, before, _ in calls(mdp, 30, design={"group_size": 4}, signal={"xi": 3.0}):
        last = (rollouts, before)
    assert last is not None
    rollouts, before = last
    assert before["score"][0, 0, 0] == 0.0
    assert rollouts.n_rows == 1 and rollouts.columns["weight"][0] == 0
    assert rollouts.trajectory_columns["generated_rows"][0] == 1 and not rollouts.trajectory_columns["ended"][0]


def test_uniform_branching_asks_no_score() -> None:
    mdp = make("chain@tiny")
    for rollouts, _, _ in calls(mdp, 30, design={"group_size": 3, "adaptive": False}, signal={"xi": 1.0}):
        assert (rollouts.columns["weight"] > 0).sum() == 3
    sampler = TableSampler(mdp, seed=1)
    alone, state = DESIGNS.bind("dfs@uniform", group_size=3)(sampler, SoftmaxPolicy.uniform(mdp), None)
    assert alone.n_rows == 3 and state is not None
    # Without a score nothing is truncated and every state is new.
    assert DESIGNS.bind("dfs@gui", group_size=8)(sampler, SoftmaxPolicy.uniform(mdp), None)[0].n_rows == 5


def test_cap_of_depth_ends_paths() -> None:
    mdp = make("chain", length=9, horizon=9)
    deepest = 0
    for rollouts, _, _ in calls(mdp, 60, design={"group_size": 2, "depth": 3}, signal={"xi": 99.0}):
        deepest = max(deepest, int(rollouts.step.max()))
        new = rollouts.columns["weight"] > 0
        assert (rollouts.trajectory_columns["ended"][new] == (rollouts.step[new] == 2)).all()
    assert deepest == 2


def test_explored_pairs_are_followed_once() -> None:
    mdp = make("chain", length=4, horizon=6)
    followed: list[tuple[int, int]] = []
    kept: set[tuple[int, int]] = set()
    design = {"group_size": 6, "explored": "run"}
    for rollouts, before, _ in calls(mdp, 40, design=design, signal={"xi": 99.0, "alpha": 1.0}):
        known = before.get("dfs_explored", np.zeros((1, 1, 0, 0), bool))
        kept = {(int(o), int(a)) for o, a in zip(*np.nonzero(known[0, 0]), strict=True)}
        new = np.flatnonzero(rollouts.columns["weight"] > 0)
        followed += [
            (int(rollouts.observation[r]), int(rollouts.action[r]))
            for r in new[rollouts.trajectory_columns["ended"][new]]
        ]
    assert len(followed) == len(set(followed))  # a path ends once for each pair
    assert len(kept) >= 4


def test_every_outcome_of_a_first_call_by_enumeration() -> None:
    mdp = make("chain", length=2, horizon=3, slip=0.25)
    policy = SoftmaxPolicy.random(mdp, 1)
    rollouts, probability = enumerate_design("dfs", mdp, policy, group_size=3)
    assert probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert rollouts.n_batches == 4**3  # two actions, two branches, three siblings
    right = (rollouts.columns["next_state"] == 1).reshape(-1, 3).sum(axis=1)
    pi = policy.probabilities(mdp)[0]
    p = 0.75 * pi[1] + 0.25 * pi[0]
    for k in range(4):
        assert probability[right == k].sum() == pytest.approx(math.comb(3, k) * p**k * (1 - p) ** (3 - k), abs=1e-12)


def test_the_carried_tree_comes_back() -> None:
    mdp = make("grid@small")
    for rollouts, state, _ in calls(mdp, 12, replicates=2, groups=3, design={"group_size": 3}, signal={}):
        tree, marks = unpack(state, 3)
        if tree is None:
            continue
        again = unpack(pack(tree, marks, 2, 3), 3)[0]
        assert again is not None
        for name in ("parent", "group", "batch", "observation", "action", "reward", "step", "terminated"):
            assert np.array_equal(getattr(again, name), getattr(tree, name)), name
        assert rollouts.n_rows
        assert all(state[name].shape[0] == 2 for name in state if name.startswith(("dfs_", "score")))


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"group_size": 0}, "group_size: got 0"),
        ({"trajectories": 0}, "trajectories: got 0"),
        ({"depth": -1}, "depth: got -1"),
        ({"explored": "never"}, "explored: got 'never'"),
        ({"allocation": "floor"}, "allocation: got 'floor'"),
    ],
)
def test_refusals(params: dict[str, Any], line: str) -> None:
    mdp = make("chain@tiny")
    state = {"observation_of_state": mdp.observation}
    with pytest.raises(InputError, match=line):
        DESIGNS.bind("dfs", **params)(TableSampler(mdp), SoftmaxPolicy.uniform(mdp), state)


def test_steps_of_several_decisions_and_a_loop_without_tables_are_refused() -> None:
    tokens = make("tokens@tiny")
    with pytest.raises(InputError, match="one decision each"):
        DESIGNS.bind("dfs", adaptive=False)(TableSampler(tokens), SoftmaxPolicy.uniform(tokens), None)
    with pytest.raises(UnknownNameError, match="nearest: depth"):
        DESIGNS.bind("dfs", dept=3)
    mdp = make("chain@tiny")
    sampler, policy = TableSampler(mdp), SoftmaxPolicy.uniform(mdp)
    _, state = DESIGNS.bind("dfs", group_size=2)(sampler, policy, None)
    with pytest.raises(InputError, match="seen next"):
        DESIGNS.bind("dfs", group_size=2)(sampler, policy, state)
