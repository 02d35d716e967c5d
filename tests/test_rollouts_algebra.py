"""Laws of Rollouts against plain loops: folding with every rule, taking twice, unrolling trees, siblings of forks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim import rollouts as module
from creditsim.errors import InputError
from creditsim.rollouts import _FOLD, FIELDS, Rollouts


@st.composite
def ragged(draw: st.DrawFn, trees: bool = False, folds: bool = True) -> Rollouts:
    """Trajectories of 0 to 5 rows with several decisions in a step, every column that folding knows, and forks."""
    n = draw(st.integers(1, 6))
    lengths = [draw(st.integers(1 if trees else 0, 5)) for _ in range(n)]
    lengths[0] = max(lengths[0], 1)
    offsets = np.cumsum([0, *lengths])
    m = int(offsets[-1])
    group = np.array([draw(st.integers(0, 2)) for _ in range(n)])
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    parent = np.full(n, -1)
    step = np.zeros(m, np.int64)
    for i in range(n):
        rows = [
            r
            for j in range(i)
            if group[j] == group[i]
            for r in range(offsets[j], offsets[j + 1])
            # Forks stand between steps: after the last decision of a step.
            if r + 1 == offsets[j + 1] or step[r + 1] != step[r]
        ]
        if trees and rows and draw(st.booleans()):
            parent[i] = draw(st.sampled_from(rows))
        at = step[parent[i]] + 1 if parent[i] >= 0 else 0
        for r in range(offsets[i], offsets[i + 1]):
            step[r] = at
            at += 1 if not folds or rng.random() < 0.6 else 0
    return Rollouts.flat(
        offsets=offsets,
        group=group,
        batch=group % 2,
        parent=parent,
        step=step,
        reward=rng.integers(-8, 9, m) / 4.0,
        observation=rng.integers(0, 4, m),
        action=rng.integers(0, 3, m),
        terminated=rng.random(n) < 0.5,
        columns={
            "reward_K": rng.integers(-8, 9, (m, 2)) / 4.0,
            "tokens": rng.integers(1, 9, m),
            "log_prob": -rng.integers(1, 9, m) / 8.0,
            "entropy": rng.integers(1, 9, m) / 8.0,
            "next_value": rng.normal(size=m),
            "next_state": rng.integers(0, 9, m),
            "valid": rng.random(m) < 0.7,
            "weight": rng.choice([0.0, 0.5, 1.0], m),
            "value": rng.normal(size=m),
            "row": np.arange(m),
        },
        trajectory_columns={"success": rng.integers(0, 2, n), "answer": rng.normal(size=(n, 2))},
    )


RULES: dict[str, Callable[[np.ndarray], Any]] = {
    "sum": lambda x: x.sum(axis=0),
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "min": lambda x: x.min(axis=0),
    "max": lambda x: x.max(axis=0),
}


def folded_by_hand(rollouts: Rollouts) -> list[dict[str, Any]]:
    """One dict per step, in row order, straight from the words of the docstring."""
    steps: list[list[int]] = []
    for i in range(rollouts.n_trajectories):
        rows = range(int(rollouts.offsets[i]), int(rollouts.offsets[i + 1]))
        for row in rows:
            if row > rows[0] and rollouts.step[row] == rollouts.step[row - 1]:
                steps[-1].append(row)
            else:
                steps.append([row])
    fields = {"reward": "sum", "observation": "first", "action": "first", "step": "first"}
    rules = fields | {name: _FOLD.get(name, "first") for name in rollouts.columns}
    return [{name: RULES[rule](rollouts.column(name)[rows]) for name, rule in rules.items()} for rows in steps]


def check_folding(rollouts: Rollouts) -> None:
    folded, step_row = rollouts.steps()
    expected = folded_by_hand(rollouts)
    assert folded.n_rows == len(expected)
    for row, step in enumerate(expected):
        for name, value in step.items():
            np.testing.assert_array_equal(folded.column(name)[row], value, err_msg=name)
    assert np.array_equal(rollouts.trajectory, folded.trajectory[step_row])
    assert np.array_equal(rollouts.step, folded.step[step_row])
    assert (np.diff(step_row) >= 0).all()
    for name in ("group", "batch", "terminated"):
        assert np.array_equal(getattr(folded, name), getattr(rollouts, name))
    assert folded.has_single_decisions and folded.steps()[0] is folded


@given(st.one_of(ragged(), ragged(trees=True)))
def test_folding_is_the_loop_over_decisions(rollouts: Rollouts) -> None:
    check_folding(rollouts)


@pytest.mark.parametrize("name", [*_FOLD, "value"])
def test_the_loop_rejects_a_wrong_rule(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Broken twins: each column folded by another rule than its own."""
    rng = np.random.default_rng(0)
    m = 12
    good = Rollouts.flat(
        offsets=[0, 7, 12],
        group=[0, 0],
        step=[0, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 1],
        reward=np.zeros(m),
        columns={name: rng.permutation(m) / 4.0 if name != "valid" else rng.random(m) < 0.5},
    )
    check_folding(good)
    expected = folded_by_hand(good)
    for rule in RULES:
        if rule == _FOLD.get(name, "first"):
            continue
        monkeypatch.setattr(module, "_FOLD", {**_FOLD, name: rule})
        wrong = good.steps()[0].column(name)
        assert [w == e[name] for w, e in zip(wrong.tolist(), expected, strict=True)] != [True] * len(expected), rule


def as_data(rollouts: Rollouts) -> dict[str, list[Any]]:
    names = (*FIELDS, *rollouts.columns, *rollouts.trajectory_columns)
    return {name: np.asarray(rollouts.column(name)).tolist() for name in names}


