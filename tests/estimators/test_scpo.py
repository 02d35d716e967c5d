"""SCPO against its definition written out with loops, against GiGPO, and on trajectories matched by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import columns_of, normal, walks

from creditsim.errors import InputError, UnknownNameError
from creditsim.estimators import advantage
from creditsim.rollouts import Rollouts
from creditsim.sibling_match import match_steps


def case(seed: int, success: bool = False, **options: Any) -> Rollouts:
    """Ragged episodes over four observations and three actions; some groups without a success."""
    rng = np.random.default_rng(seed)
    rollouts = walks(rng, members=(2, 5), **options)
    rollouts = replace(rollouts, action=rng.integers(0, 3, rollouts.n_rows))
    won = rng.random(rollouts.n_trajectories) < 0.4
    if success:
        return rollouts.with_trajectory_columns(success=won)
    ends = rollouts.offsets[1:] - 1
    reward = np.zeros(rollouts.n_rows)
    reward[ends[won]] = 1.0
    return replace(rollouts, reward=reward)


def identity(rollouts: Rollouts) -> np.ndarray:
    """(M, M) similarity 1 of equal observation and action."""
    pair = rollouts.observation * 10 + rollouts.action
    return (pair[:, None] == pair[None, :]).astype(float)


def by_hand(
    rollouts: Rollouts, table: np.ndarray, threshold: float, order: str, longest: bool = True, fault: str = ""
) -> np.ndarray:
    """Shared credit with lists and sorts of all pairs, nothing shared with the library."""
    out = np.zeros(rollouts.n_rows)
    rows = [range(int(a), int(b)) for a, b in zip(rollouts.offsets[:-1], rollouts.offsets[1:], strict=True)]
    column = rollouts.trajectory_columns.get("success")
    won = [
        bool(column[i]) if column is not None else math.fsum(rollouts.reward[k] for k in rows[i]) > 0
        for i in range(len(rows))
    ]
    for i, mine in enumerate(rows):
        winners = [j for j in range(len(rows)) if won[j] and rollouts.group[j] == rollouts.group[i]]
        if won[i] or not winners:
            continue
        best = (max if longest else min)(len(rows[j]) for j in winners)
        theirs = rows[next(j for j in winners if len(rows[j]) == best)]
        pairs = [(a, b) for a in range(len(mine)) for b in range(len(theirs)) if table[mine[a], theirs[b]] > threshold]
        score = {(a, b): table[mine[a], theirs[b]] for a, b in pairs}
        taken: list[tuple[int, int]] = []
        if order == "score":
            far = {(a, b): abs(a * len(theirs) - b * len(mine)) for a, b in pairs}
            for a, b in sorted(pairs, key=lambda p: (-score[p], far[p], p)):
                free = all(a != c and b != d for c, d in taken)
                if free and (fault == "crossing" or all((a < c) == (b < d) for c, d in taken)):
                    taken.append((a, b))
        else:
            frontier = -1
            for a in range(len(mine)):
                mine_pairs = [p for p in pairs if p[0] == a and (order == "none" or p[1] > frontier)]
                if mine_pairs:
                    taken.append(max(mine_pairs, key=lambda p: (score[p], -p[1])))
                    frontier = taken[-1][1]
        for a, b in taken:
            out[mine[a]] = score[a, b] if fault == "no threshold" else (score[a, b] - threshold) / (1 - threshold)
    return out


def soft(rollouts: Rollouts, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random similarity over (observation, action) in eighths, and the same for all pairs of rows."""
    table = np.random.default_rng(seed).integers(0, 9, (4, 3, 4, 3)) / 8.0
    o, a = rollouts.observation, rollouts.action
    return table, table[o[:, None], a[:, None], o[None, :], a[None, :]]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["score", "chronological", "none"]), st.booleans(), st.booleans())
def test_shared_credit_equals_the_definition(seed: int, order: str, longest: bool, success: bool) -> None:
    rollouts = case(seed, success)
    name = "longest" if longest else "shortest"
    got = columns_of(rollouts, "scpo", order=order, reference=name)["shared_credit"]
    np.testing.assert_allclose(got, by_hand(rollouts, identity(rollouts), 0.5, order, longest), rtol=0, atol=1e-15)
    table, wide = soft(rollouts, seed)
    got = columns_of(rollouts, "scpo", order=order, reference=name, threshold=0.25, similarity=table)["shared_credit"]
    np.testing.assert_allclose(got, by_hand(rollouts, wide, 0.25, order, longest), rtol=0, atol=1e-15)


