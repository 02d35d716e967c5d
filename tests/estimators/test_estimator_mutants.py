"""Mutation score of the estimators: every operator of their files exchanged, one at a time, must be noticed.

Noticed by the golden files of the published implementations, and where these leave an option out, by the definitions
written out with loops. At least 95 % must be; the rest are told in the failure.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mutants import Place, arithmetic, mutant
from step_cases import columns_of, gigpo_reference, hgpo_reference, walks

from creditsim.conformance.base import ADAPTERS
from creditsim.conformance.read import GoldenFile, read_golden
from creditsim.conformance.run import run_file
from creditsim.estimators import ESTIMATORS, base
from creditsim.rollouts import Rollouts

GOLDEN = Path(__file__).parents[1] / "golden"
FILES: dict[str, tuple[str, ...]] = {
    "gae": ("gae",),
    "gigpo": ("gigpo",),
    "gpg": ("gpg",),
    "group": ("grpo", "grpo_agent", "trl_grpo"),
    "hgpo": ("hgpo",),
    "opo": ("opo",),
    "otb": ("optimal_token_baseline",),
    "passk": ("grpo_passk",),
    "reinforce": (
        "reinforce_plus_plus", "reinforce_plus_plus_baseline", "reinforce_plus_plus_baseline_agent", "remax",
    ),
    "rloo": ("rloo", "rloo_agent", "trl_rloo"),
}  # fmt: skip
SHARE = 0.95
_READ: dict[str, GoldenFile] = {}


def golden(name: str) -> GoldenFile:
    if name not in _READ:
        _READ[name] = read_golden(GOLDEN / f"{name}.json")
    return _READ[name]


def near(one: Any, two: Any) -> bool:
    return bool(np.allclose(np.asarray(one, float), np.asarray(two, float), rtol=0, atol=1e-9))


def episodes(seed: int) -> Rollouts:
    """Ragged rollouts with truncated ends, decisions in steps, values and rows of weight 0."""
    rollouts = walks(np.random.default_rng(seed), members=(2, 4))
    rng, m, n = np.random.default_rng(seed + 1), rollouts.n_rows, rollouts.n_trajectories
    inside = np.arange(m) - rollouts.offsets[:-1][rollouts.trajectory]
    columns = {"value": rng.normal(size=m), "next_value": rng.normal(size=m)}
    columns |= {"log_prob": -rng.random(m) - 0.1, "sum_pi_squared": rng.random(m) * 0.9 + 0.1}
    done = rng.random(n) < 0.5
    return replace(rollouts, step=inside // 2, terminated=done, columns={**rollouts.columns, **columns})


def single(rollouts: Rollouts) -> Rollouts:
    """The same rows, each a step of its own."""
    return replace(rollouts, step=np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory])


def gae_by_hand(r: Rollouts, gamma: float, lam: float, discount: str, bootstrap: bool, turns: str) -> list[float]:
    """Advantages row by row from the back, in words: what is ahead, and whether time passes on the way there."""
    out: list[float] = [0.0] * r.n_rows
    for i in range(r.n_trajectories):
        a, b = int(r.offsets[i]), int(r.offsets[i + 1])
        total = float(r.reward[a:b].sum())
        for t in range(b - 1, a - 1, -1):
            last = t == b - 1
            new_step = last or r.step[t + 1] != r.step[t]
            reward = float(r.reward[t])
            if turns == "separate":
                last, reward = new_step, total if new_step else 0.0
            after = 0.0 if last else float(r.column("value")[t + 1])
            if last and bootstrap and turns == "joined" and not r.terminated[i]:
                after = float(r.column("next_value")[t])
            passes = discount == "row" or new_step
            g, rate = (gamma, gamma * lam) if passes else (1.0, 1.0)
            out[t] = reward + g * after - float(r.column("value")[t]) + (0.0 if last else rate * out[t + 1])
    return out


def check_gae(rollouts: Rollouts) -> bool:
    ok = True
    for discount in ("row", "step"):
        for bootstrap in (True, False):
            for turns in ("joined", "separate"):
                options = {"discount": discount, "bootstrap": bootstrap, "turns": turns}
                got = columns_of(rollouts, "gae_token", gamma=0.9, lam=0.7, **options)["advantage"]
                ok &= near(got, gae_by_hand(rollouts, 0.9, 0.7, **options))
    # Trajectories without rows take nothing from their neighbours.
    hollow = Rollouts.flat(
        offsets=[0, 0, 2, 2], group=[0, 0, 0], reward=[1.0, 2.0], terminated=[False] * 3,
        columns={"value": np.array([0.5, 0.25]), "next_value": np.array([4.0, 8.0])},
    )  # fmt: skip
    return ok and near(columns_of(hollow, "gae", gamma=1.0, lam=1.0)["advantage"], [10.5, 9.75])


def check_gigpo(rollouts: Rollouts) -> bool:
    rollouts = single(rollouts)
    keep = (np.random.default_rng(0).random(rollouts.n_rows) < 0.8) & (rollouts.trajectory % 3 != 1)
    holes = rollouts.with_columns(weight=keep.astype(float))
    ok = True
    for weighting, penalty in product(("trajectory", "step"), (0.0, 0.125)):
        options: dict[str, Any] = {"weighting": weighting, "penalty": penalty, "gamma": 0.5, "eps": 0.25}
        for each in (rollouts, holes):
            got = columns_of(each, "gigpo", **options)
            want = gigpo_reference(each, **options)
            ok &= all(near(got[name], values) for name, values in want.items())
    return ok


def check_hgpo(rollouts: Rollouts) -> bool:
    rollouts, ok = single(rollouts), True
    for weights in ("code", "paper"):
        options: dict[str, Any] = {"weights": weights, "eps": 0.25, "gamma": 0.5, "alpha": 2.0}
        options["base_group"] = weights == "code"
        got = columns_of(rollouts, "hgpo", **options)
        ok &= all(near(got[name], values) for name, values in hgpo_reference(rollouts, **options).items())
    return ok


def check_passk(rollouts: Rollouts) -> bool:
    got = columns_of(rollouts, "grpo_passk", scale="std", eps=0.5, ddof=1)["advantage"]
    score = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)
    want = np.zeros(rollouts.n_trajectories)
    for g in range(rollouts.n_groups):
        members = np.flatnonzero(rollouts.group == g)
        first, second = np.sort(score[members])[::-1][:2]
        if first > second:
            want[members[score[members].argmax()]] = (first - second) / (score[members].std(ddof=1) + 0.5)
    return near(got, want[rollouts.trajectory])


def check_gpg(rollouts: Rollouts) -> bool:
    level = rollouts.with_columns(reward=np.where(rollouts.group_rows == 1, 0.0, rollouts.reward))
    score = np.bincount(level.trajectory, level.reward, level.n_trajectories)
    want = np.zeros(level.n_trajectories)
    for b in range(level.n_batches):
        groups = [np.flatnonzero(level.group == g) for g in np.unique(level.group[level.batch == b])]
        mixed = sum(len(g) for g in groups if score[g].min() != score[g].max())
        for g in groups:
            want[g] = (score[g] - score[g].mean()) / 2.0 * sum(map(len, groups)) / max(mixed, 1)
    return near(columns_of(level, "gpg", rescale="mixed_groups", f_norm=2.0)["advantage"], want[level.trajectory])


def check_otb(rollouts: Rollouts) -> bool:
    rows = single(rollouts)
    got = columns_of(rows, "optimal_token_baseline", eps=0.5)["advantage"]
    pi = np.exp(rows.column("log_prob"))
    norm = 1 - 2 * pi + rows.column("sum_pi_squared")
    so_far, to_go = np.zeros(rows.n_rows), np.zeros(rows.n_rows)
    for i in range(rows.n_trajectories):
        span = slice(int(rows.offsets[i]), int(rows.offsets[i + 1]))
        so_far[span], to_go[span] = np.cumsum(norm[span]), np.cumsum(rows.reward[span][::-1])[::-1]
    want = np.zeros(rows.n_rows)
    for row in range(rows.n_rows):
        peers = (rows.group_rows == rows.group_rows[row]) & (rows.step == rows.step[row])
        baseline = (so_far[peers] * to_go[peers]).sum() / (so_far[peers].sum() + 0.5)
        want[row] = to_go[row] - (0.0 if peers.sum() == 1 else baseline)
    return near(got, want)


DEFINITIONS: dict[str, Callable[[Rollouts], bool]] = {
    "gae": check_gae, "gigpo": check_gigpo, "gpg": check_gpg, "hgpo": check_hgpo, "otb": check_otb,
    "passk": check_passk,
}  # fmt: skip


def holds(name: str) -> bool:
    """Whether the golden files and definitions of a module's estimators hold; any error is a no."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not all(run_file(golden(file)).ok for file in FILES[name]):
                return False
            return name not in DEFINITIONS or all(DEFINITIONS[name](episodes(seed)) for seed in (0, 1))
    except Exception:
        return False