def subset(data: st.DataObject, n: int, repeats: bool = True) -> np.ndarray:
    element = st.integers(0, n - 1)
    return np.array(data.draw(st.lists(element, min_size=1, max_size=2 * n, unique=not repeats)), np.int64)


@given(ragged(), st.data())
def test_taking_of_what_was_taken_is_taking_once(rollouts: Rollouts, data: st.DataObject) -> None:
    first = subset(data, rollouts.n_trajectories)
    second = subset(data, first.size)
    assert as_data(rollouts.take(first).take(second)) == as_data(rollouts.take(first[second]))
    assert as_data(rollouts.take(np.arange(rollouts.n_trajectories))) == as_data(
        rollouts.take(np.ones(rollouts.n_trajectories, bool))
    )


@given(ragged(), st.data())
def test_folding_and_taking_commute(rollouts: Rollouts, data: st.DataObject) -> None:
    # Rollouts without any fold come back without `tokens`, so the column is there on both ways from the start.
    chosen = subset(data, rollouts.n_trajectories)
    assert as_data(rollouts.take(chosen).steps()[0]) == as_data(rollouts.steps()[0].take(chosen))


@given(ragged(trees=True))
def test_folding_and_unrolling_commute(tree: Rollouts) -> None:
    one, two = tree.steps()[0].paths()[0], tree.paths()[0].steps()[0]
    one, two = (each.with_columns(row=np.zeros(each.n_rows)) for each in (one, two))
    assert as_data(one) == as_data(two)


def walked(tree: Rollouts) -> list[list[int]]:
    """Rows of each path by recursion from the starts down, in the order of the leaves' trajectories."""
    forks: dict[int, list[int]] = {}
    for i in range(tree.n_trajectories):
        forks.setdefault(int(tree.parent[i]), []).append(i)
    found: dict[int, list[int]] = {}

    def go(i: int, before: list[int]) -> None:
        path = list(before)
        rows = range(int(tree.offsets[i]), int(tree.offsets[i + 1]))
        for row in rows:
            path.append(row)
            for branch in forks.get(row, []):
                go(branch, path)
        if not forks.get(rows[-1]):
            found[i] = path

    for root in forks.get(-1, []):
        go(root, [])
    return [found[i] for i in sorted(found)]


@given(ragged(trees=True))
def test_paths_are_the_recursive_walk(tree: Rollouts) -> None:
    paths, source = tree.paths()
    walks = walked(tree)
    assert [source[a:b].tolist() for a, b in zip(paths.offsets, paths.offsets[1:], strict=False)] == walks
    for name in ("observation", "action", "reward", "step", *tree.columns):
        assert np.array_equal(paths.column(name), tree.column(name)[source])
    last = tree.trajectory[[walk[-1] for walk in walks]]
    for name in ("terminated", "group", "batch", "success", "answer"):
        assert np.array_equal(paths.column(name), tree.column(name)[last])
    # Unrolling again changes nothing, and every generated row is on some path.
    again, same = paths.paths()
    assert as_data(again) == as_data(paths) and same.tolist() == list(range(paths.n_rows))
    assert set(source.tolist()) == set(range(tree.n_rows))


@given(ragged(trees=True))
def test_siblings_are_the_rows_after_one_row(tree: Rollouts) -> None:
    ids, n = tree.siblings()
    after = [
        ("row", int(p)) if p >= 0 else ("start", int(g)) for p, g in zip(tree.previous, tree.group_rows, strict=True)
    ]
    classes: dict[tuple[str, int], set[int]] = {}
    for row, key in enumerate(after):
        classes.setdefault(key, set()).add(int(ids[row]))
    assert all(len(found) == 1 for found in classes.values())
    assert len(classes) == n == len({next(iter(found)) for found in classes.values()})


@settings(max_examples=30)
@given(ragged(trees=True), st.data())
def test_taking_groups_of_a_tree_keeps_their_paths(tree: Rollouts, data: st.DataObject) -> None:
    """Whole groups are closed under parents, so they can be taken, and their paths are those of the whole tree."""
    kept = data.draw(st.sets(st.sampled_from(sorted(set(tree.group.tolist()))), min_size=1))
    chosen = np.flatnonzero(np.isin(tree.group, sorted(kept)))
    part = tree.take(chosen)
    whole, _ = tree.paths()
    inside = np.flatnonzero(np.isin(whole.group, sorted(kept)))
    got, expected = part.paths()[0], whole.take(inside)
    assert as_data(got) == as_data(expected)


@given(ragged(trees=True), st.data())
def test_a_branch_without_its_parent_is_refused(tree: Rollouts, data: st.DataObject) -> None:
    chosen = subset(data, tree.n_trajectories)
    count = np.bincount(chosen, minlength=tree.n_trajectories)
    branches = [i for i in chosen.tolist() if tree.parent[i] >= 0]
    whole = all(count[tree.trajectory[tree.parent[i]]] == 1 for i in branches)
    if whole:
        assert tree.take(chosen).n_trajectories == chosen.size
    else:
        with pytest.raises(InputError, match="branches without their parent, or a parent twice"):
            tree.take(chosen)


@given(ragged(trees=True))
def test_mapping_arrays_there_and_back(tree: Rollouts) -> None:
    doubled = tree.map_arrays(lambda x: np.concatenate([x]))
    assert as_data(doubled) == as_data(tree)
    assert doubled.native() is doubled and not np.shares_memory(doubled.reward, tree.reward)
    assert as_data(tree.with_columns(reward=tree.reward + 1).with_columns(reward=tree.reward)) == as_data(tree)
