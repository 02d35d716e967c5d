"""Shared by the ALFWorld tests: games, walks through the stock environment, and the comparison with ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from llm_bridge.envs.alfworld.domain import TASK_TYPES
from llm_bridge.envs.alfworld.engine import AlfworldEnv
from llm_bridge.envs.alfworld.tasks import AlfworldTasks
from llm_bridge.envs.base import make_tasks

STEPS = 14
FULL, EASY = (cast(AlfworldTasks, make_tasks(spec)) for spec in ("alfworld", "alfworld@easy"))
ONE_OF_EACH = tuple(f"valid_unseen/{kind}/0" for kind in TASK_TYPES)


@dataclass(frozen=True)
class Said:
    """What an environment said after a command (None: at the start)."""

    command: str | None
    feedback: str
    commands: tuple[str, ...]
    won: bool


def stock_walk(tasks: AlfworldTasks, task: str, seed: int) -> list[Said]:
    """Walk in the stock environment: the walkthrough with side steps that do not spoil it, then whatever chance says.

    An odd seed leaves the walkthrough out.
    """
    from llm_bridge.envs.alfworld.stock import StockEnv

    game = tasks.game(task)
    env, rng, left = StockEnv(game), np.random.default_rng(seed), list(game.walkthrough)[: None if seed % 2 == 0 else 0]
    state = env.reset()
    said = [_said(None, state)]
    for _ in range(STEPS):
        choices = [*state["admissible_commands"], "fly to moon 1"]
        if left:
            choices = [c for c in choices if c.split()[0] not in ("go", "take", "move", "close", "open")]
        command = left.pop(0) if left and rng.random() < 0.75 else str(rng.choice(choices))
        state = env.step(command)
        said.append(_said(command, state))
    return said


def our_walk(tasks: AlfworldTasks, task: str, commands: Sequence[str | None]) -> Iterator[Said]:
    """The same commands in the fast environment, past the win too."""
    from llm_bridge.envs.alfworld.domain import UNKNOWN_GOAL, source
    from llm_bridge.envs.alfworld.fast import FastPddlEnv

    game, package, env = tasks.game(task), source(), FastPddlEnv()
    grammar = package.grammar.replace(UNKNOWN_GOAL, game.sentence)
    env.load({"pddl_domain": package.domain, "grammar": grammar, "pddl_problem": game.problem})
    yield _said(None, env.reset())
    for command in commands:
        if command is not None:
            yield _said(command, env.step(command)[0])


def differences(tasks: AlfworldTasks, walks: dict[str, list[Said]]) -> list[str]:
    """Where ours says another thing than the stock environment did."""
    found = []
    for task, stock in walks.items():
        ours = list(our_walk(tasks, task, [said.command for said in stock]))
        found += [f"{task}: {a} / {b}" for a, b in zip(stock, ours, strict=True) if a != b]
    return found


def episode(env: AlfworldEnv, commands: Sequence[str]) -> list[object]:
    """What commands lead to, one after the other."""
    return [env.step(command) for command in commands]


def _said(command: str | None, state: object) -> Said:
    data = cast(dict, state)
    return Said(command, data["feedback"], tuple(data["admissible_commands"]), bool(data["won"]))