@pytest.mark.parametrize("fault", ["crossing", "no threshold"])
def test_the_definition_tells_broken_twins_apart(fault: str) -> None:
    worst = 0.0
    for seed in range(20):
        rollouts = case(seed, longest=9)
        table, wide = soft(rollouts, seed)
        got = columns_of(rollouts, "scpo", threshold=0.25, similarity=table)["shared_credit"]
        worst = max(worst, float(np.abs(got - by_hand(rollouts, wide, 0.25, "score", fault=fault)).max()))
    assert worst > 0.1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_a_matrix_and_a_function_say_the_same(seed: int) -> None:
    rollouts = case(seed)
    table, _ = soft(rollouts, seed)

    def looked_up(r: Rollouts, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return table[r.observation[left], r.action[left], r.observation[right], r.action[right]]

    one, two = (columns_of(rollouts, "scpo", similarity=s)["advantage"] for s in (table, looked_up))
    assert (one == two).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["score", "chronological"]))
def test_credit_is_bounded_by_the_reference(seed: int, order: str) -> None:
    rollouts = case(seed, longest=9)
    table, _ = soft(rollouts, seed)
    credit = columns_of(rollouts, "scpo", similarity=table, order=order)["shared_credit"]
    total = np.bincount(rollouts.trajectory, credit, rollouts.n_trajectories)
    longest = np.zeros(rollouts.n_groups)
    won = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories) > 0
    np.maximum.at(longest, rollouts.group[won], rollouts.length[won])
    assert (total <= np.minimum(longest[rollouts.group], rollouts.length) + 1e-12).all()
    assert (total[won] == 0).all()


def test_without_the_rule_the_bound_is_broken() -> None:
    rollouts = Rollouts.flat(
        offsets=[0, 1, 6], group=[0, 0], observation=[0] * 6, action=[0] * 6, reward=np.array([1.0, 0, 0, 0, 0, 0])
    )
    totals = [columns_of(rollouts, "scpo", order=o)["shared_credit"].sum() for o in ("score", "chronological", "none")]
    assert totals == [1.0, 1.0, 5.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["mean", "mean_std"]), st.booleans())
def test_only_the_step_level_of_groups_with_a_success_differs_from_gigpo(seed: int, how: str, masked: bool) -> None:
    rollouts = case(seed)
    if masked:
        rollouts = rollouts.with_columns(weight=(np.arange(rollouts.n_rows) % 4 > 0).astype(float))
    plain = columns_of(rollouts, "gigpo@paper", normalize=how, gamma=0.9)
    shared = columns_of(rollouts, "scpo@paper", normalize=how, gamma=0.9)
    assert (plain["episode_advantage"] == shared["episode_advantage"]).all()
    assert (plain["discounted_return"] == shared["discounted_return"]).all()
    won = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories) > 0
    some = np.bincount(rollouts.group, won, rollouts.n_groups) > 0
    silent = ~some[rollouts.group_rows]
    assert (plain["advantage"][silent] == shared["advantage"][silent]).all()
    assert (
        columns_of(rollouts, "scpo@paper", normalize=how, gamma=0.9, alpha=0.0)["advantage"] == plain["advantage"]
    ).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["return", "reward"]))
def test_the_step_level_is_that_of_the_shaped_return(seed: int, level: str) -> None:
    rollouts = case(seed)
    got = columns_of(rollouts, "scpo@paper", level=level, gamma=0.8, alpha=0.3, step_weight=0.7)
    for i in range(rollouts.n_trajectories):
        a, b = int(rollouts.offsets[i]), int(rollouts.offsets[i + 1])
        for t in range(a, b):
            back = range(t, b) if level == "reward" else [t]
            bonus = sum(0.3 * 0.8 ** (k - t) * got["shared_credit"][k] for k in back)
            plain = sum(0.8 ** (k - t) * rollouts.reward[k] for k in range(t, b))
            assert abs(got["step_score"][t] - plain - bonus) < 1e-12
    key = list(zip(rollouts.group_rows.tolist(), rollouts.observation.tolist(), strict=True))
    for t in range(rollouts.n_rows):
        mates = [float(got["step_score"][k]) for k in range(rollouts.n_rows) if key[k] == key[t]]
        step = normal(float(got["step_score"][t]), mates, True, 1, 1e-6, "zero")
        assert abs(got["step_advantage"][t] - step) < 1e-9
    np.testing.assert_allclose(got["advantage"], got["episode_advantage"] + 0.7 * got["step_advantage"], atol=1e-12)


