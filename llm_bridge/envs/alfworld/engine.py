"""ALFWorld as a text environment: the package's engine and words, one episode at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from creditsim.errors import InputError
from llm_bridge.envs.alfworld.domain import UNKNOWN_GOAL, source
from llm_bridge.envs.alfworld.fast import FastPddlEnv
from llm_bridge.envs.alfworld.instances import Game
from llm_bridge.envs.base import Observation, Outcome, Snapshot

__all__ = ["HELP", "AlfworldEnv"]

HELP = "help"
"""Always possible, never useful: left out of the list of commands, as published runs leave it out; still understood."""

_IDLE: list[FastPddlEnv] = []
"""Engines of closed environments. Each holds a copy of the planner's library, which must not be unloaded: it leaves
handlers behind that are called when the process ends."""


class AlfworldEnv:
    """Plays the games that `find` returns for their ids. The engine is loaded at the first episode."""

    def __init__(self, find: Callable[[str], Game]) -> None:
        self._find = find
        self._engine: FastPddlEnv | None = None
        self._game: Game | None = None
        self._taken: list[str] = []
        self._done = True

    def reset(self, task: str) -> Observation:
        """Begin a game; UnknownNameError for an id that there is not, InputError for a problem that is no PDDL."""
        self._load(task)
        return self._told(self._env.reset())

    def step(self, text: str) -> Outcome:
        """Issue a command; what cannot be done is answered "Nothing happens.". InputError after the end."""
        if self._done:
            raise InputError("step", "a command after the end of the episode", "reset() or restore() before it")
        admissible = text.strip() in self._env.operators
        self._taken.append(text)
        state, _, won = self._env.step(text)
        self._done = won
        return Outcome(self._told(state), float(won), won, won, admissible, float(won))

    def snapshot(self) -> Snapshot:
        """Name the place by the commands that led there."""
        return Snapshot(self._current.id, len(self._taken), tuple(self._taken))

    def restore(self, place: Snapshot) -> Observation:
        """Begin the game again and do the commands silently, telling only what the last one led to."""
        self._load(place.task)
        *before, last = place.payload or ("",)
        if not place.payload:
            return self._told(self._env.reset())
        self._env.replay(before)
        self._taken = list(place.payload)
        state, _, self._done = self._env.step(last)
        return self._told(state)

    def oracle(self) -> list[str]:
        """Commands that win from here: the stored walkthrough at the start, else the planner's; none after a win."""
        game = self._current
        if self._done:
            return []
        if game.walkthrough and self._env.at_start:
            return list(game.walkthrough)
        plan = self._env.plan()
        if not plan:
            raise InputError(f"game {game.id}", "no plan that wins from here", "a solvable game")
        return plan

    def close(self) -> None:
        """Put the engine by for the next environment of this process."""
        if self._engine is not None:
            _IDLE.append(self._engine)
        self._engine, self._game, self._done = None, None, True

    @property
    def _env(self) -> FastPddlEnv:
        if self._engine is None:
            self._engine = _IDLE.pop() if _IDLE else FastPddlEnv()
        return self._engine

    @property
    def _current(self) -> Game:
        if self._game is None:
            raise InputError("environment", "no episode", "reset() or restore() before it")
        return self._game

    def _load(self, task: str) -> None:
        game, package = self._find(task), source()
        data = {"pddl_domain": package.domain, "grammar": package.grammar, "pddl_problem": game.problem}
        try:
            self._env.load(data)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # the translator ends the program over some faults
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"game {task} field pddl_problem", told, "PDDL that can be translated") from None
        self._game, self._taken, self._done = game, [], False

    def _told(self, state: Any) -> Observation:
        text = state.feedback.replace(UNKNOWN_GOAL, self._current.sentence)
        admissible = tuple(command for command in state["admissible_commands"] if command != HELP)
        name = f"{self._env.game_id}:{self._env.number:032x}"
        return Observation(text, text, admissible, f"{self._current.sentence}.", name)
