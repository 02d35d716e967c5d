"""ALFWorld in one process: the fast environment beside the package's own, on the same generated games."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.report import line
from benchmarks.timing import Rounds, compare

__all__: list[str] = []

_STEPS = 20
_NEEDS = ("alfworld", "textworld")
_TASK = "train/pick_heat_then_place_in_recep/0"
"""A kitchen with 20 receptacles and 18 objects: the largest sort of room."""


def _tasks() -> Any:
    from llm_bridge.envs.base import make_tasks

    return make_tasks("alfworld")


def _stock() -> Any:
    from llm_bridge.envs.alfworld.stock import StockEnv

    return StockEnv(_tasks().game(_TASK))


def _fast() -> Any:
    from llm_bridge.envs.alfworld.domain import source
    from llm_bridge.envs.alfworld.fast import FastPddlEnv

    package, env = source(), FastPddlEnv()
    problem = _tasks().game(_TASK).problem
    env.load({"pddl_domain": package.domain, "grammar": package.grammar, "pddl_problem": problem})
    return env


def _going_on(env: Any) -> Callable[[], object]:
    """Random steps that never begin again, so that no reset is timed."""
    rng, last = np.random.default_rng(0), [env.reset()]

    def call() -> None:
        for _ in range(_STEPS):
            choices = last[0]["admissible_commands"]
            told = env.step(choices[rng.integers(len(choices))])
            last[0] = told[0] if isinstance(told, tuple) else told

    return call


@line(f"ALFWorld, {_STEPS} random steps", "stock PddlEnv under its wrappers", target=5, needs=_NEEDS)
def steps() -> Rounds:
    return compare(_going_on(_fast()), _going_on(_stock()))


@line("ALFWorld, 60 steps of a text environment", "-", "seconds", 1.0, needs=_NEEDS)
def sixty_steps() -> Rounds:
    env, rng = _tasks().make(), np.random.default_rng(0)

    def call() -> None:
        seen = env.reset(_TASK)
        for _ in range(60):
            outcome = env.step(seen.admissible[rng.integers(len(seen.admissible))])
            seen = env.reset(_TASK) if outcome.done else outcome.observation

    return compare(call)


@line("ALFWorld, reset of a known game", "-", "seconds", 0.05, needs=_NEEDS)
def reset() -> Rounds:
    env = _tasks().make()
    return compare(lambda: env.reset(_TASK))


@line("ALFWorld, reset of a known game against stock", "stock PddlEnv under its wrappers", needs=_NEEDS)
def reset_stock() -> Rounds:
    env, stock = _tasks().make(), _stock()
    return compare(lambda: env.reset(_TASK), stock.reset)


@line("ALFWorld, return to a snapshot 20 steps deep", "-", "seconds", 0.18, needs=_NEEDS)
def restore() -> Rounds:
    env, rng = _tasks().make(), np.random.default_rng(1)
    seen = env.reset(_TASK)
    for _ in range(_STEPS):
        seen = env.step(seen.admissible[rng.integers(len(seen.admissible))]).observation
    place = env.snapshot()
    return compare(lambda: env.restore(place))
