"""The package's own stack of wrappers around its own environment: what the fast one is compared with."""

from __future__ import annotations

from typing import Any

import textworld
from textworld.envs.pddl import PddlEnv

from llm_bridge.envs.alfworld.domain import UNKNOWN_GOAL, modules, saved_argv, source
from llm_bridge.envs.alfworld.instances import Game

__all__ = ["StockEnv"]


class StockEnv:
    """One game in `PddlEnv` under `AlfredDemangler` and `AlfredInfos`, as alfworld plays it; no expert, no planner."""

    def __init__(self, game: Game) -> None:
        modules()
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos

        package = source()
        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        self._env = AlfredInfos(AlfredDemangler(PddlEnv(infos)))
        with saved_argv():
            self._env.load(
                {
                    "pddl_domain": package.domain,
                    "grammar": package.grammar.replace(UNKNOWN_GOAL, game.sentence),
                    "pddl_problem": game.problem,
                }
            )

    def reset(self) -> Any:
        """Begin the game."""
        with saved_argv():
            return self._env.reset()

    def step(self, command: str) -> Any:
        """Issue a command."""
        return self._env.step(command)[0]

    def wins(self, commands: tuple[str, ...]) -> bool:
        """Whether the commands, each admissible when issued, win the game with the last of them."""
        state = self.reset()
        for command in commands:
            if state["won"] or command not in state["admissible_commands"]:
                return False
            state = self.step(command)
        return bool(state["won"])