def test_worked_examples_of_soft_credit() -> None:
    """M = .92, .95 and .40 at a threshold of .5 are worth .84, .90 and 0."""
    for score, credit in ((0.92, 0.84), (0.95, 0.90), (0.40, 0.0)):
        got = match_steps(
            np.array([0, 1, 2]), np.array([1]), np.array([0]), (np.array([0, 1]), np.array([0, 0])),
            np.array([score]), threshold=0.5, order="score",
        )  # fmt: skip
        assert got == pytest.approx([0.0, credit], abs=1e-12)


def hand_case(mine: str, theirs: str) -> Rollouts:
    text = theirs + mine
    return Rollouts.flat(
        offsets=[0, len(theirs), len(text)], group=[0, 0], observation=[ord(c) - 97 for c in text],
        action=[0] * len(text), reward=np.array([1.0] + [0.0] * (len(text) - 1)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mine", "theirs", "order", "credited"),
    [
        ("abc", "abc", "score", "111"),
        ("aab", "ab", "score", "101"),  # a second look does not earn the first one's credit twice
        ("aab", "ab", "none", "111"),
        ("ba", "ab", "score", "10"),  # the two matches would cross
        ("ba", "ab", "chronological", "10"),
        ("ba", "ab", "none", "11"),
        ("xyz", "abc", "score", "000"),
        ("cab", "abc", "chronological", "100"),  # the first step takes the last place, and nothing lies beyond
        ("cab", "abc", "score", "011"),  # nearest relative positions first
    ],
)
def test_matches_by_hand(mine: str, theirs: str, order: str, credited: str) -> None:
    got = columns_of(hand_case(mine, theirs), "scpo", order=order)["shared_credit"]
    assert "".join(str(int(x)) for x in got[len(theirs) :]) == credited
    assert (got[: len(theirs)] == 0).all()


def test_the_reference_is_one_for_the_group_the_longest_or_the_shortest() -> None:
    rollouts = Rollouts.flat(
        offsets=[0, 1, 3, 5], group=[0, 0, 0], observation=[0, 1, 2, 0, 2], action=[0] * 5,
        reward=np.array([1.0, 0.0, 1.0, 0.0, 0.0]),
    )  # fmt: skip
    assert columns_of(rollouts, "scpo")["shared_credit"].tolist() == [0, 0, 0, 0, 1]
    assert columns_of(rollouts, "scpo", reference="shortest")["shared_credit"].tolist() == [0, 0, 0, 1, 0]


def test_success_column_overrides_the_return() -> None:
    rollouts = hand_case("ab", "ab").with_trajectory_columns(success=np.array([False, True]))
    assert columns_of(rollouts, "scpo")["shared_credit"].tolist() == [1, 1, 0, 0]


def test_rows_without_weight_neither_match_nor_are_matched() -> None:
    rollouts = hand_case("abc", "abc").with_columns(weight=np.array([1.0, 0, 1, 1, 1, 0]))
    assert columns_of(rollouts, "scpo")["shared_credit"].tolist() == [0, 0, 0, 1, 0, 0]


def test_torch_rollouts_give_torch_advantages() -> None:
    rollouts = case(3)
    tensors = rollouts.map_arrays(torch.from_numpy)
    got = advantage(tensors, "scpo@paper")
    assert isinstance(got, torch.Tensor)
    assert (got.numpy() == advantage(rollouts, "scpo@paper")).all()


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"threshold": 1.0}, "threshold: got 1.0, allowed 0 <= threshold < 1"),
        ({"alpha": -0.1}, "alpha: got -0.1"),
        ({"similarity": np.full((4, 3, 4, 3), 1.5)}, r"similarity: got 1.5, allowed numbers in \[0, 1\]"),
        ({"similarity": np.full((4, 3, 4, 3), np.nan)}, "similarity: got nan"),
        ({"similarity": np.zeros((2, 3, 2, 3))}, r"similarity: got an array of shape \(2, 3, 2, 3\)"),
        ({"similarity": np.zeros((4, 4))}, r"similarity: got an array of shape \(4, 4\)"),
        ({"similarity": lambda r, a, b: np.zeros(1)}, r"similarity: got a result of shape \(1,\)"),
    ],
)
def test_bad_parameters_are_one_line(params: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        advantage(case(3), "scpo", **params)
    assert "\n" not in str(caught.value)


def test_unknown_choices_name_the_nearest() -> None:
    for params in ({"order": "scores"}, {"reference": "longer"}, {"level": "returns"}):
        with pytest.raises(UnknownNameError, match="nearest"):
            advantage(case(3), "scpo", **params)
