"""Mutation score of the core's index arithmetic, interning, schedules, score rule, policies and products.

Each operator of a module is exchanged, one at a time, and a short check against plain loops must notice.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mutants import Place, arithmetic, at_most, mutant

import creditsim.rollouts
from creditsim import labels, ragged, schedules, score_table
from creditsim.exact.dp import solve
from creditsim.mdp import SoftmaxPolicy, make, memory, policy
from creditsim.rollouts import Rollouts

DEVICE = ModuleType("device")
DEVICE.__dict__.update({name: value for name, value in vars(np).items() if not name.startswith("__")})
Check = Callable[[ModuleType], bool]


def tree(seed: int) -> Rollouts:
    """Branches that fork between steps, several decisions in a step, three groups in two batches."""
    rng = np.random.default_rng(seed)
    offsets, parent, group, step = [0], [], [], []
    for i in range(8):
        rows = [r for r in range(offsets[-1]) if r + 1 in offsets or step[r + 1] != step[r]]
        fork = int(rng.choice(rows)) if rows and rng.random() < 0.6 else -1
        owner = int(np.searchsorted(offsets, fork, side="right")) - 1 if fork >= 0 else 0
        group.append(group[owner] if fork >= 0 else min(i // 2, 2))
        parent.append(fork)
        at = step[fork] + 1 if fork >= 0 else 0
        for _ in range(int(rng.integers(1, 5))):
            step.append(at)
            at += int(rng.random() < 0.6)
        offsets.append(len(step))
    m = len(step)
    columns = {"valid": rng.random(m) < 0.5, "weight": rng.random(m), "tokens": rng.integers(1, 5, m)}
    fields: dict[str, Any] = {"observation": np.arange(m), "columns": columns, "batch": np.array(group) // 2}
    return Rollouts.flat(offsets=offsets, parent=parent, group=group, step=step, reward=rng.random(m), **fields)


def back(rollouts: Rollouts, row: int) -> list[int]:
    """Rows from the start to this one, by offsets and parents alone."""
    i = int(np.searchsorted(rollouts.offsets, row, side="right")) - 1
    inside = list(range(int(rollouts.offsets[i]), row + 1))
    return (back(rollouts, int(rollouts.parent[i])) if rollouts.parent[i] >= 0 else []) + inside


def check_ragged(module: Any) -> bool:
    keep = creditsim.rollouts.ragged
    creditsim.rollouts.ragged = module  # pyright: ignore[reportAttributeAccessIssue] # put back below
    plain = module.namespace
    try:
        ok = all(tree_holds(tree(seed)) for seed in range(4))
        # The bodies for devices, run by a library that is NumPy under another name.
        module.namespace = lambda *_: DEVICE
        return ok and all(tree_holds(tree(seed)) for seed in range(4)) and ragged_holds(module)
    finally:
        module.namespace = plain
        creditsim.rollouts.ragged = keep


def ragged_holds(module: ModuleType) -> bool:
    offsets, values = np.array([0, 2, 2, 3, 7]), np.arange(14.0).reshape(7, 2) % 5
    starts = offsets[:-1][np.diff(offsets) > 0]
    ok = module.rows_of(offsets, 7).tolist() == [0, 0, 2, 3, 3, 3, 3]
    ok &= module.repeated(np.array([5, 6, 7, 8]), offsets, 7).tolist() == [5, 5, 7, 8, 8, 8, 8]
    for how, reduce in {"sum": np.add, "min": np.minimum, "max": np.maximum}.items():
        ok &= bool(
            np.array_equal(module.reduce_ranges(values, starts, 7, how), reduce.reduceat(values, starts, axis=0))
        )
    mask = np.array([True, False, True])
    ok &= module.checked_index(mask, 3).tolist() == [0, 2] and module.dense(np.array([7, 3, 7])).tolist() == [1, 0, 1]
    return bool(ok) and module.dense(np.zeros(0)).dtype == np.int64


def tree_holds(t: Rollouts) -> bool:
    m, walks = t.n_rows, [back(t, row) for row in range(t.n_rows)]
    before = [walk[-2] if len(walk) > 1 else -1 for walk in walks]
    owner = [int(np.searchsorted(t.offsets, row, side="right")) - 1 for row in range(m)]
    ok = t.previous.tolist() == before and t.trajectory.tolist() == owner
    ok &= t.group_rows.tolist() == t.group[owner].tolist() and t.batch_rows.tolist() == t.batch[owner].tolist()
    leaves = [row for row in range(m) if row not in before]
    paths, source = t.paths()
    ok &= [source[a:b].tolist() for a, b in zip(paths.offsets, paths.offsets[1:], strict=False)] == [
        walks[leaf] for leaf in leaves
    ]
    ids, n = t.siblings()
    keys = [("r", before[r]) if before[r] >= 0 else ("g", int(t.group[owner[r]])) for r in range(m)]
    ok &= len(set(keys)) == n == len(set(zip(keys, ids.tolist(), strict=True)))
    folded, step_row = t.steps()
    rows = [np.flatnonzero(step_row == k) for k in range(folded.n_rows)]
    heads = [r == 0 or owner[r] != owner[r - 1] or t.step[r] != t.step[r - 1] for r in range(m)]
    ok &= step_row.tolist() == (np.cumsum(heads) - 1).tolist()
    ok &= np.allclose(folded.reward, [t.reward[r].sum() for r in rows], atol=1e-12)
    ok &= folded.column("valid").tolist() == [t.column("valid")[r].min() for r in rows]
    ok &= folded.column("weight").tolist() == [t.column("weight")[r].max() for r in rows]
    order = np.random.default_rng(0).permutation(t.n_trajectories)
    moved = t.take(order)
    spans = [range(int(t.offsets[i]), int(t.offsets[i + 1])) for i in order]
    rows_taken = [r for span in spans for r in span]
    ok &= moved.observation.tolist() == rows_taken
    ok &= moved.previous.tolist() == [rows_taken.index(before[r]) if before[r] >= 0 else -1 for r in rows_taken]
    ok &= refused(t, [[t.n_trajectories], [-1], [0.5]])
    branch = np.flatnonzero(t.parent >= 0)
    return bool(ok and (branch.size == 0 or refused(t, [branch[:1].tolist()])) and t.take([]).n_rows == 0)


def refused(t: Rollouts, chosen: list[list[Any]]) -> bool:
    for each in chosen:
        try:
            t.take(each)
        except creditsim.errors.InputError:
            continue
        return False
    return True


def check_labels(module: ModuleType) -> bool:
    cases: list[Any] = [
        [3, 1, 3, 0, 40], np.array([5, 5, 2]), [-4, 7, -4], ["b", "a", "b"], [2**63, -1], np.array([], int),
        np.array([9, 0, 9, 3, 2]), [True, False, True], [10**12, 5, 10**12], np.arange(40)[::-1], np.array([1]),
    ]  # fmt: skip
    for case in cases:
        ids, names = module.intern(case, "x")
        table: dict[Any, int] = {}
        plain = case.tolist() if isinstance(case, np.ndarray) else case
        if ids.tolist() != [table.setdefault(v, len(table)) for v in plain] or names[ids].tolist() != plain:
            return False
    wide = module.as_column(np.ones((3, 2)), "x", 3, "any")
    swapped = module.as_column(np.arange(3).astype(">i4"), "x", 3)
    for bad in (["a", None], [0.5, 1.5], ["a", math.nan]):
        try:
            module.intern(bad, "x")
        except creditsim.errors.InputError:
            continue
        return False
    for args in ((["a"], "x", 1), (np.ones((3, 2)), "x", 3), ([1, 2], "x", 3)):
        try:
            module.as_column(*args)
        except creditsim.errors.InputError:
            continue
        return False
    return wide.shape == (3, 2) and swapped.dtype.isnative and swapped.tolist() == [0, 1, 2]


def check_schedules(module: ModuleType) -> bool:
    one, two = module.Schedule(3.0, 1.0), module.Schedule(3.0, 1.0, "cosine")
    ok = all(abs(one.at(u) - (3 - 2 * u)) < 1e-12 for u in (0.0, 0.3, 1.0)) and one.at(-1) == 3.0 and one.at(9) == 1.0
    ok &= all(abs(two.at(u) - (2 + math.cos(math.pi * u))) < 1e-12 for u in (0.0, 0.2, 0.5, 1.0))
    ok &= (
        module.resolve({"a": one, "b": 7}, 1, 3) == {"a": 2.0, "b": 7} and module.resolve({"a": one}, 0, 1)["a"] == 3.0
    )
    same: dict[str, Any] = {"other": 1}
    ok &= module.as_schedule(same, "x") is same and module.as_schedule({"start": 1, "end": 2}, "x").end == 2.0
    ok &= module.as_schedule({"start": 1, "end": 0, "shape": "cosine"}, "x").at(0.25) > 0.8
    ok &= module.as_schedule({"start": 1, "end": 0}, "x").at(0.25) == 0.75
    for bad in ({"start": 1}, {"start": True, "end": 1}, {"start": 1, "end": math.inf}, {"start": 1, "end": 2, "x": 3}):
        try:
            module.as_schedule(bad, "x")
        except creditsim.errors.InputError:
            continue
        return False
    return ok


def check_score_table(module: ModuleType) -> bool:
    total, success = np.array([0, 5, 20, 20, 9, 10]), np.array([0, 5, 1, 3, 0, 0])
    rule = module.ScoreRule()
    keeps = [True, True, False, True, True, False]
    expected = [
        math.exp(-50 * math.log(1.1) * (k / (n + 1e-6) if n else 0.0)) if kept else 0.0
        for n, k, kept in zip(total, success, keeps, strict=True)
    ]
    ok = np.allclose(rule.score(total, success, np.full(6, 1.1)), expected, rtol=1e-12, atol=0)
    slope = module.ScoreRule(schedule="saturating", alpha=2.0, scale=3.0, span=10.0).slope(5.0)
    ok &= abs(float(slope) - 3 * (1 - math.exp(-1.0))) < 1e-12 and rule.score(9, 9, 1e300) > 0
    ok &= [int(module.branches(s, 8)) for s in (0.0, 0.3, 1.0)] == [0, 3, 8]
    ok &= [int(module.branches(s, 8, "sigmoid")) for s in (0.0, 1.0)] == [4, 5] and module.branches(
        0.0, 1, "sigmoid"
    ) == 1
    table = np.arange(12.0).reshape(2, 2, 3)
    zeros = np.zeros(3, int)
    got = module.lookup({"score": table}, zeros + 1, np.array([0, 1, 5]), np.array([2, 0, 3]))
    return bool(ok and got.tolist() == [8.0, 9.0, 1.0] and module.lookup({}, zeros, zeros, zeros).tolist() == [1.0] * 3)


def check_policy(module: ModuleType) -> bool:
    mdp = make("random", states=5, actions=3, observations=3, forbidden=0.3, horizon=3, seed=4)
    acts = mdp.mask & ~mdp.terminal[:, None]
    weight = np.random.default_rng(0).standard_normal(mdp.mask.shape) * ~mdp.terminal[:, None]
    soft = module.SoftmaxPolicy(SoftmaxPolicy.random(mdp, 0).theta, 3, 0.5)
    linear = replace(module.LogLinearPolicy.random(mdp, 1, 2, scale=2.0), temperature=0.5)
    tabular = module.LogLinearPolicy.tabular(mdp).with_theta(soft.theta)
    direct = module.masked_softmax(linear.features @ linear.theta / 0.5, mdp.mask)
    far = module.masked_softmax(np.array([[800.0, 801.0]]), np.array([[True, True]]))
    ok = bool(np.allclose(replace(tabular, temperature=0.5).probabilities(mdp), soft.probabilities(mdp), atol=1e-12))
    ok &= bool(np.allclose(linear.probabilities(mdp), direct, atol=1e-12)) and abs(far[0, 0] - 1 / (1 + math.e)) < 1e-12
    ok &= bool(np.allclose(linear.theta, 2.0 * module.LogLinearPolicy.random(mdp, 1, 2).theta, atol=1e-15))
    for each in (soft, linear):
        pi = each.probabilities(mdp)
        ok &= bool(np.allclose(pi[~mdp.terminal].sum(axis=1), 1.0, atol=1e-12)) and not pi[mdp.mask < acts].any()
        ok &= not pi[~mdp.mask & ~mdp.terminal[:, None]].any()

        def total(theta: np.ndarray, each: Any = each) -> float:
            return float((weight[acts] * np.log(each.with_theta(theta).probabilities(mdp)[acts])).sum())

        h = 1e-5 * np.eye(each.theta.size)
        slope = [(total(each.theta + e) - total(each.theta - e)) / 2e-5 for e in h]
        ok &= bool(np.allclose(each.pullback(mdp, weight), slope, rtol=0, atol=1e-7))
    ratio = np.log(soft.probabilities(mdp)[acts]) - (soft.table[mdp.context] / 0.5)[acts]
    ok &= bool(
        np.allclose(
            ratio, np.repeat([ratio[np.flatnonzero(acts.nonzero()[0] == s)[0]] for s in range(5)], acts[:5].sum(axis=1))
        )
    )
    table = np.tile([0.25, 0.75, 0.0], (mdp.n_contexts, 1))
    exact = module.SoftmaxPolicy.from_probabilities(mdp, table).probabilities(mdp)
    free = acts.all(axis=1)
    ok &= bool(np.allclose(exact[free], table[mdp.context][free], atol=1e-12)) and not exact[free, 2].any()
    ok &= (
        module.SoftmaxPolicy.random(mdp, 0, scale=2.0).theta.tolist()
        == (2 * SoftmaxPolicy.random(mdp, 0).theta).tolist()
    )
    return bool(ok and module.SoftmaxPolicy.uniform(mdp, 2).theta.shape == (2, mdp.n_contexts * 3))


def check_memory(module: ModuleType) -> bool:
    mdp = make(
        "random",
        states=5,
        actions=2,
        branching=2,
        observations=2,
        inner=0.4,
        forbidden=0.3,
        horizon=4,
        gamma=0.8,
        seed=5,
    )
    pi = SoftmaxPolicy.random(mdp, 0).probabilities(mdp)
    base, ok = solve(mdp, pi), True
    for product in (module.memory_product(mdp, 0), module.memory_product(mdp, 1), module.time_product(mdp)):
        lifted = solve(product.mdp, pi[product.state])
        mass = np.zeros_like(base.occupancy)
        np.add.at(mass.T, product.state, lifted.occupancy.T)
        ok &= abs(lifted.j - base.j) < 1e-12 and bool(np.allclose(mass, base.occupancy, atol=1e-12))
    for state, window in zip(module.memory_product(mdp, 1).state, module.memory_product(mdp, 1).memory, strict=True):
        ok &= len(window) <= 2 and (mdp.terminal[state] or not mdp.tick[state] or window[-1] == mdp.observation[state])
    timed = module.time_product(mdp)
    occupancy = solve(timed.mdp, pi[timed.state]).occupancy
    steps = {s for s, state in zip(timed.memory, timed.state, strict=True) if not mdp.terminal[state]}
    met = np.flatnonzero(occupancy.sum(axis=0))
    return bool(ok and steps == set(range(5)) and all(occupancy[:, i].argmax() == timed.memory[i] for i in met))


@dataclass(frozen=True)
class Target:
    """A module, its check, and the share of its mutants that must be noticed."""

    module: ModuleType
    check: Check
    share: float


TARGETS = {
    "labels": Target(labels, check_labels, 0.75),
    "memory": Target(memory, check_memory, 0.85),
    "policy": Target(policy, check_policy, 0.8),
    "ragged": Target(ragged, check_ragged, 0.75),
    "schedules": Target(schedules, check_schedules, 0.95),
    "score_table": Target(score_table, check_score_table, 0.85),
}


@contextmanager
def quiet() -> Iterator[None]:
    with at_most(100_000), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def holds(target: Target, module: ModuleType) -> bool:
    """Whether the check passes; an error of any kind is a no."""
    try:
        with quiet():
            return target.check(module)
    except Exception:
        return False


@pytest.mark.parametrize("name", TARGETS)
def test_exchanged_operators_are_noticed(name: str) -> None:
    target = TARGETS[name]
    assert target.check(mutant(target.module)), "a file run again is the same file"
    places = arithmetic(target.module)
    survivors: list[Place] = [place for place in places if holds(target, place.mutant())]
    assert len(survivors) <= (1 - target.share) * len(places), "\n".join(map(str, survivors))
