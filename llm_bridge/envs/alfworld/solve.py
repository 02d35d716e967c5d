"""Plans for generated games, and the proof that they win: in this environment and in the stock one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from llm_bridge.envs.alfworld.domain import digest, source
from llm_bridge.envs.alfworld.tasks import AlfworldTasks

__all__ = ["Played", "as_text", "play_walkthroughs", "solve"]


@dataclass(frozen=True)
class Played:
    """One game played by its walkthrough."""

    task: str
    steps: int
    won: bool
    won_stock: bool | None
    """None where the stock environment was not asked."""


def solve(tasks: AlfworldTasks, ids: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Plan each game from its start; yield the hash of its problem and the plan. Games of two objects take seconds."""
    source()
    from llm_bridge.envs.alfworld.fast import FastPddlEnv

    engine, package = FastPddlEnv(), source()
    for task in ids:
        problem = tasks.game(task).problem
        engine.load({"pddl_domain": package.domain, "grammar": package.grammar, "pddl_problem": problem})
        engine.reset()
        yield digest(problem), tuple(engine.plan())


def as_text(plans: Mapping[str, tuple[str, ...]]) -> str:
    """Walkthroughs as the file that `plans` names: one game a line, sorted by hash."""
    lines = [f"{json.dumps(key)}: {json.dumps(plans[key])}" for key in sorted(plans)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def play_walkthroughs(tasks: AlfworldTasks, ids: Iterable[str], *, stock: bool = False) -> Iterator[Played]:
    """Play each game by its oracle here and, where asked, in the stock environment; a lost game is told, not raised."""
    env = tasks.make()
    try:
        for task in ids:
            env.reset(task)
            plan, won = tuple(env.oracle()), False
            for command in plan:
                outcome = env.step(command)
                won = outcome.won
                if outcome.done or not outcome.admissible:
                    break
            yield Played(task, len(plan), won, _wins_stock(tasks, task, plan) if stock else None)
    finally:
        env.close()


def _wins_stock(tasks: AlfworldTasks, task: str, plan: tuple[str, ...]) -> bool:
    from llm_bridge.envs.alfworld.stock import StockEnv

    return StockEnv(tasks.game(task)).wins(plan)
