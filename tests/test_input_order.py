"""Rows in any order and labels of any type give every estimator the same numbers, back in the caller's order."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.estimators import ESTIMATORS, credit
from creditsim.estimators.base import Pairs
from creditsim.rollouts import Rollouts

NAMES = [part.name for part in ESTIMATORS if part.function.__module__.startswith("creditsim.")]
ORDERED = ("scpo",)
"""Estimators whose choice between equals goes by the number of a trajectory, which is that of its first row."""
WORDS = ["a hall", "a hall with a lamp", "a kitchen", "the garden"]
Rows = dict[str, Any]


def rows(seed: int = 0) -> Rows:
    """Plain integer-labelled rows in trajectory order: 2 batches of 2 groups of 3 trajectories of 1 to 4 steps."""
    rng = np.random.default_rng(seed)
    traj = np.repeat(np.arange(12), rng.integers(1, 5, 12))
    m = traj.size
    step = np.concatenate([np.arange(k) for k in np.bincount(traj)])
    return {
        "traj": traj,
        "group": traj // 3,
        "batch": traj // 6,
        "step": step,
        "observation": rng.integers(0, 4, m),
        "action": rng.integers(0, 3, m),
        "reward": rng.integers(-16, 17, m) / 16.0,
        "terminated": (traj % 5 > 0),
        "greedy": (traj % 3).astype(float),
        "columns": {
            "value": rng.normal(size=m),
            "step_reward": rng.normal(size=m),
            "log_prob": -rng.random(m) - 0.1,
            "sum_pi_squared": rng.random(m) * 0.9 + 0.1,
            "tokens": rng.integers(1, 9, m),
            "valid": rng.random(m) < 0.8,
            "information_gain": rng.normal(size=m),
            "metric": rng.normal(size=m),
            "answer": rng.integers(0, 3, m),
        },
    }


def build(given_rows: Rows) -> Rollouts:
    plain = {name: values for name, values in given_rows.items() if name != "greedy"}
    traj = given_rows["traj"]
    labels = traj.tolist() if isinstance(traj, np.ndarray) else traj
    greedy = dict(zip(labels, given_rows["greedy"].tolist(), strict=True))
    made = Rollouts.from_steps(**plain, trajectory_columns={"greedy_score": greedy})
    # Anchors compared by text need text; ids are numbered by first appearance, labels tell which is which.
    texts = [WORDS[int(label) % 4] for label in made.labels["observation"]]
    return replace(made, labels={**made.labels, "observation": np.array(texts, object)})


def result(rollouts: Rollouts, name: str) -> dict[str, np.ndarray]:
    got = credit(rollouts, name)
    columns = {"advantage": got.advantage(rollouts)} if isinstance(got, Pairs) else got
    return {key: rollouts.to_input_order(np.asarray(values)) for key, values in columns.items()}


def reordered(given_rows: Rows, order: np.ndarray) -> Rows:
    def pick(values: Any) -> Any:
        return [values[i] for i in order] if isinstance(values, list) else values[order]

    plain = {name: pick(values) for name, values in given_rows.items() if name != "columns"}
    return {**plain, "columns": {name: values[order] for name, values in given_rows["columns"].items()}}


LABELS = ("step_group", "levels")


def apart(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> float:
    """Largest difference over the columns that are numbers; ids may be numbered in another order."""
    assert set(one) == set(two)
    return max(float(np.abs(one[name] - two[name]).max()) for name in one if name not in LABELS)


@pytest.mark.parametrize("name", NAMES)
def test_rows_may_come_in_any_order(name: str) -> None:
    plain = rows()
    straight = result(build(plain), name)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(plain["reward"].size)
        if name in ORDERED:  # within a trajectory any order, trajectories in theirs
            order = order[np.argsort(plain["traj"][order], kind="stable")]
        mixed = result(build(reordered(plain, order)), name)
        assert apart(mixed, {key: values[order] for key, values in straight.items()}) < 1e-10


def test_the_comparison_rejects_a_way_back_that_is_lost() -> None:
    # Broken twin: results left in the order of the trajectories, and results put back by the inverse of the order.
    plain = rows()
    order = np.random.default_rng(0).permutation(plain["reward"].size)
    mixed = build(reordered(plain, order))
    straight = {key: values[order] for key, values in result(build(plain), "rloo").items()}
    raw = {"advantage": np.asarray(credit(mixed, "rloo")["advantage"])}  # pyright: ignore[reportIndexIssue]
    assert apart(raw, straight) > 0.1
    assert mixed.row_order is not None
    assert apart({"advantage": raw["advantage"][mixed.row_order]}, straight) > 0.1


RELABEL: dict[str, Callable[[int], Any]] = {
    "strings": lambda i: f"task {i}",
    "unicode": lambda i: "päron🍐" + "é" * i,
    "UUIDs": lambda i: uuid.UUID(int=2**100 + 7919 * i),
    "negative": lambda i: -3 - i,
    "sparse": lambda i: (i * 2_654_435_761) % 2**62,
    "beyond 64 bits": lambda i: 2**70 + i,
    "tuples": lambda i: ("batch", i),
    "empty string first": lambda i: "x" * i,
    "bytes": lambda i: b"id%03d" % i,
}


@pytest.mark.parametrize("kind", RELABEL)
def test_labels_of_any_type_give_the_same_numbers(kind: str) -> None:
    name = RELABEL[kind]
    plain = rows(1)
    renamed = dict(plain)
    for field in ("traj", "group", "batch"):
        renamed[field] = [name(int(i)) for i in plain[field]]
    for estimator in ("grpo", "gigpo", "hgpo", "reinforce_plus_plus", "gae"):
        assert apart(result(build(renamed), estimator), result(build(plain), estimator)) == 0.0
    made = build(renamed)
    back = made.labels["traj"][made.trajectory]
    assert [made.to_input_order(np.arange(made.n_rows)).size, back.tolist()] == [made.n_rows, renamed["traj"]]


@pytest.mark.parametrize("dtype", ["<U8", ">i8", "uint8", "int16", "object", "S4"])
def test_arrays_of_labels_give_the_same_numbers(dtype: str) -> None:
    plain = rows(2)
    renamed = {**plain, **{field: plain[field].astype(dtype) for field in ("traj", "group", "batch")}}
    assert apart(result(build(renamed), "gigpo"), result(build(plain), "gigpo")) == 0.0


def test_labels_that_are_merged_change_the_numbers() -> None:
    # Broken twin: labels cut to their first two letters put all groups together, and the check sees it.
    plain = rows(1)
    merged = {**plain, "group": np.zeros_like(plain["group"]), "batch": np.zeros_like(plain["batch"])}
    assert apart(result(build(merged), "grpo"), result(build(plain), "grpo")) > 0.1


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_flat_and_from_steps_are_one_door(seed: int, shuffle: int) -> None:
    plain = rows(seed)
    order = np.random.default_rng(shuffle).permutation(plain["reward"].size)
    del plain["greedy"]
    steps = Rollouts.from_steps(**reordered(plain, order))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(plain["traj"]))])
    first = offsets[:-1]
    flat = Rollouts.flat(
        offsets=offsets,
        group=plain["group"][first],
        batch=plain["batch"][first],
        reward=plain["reward"],
        observation=plain["observation"],
        action=plain["action"],
        terminated=plain["terminated"][first],
        columns=plain["columns"],
    )
    # Trajectories are numbered by first appearance: bring them into the order of their labels.
    place = np.argsort(steps.labels["traj"])
    same = steps.take(place)
    for name in ("offsets", "reward", "step", "terminated", *plain["columns"]):
        np.testing.assert_array_equal(same.column(name), flat.column(name), err_msg=name)
    for name in ("observation", "action"):
        np.testing.assert_array_equal(steps.labels[name][same.column(name)], plain[name])
    np.testing.assert_array_equal(same.labels["group"][same.group], plain["group"][first])


def test_unscorable_trajectories_leave_the_statistics_of_every_order_alike() -> None:
    plain = rows(3)
    del plain["greedy"]
    plain["reward"] = plain["reward"].copy()
    plain["reward"][[4, 11]] = [np.nan, np.inf]
    bad = np.isin(plain["traj"], plain["traj"][[4, 11]])
    order = np.random.default_rng(0).permutation(bad.size)
    made = Rollouts.from_steps(**reordered(plain, order), nan="omit")
    assert made.to_input_order(made.column("weight")).tolist() == (~bad[order]).astype(float).tolist()
    # The others get what they would get alone.
    alone = reordered(plain, np.flatnonzero(~bad))
    one = made.to_input_order(np.asarray(credit(made, "grpo")["advantage"]))  # pyright: ignore[reportIndexIssue]
    kept = one[np.argsort(order)][~bad]
    rest = credit(Rollouts.from_steps(**alone), "grpo")["advantage"]  # pyright: ignore[reportIndexIssue]
    np.testing.assert_allclose(kept, rest, rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="reward: got "):
        Rollouts.from_steps(**reordered(plain, order))