@contextmanager
def registered(make: Callable[[], ModuleType]) -> Iterator[None]:
    """Make a changed module and put its estimators in the place of the library's for a while."""
    functions: dict[str, Callable[..., Any]] = {}

    def keep(name: str, **_: Any) -> Callable[[Any], Any]:
        def register(function: Any) -> Any:
            functions[name] = function
            return function

        return register

    real = base.estimator
    base.estimator = keep
    try:
        make()
    finally:
        base.estimator = real
    before = {name: ESTIMATORS[name] for name in functions}
    ESTIMATORS._parts.update({name: replace(part, function=functions[name]) for name, part in before.items()})
    try:
        yield
    finally:
        ESTIMATORS._parts.update(before)


def module_of(name: str) -> ModuleType:
    ADAPTERS.names()
    ESTIMATORS.names()
    return importlib.import_module(f"creditsim.estimators.{name}")


@pytest.mark.parametrize("name", FILES)
def test_the_files_as_they_are_hold(name: str) -> None:
    assert holds(name)
    with registered(lambda: mutant(module_of(name))):
        assert holds(name), "a file run again is the same file"


def test_exchanged_operators_are_noticed() -> None:
    survivors: list[Place] = []
    tried = 0
    for name in FILES:
        for place in arithmetic(module_of(name)):
            tried += 1
            with registered(place.mutant):
                if holds(name):
                    survivors.append(place)
    assert tried > 90
    assert len(survivors) <= (1 - SHARE) * tried, "\n".join(map(str, survivors))


WORDS: list[tuple[str, str, str]] = [
    ("rloo", "count - 1", "count"),
    ("gae", "gamma * ahead - value", "gamma * ahead"),
    ("gae", "-1, 0.0)", "-2, 0.0)"),
    ("gae", "~rollouts.terminated", "rollouts.terminated"),
    ("gigpo", "score_rows - off", "score_rows"),
    ("hgpo", "range(1, k + 2)", "range(1, k + 1)"),
    ("hgpo", "rollouts.group_rows, rollouts.observation", "rollouts.batch_rows, rollouts.observation"),
    ("otb", "1.0 - 2.0 * xp.exp", "1.0 - xp.exp"),
    ("passk", "x - second[ids]", "x"),
    ("gpg", "scale=False", "scale=True"),
]


@pytest.mark.parametrize(("name", "old", "new"), WORDS)
def test_changed_words_are_noticed(name: str, old: str, new: str) -> None:
    """Faults of meaning: self in the baseline, a forgotten value, groups that leak, a window too short."""
    with registered(lambda: mutant(module_of(name), old, new)):
        assert not holds(name)
