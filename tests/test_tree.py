"""Trees of rollouts: forks, nested forks, paths, siblings, against recursion on random forests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim import advantage
from creditsim.errors import InputError
from creditsim.rollouts import Rollouts


def _nested() -> Rollouts:
    # Group 0: root rows 0 1 2; branch 3 4 after row 0; branch 5 after row 4; branch 6 after row 2 goes on from its end.
    # Group 1: one root, row 7.
    return Rollouts.flat(
        offsets=np.array([0, 3, 5, 6, 7, 8]),
        parent=np.array([-1, 0, 4, 2, -1]),
        group=np.array([0, 0, 0, 0, 1]),
        observation=np.arange(8) * 10,
        reward=np.arange(8.0),
        terminated=np.array([False, True, True, True, False]),
        trajectory_columns={"success": np.arange(5)},
    )


@st.composite
def trees(draw: st.DrawFn) -> Rollouts:
    """Branches that fork at any earlier row of their group, nested, in any order."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=7))
    offsets = np.cumsum([0, *lengths])
    group = np.array([draw(st.integers(0, 1)) for _ in lengths])
    parent = np.full(len(lengths), -1)
    for i in range(1, len(lengths)):
        rows = [r for j in range(i) if group[j] == group[i] for r in range(offsets[j], offsets[j + 1])]
        if rows and draw(st.booleans()):
            parent[i] = draw(st.sampled_from(rows))
    m = int(offsets[-1])
    return Rollouts.flat(offsets=offsets, parent=parent, group=group, observation=np.arange(m), reward=np.ones(m))


def test_a_nested_tree() -> None:
    tree = _nested()
    assert tree.is_tree and tree.n_rows == 8
    assert tree.previous.tolist() == [-1, 0, 1, 0, 3, 4, 2, -1]
    assert tree.step.tolist() == [0, 1, 2, 1, 2, 3, 3, 0]
    paths, source = tree.paths()
    assert source.tolist() == [0, 3, 4, 5, 0, 1, 2, 6, 7]
    assert paths.length.tolist() == [4, 4, 1] and paths.group.tolist() == [0, 0, 1] and not paths.is_tree
    assert paths.terminated.tolist() == [True, True, False] and paths.column("success").tolist() == [2, 3, 4]
    assert paths.observation.tolist() == (source * 10).tolist() and paths.step.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    ids, n = tree.siblings()
    assert n == 7 and ids[1] == ids[3] and len(set(ids.tolist())) == 7


@given(trees())
def test_previous_walks_back_to_the_start(tree: Rollouts) -> None:
    depth = np.array([len(_walk(tree, row)) - 1 for row in range(tree.n_rows)])
    np.testing.assert_array_equal(tree.step, depth)


def _walk(tree: Rollouts, row: int) -> list[int]:
    rows = [row]
    while tree.previous[rows[-1]] >= 0:
        rows.append(int(tree.previous[rows[-1]]))
    return rows[::-1]


@given(trees())
def test_paths_are_the_walks_to_the_leaves(tree: Rollouts) -> None:
    goes_on = set(tree.previous.tolist())
    leaves = [row for row in range(tree.n_rows) if row not in goes_on]
    paths, source = tree.paths()
    walks = [source[paths.offsets[i] : paths.offsets[i + 1]].tolist() for i in range(paths.n_trajectories)]
    assert walks == [_walk(tree, leaf) for leaf in leaves]
    np.testing.assert_array_equal(paths.observation, source)


@given(trees())
def test_siblings_come_after_the_same_row(tree: Rollouts) -> None:
    ids, n = tree.siblings()
    for a in range(tree.n_rows):
        for b in range(a):
            same = tree.previous[a] == tree.previous[b] >= 0
            opening = tree.previous[a] == tree.previous[b] == -1 and tree.group_rows[a] == tree.group_rows[b]
            assert (ids[a] == ids[b]) == bool(same or opening)
    assert sorted(set(ids.tolist())) == list(range(n))


@given(trees(), st.randoms(use_true_random=False))
def test_taking_a_whole_tree_in_another_order_moves_its_forks(tree: Rollouts, random: Any) -> None:
    order = random.sample(range(tree.n_trajectories), tree.n_trajectories)
    moved = tree.take(np.array(order))
    back = moved.observation  # the row here of each row there
    for row in range(moved.n_rows):
        before = moved.previous[row]
        assert tree.previous[back[row]] == (back[before] if before >= 0 else -1)
    np.testing.assert_array_equal(moved.step, tree.step[back])


def test_take_needs_each_branch_with_its_parent_once() -> None:
    tree = _nested()
    assert tree.take([4]).n_rows == 1
    assert tree.take([0, 3]).parent.tolist() == [-1, 2]
    for chosen in ([1], [0, 2], [0, 0, 1]):
        with pytest.raises(InputError, match="trajectories: got branches without their parent, or a parent twice"):
            tree.take(chosen)


def test_steps_of_a_tree() -> None:
    tree = Rollouts.flat(
        offsets=np.array([0, 4, 6]),
        parent=np.array([-1, 1]),
        group=np.array([0, 0]),
        step=np.array([0, 0, 1, 1, 1, 1]),
        reward=np.arange(6.0),
    )
    folded, step_row = tree.steps()
    assert folded.parent.tolist() == [-1, 0] and step_row.tolist() == [0, 0, 1, 1, 2, 2]
    assert folded.reward.tolist() == [1, 5, 9] and folded.previous.tolist() == [-1, 0, 0]
    inside = Rollouts.flat(
        offsets=np.array([0, 2, 4]),
        parent=np.array([-1, 0]),
        group=np.array([0, 0]),
        step=np.array([0, 0, 0, 1]),
        reward=np.zeros(4),
    )
    with pytest.raises(InputError, match="step: got a branch that forks inside a step"):
        inside.steps()


def test_an_estimator_not_written_for_trees_names_the_way_out() -> None:
    def plain(rollouts: Rollouts) -> np.ndarray:
        return rollouts.reward * 1.0

    with pytest.raises(InputError, match=r"got a tree of rollouts, allowed rollouts without forks; .* paths\(\)"):
        advantage(_nested(), plain)
    paths, source = _nested().paths()
    np.testing.assert_array_equal(advantage(paths, plain), source)
