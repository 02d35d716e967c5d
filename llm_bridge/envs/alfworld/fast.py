"""The package's engine with what never changes remembered: the stock environment's words, many times faster.

Remembered per game, and shared by all environments of a process: the translation from PDDL (stock: twice per reset),
the names of things, the command of each ground operator (stock: derived anew for every admissible command of every
step), and the commands of each hidden state. The planner's task is translated when a plan is asked for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fast_downward
from textworld.core import GameState
from textworld.envs.pddl import PddlEnv
from textworld.envs.pddl.logic import Atom, PddlState
from textworld.logic import Placeholder, Variable

from llm_bridge.envs.alfworld.domain import saved_argv
from llm_bridge.envs.alfworld.memory import Ground, Remembered, View, remembered

__all__ = ["NOTHING", "FastPddlEnv"]

NOTHING = "Nothing happens."
"""The engine's answer to a command that it does not know or that cannot be done now."""


class _FastState(PddlState):
    """The stock state, begun from a remembered translation; it names itself as it changes.

    Variables are not counted as the stock state does: only rules with unbound variables read that, and there are none.
    """

    def __init__(self, downward_lib: Any, game: Remembered) -> None:
        self.downward_lib, self.game = downward_lib, game
        self._logic, self._actions = game.logic, game.actions
        self.name2type, self.pddl_problem = game.types, game.problem
        downward_lib.load_sas(game.sas)
        if not game.began:
            game.facts |= {fact for fact in self._told() if not fact.is_negation}
            game.began = True
        self._facts = defaultdict(set)
        self.number = 0
        """Name of the hidden state: exclusive or of the numbers of the facts that any future depends on."""
        for fact in game.facts:
            self._facts[fact.signature].add(fact)
            self.number ^= game.number(fact)

    def _told(self) -> Iterable[Any]:
        atoms = (Atom * self.downward_lib.get_state_size())()
        self.downward_lib.get_state(atoms)
        return [atom.get_fact(self.name2type) for atom in atoms]

    def operators(self) -> Any:
        """The operators that can be applied now, in the engine's order."""
        found = (fast_downward.Operator * self.downward_lib.get_applicable_operators_count())()
        self.downward_lib.get_applicable_operators(found)
        return found

    def take(self, ground: Ground) -> None:
        """Apply an operator and follow its effects, as the stock `apply` does."""
        effects = (Atom * ground.effects)()
        self.downward_lib.apply_operator(ground.id, effects)
        for effect in effects:
            fact = self.game.fact(effect._name)
            gone = self._facts[fact.untruth.signature]
            if fact.untruth in gone:
                gone.remove(fact.untruth)
                self.number ^= fact.untruth_number
            here = self._facts[fact.truth.signature]
            if fact.truth not in here:
                here.add(fact.truth)
                self.number ^= fact.truth_number


class FastPddlEnv(PddlEnv):
    """`PddlEnv` under the demangler, with memory. `state` holds feedback, admissible_commands and won; no facts.

    `replay` and `plan` are added; the rest is used as the stock environment is.
    """

    _pddl_state: _FastState

    def load(self, filename_or_data: Any) -> None:
        """Load a game as the stock environment does, from a file or a mapping."""
        self._game_data = _read(filename_or_data)
        self.walkthrough = self._game_data.get("walkthrough")
        self._game = remembered(*(self._game_data[name] for name in ("pddl_domain", "grammar", "pddl_problem")))
        self._logic, self._entity_infos = self._game.logic, self._game.entities

    def reset(self) -> GameState:
        """Begin the loaded game."""
        self._begin()
        return self._state(self._tell("#intro#", {}))

    def step(self, command: str) -> tuple[GameState, int, bool]:
        """Do what the command says, if it can be done now."""
        ground = self._view.operators.get(command.strip())
        if ground is None:
            state = self._state(NOTHING)
        else:
            self._do(ground)
            state = self._state(self._tell(ground.feedback_rule, ground.mapping))
        state.last_command = command.strip()
        state["score"] = int(state["won"])
        state["done"] = state["won"]
        return state, state["score"], state["done"]

    def replay(self, commands: Iterable[str]) -> None:
        """Begin again and do the commands without a word; those that cannot be done change nothing, as in `step`."""
        self._begin()
        for command in commands:
            ground = self._view.operators.get(command.strip())
            if ground is not None:
                self._do(ground)

    def plan(self) -> list[str]:
        """Commands that the planner finds to win from here; empty where there are none or the game is won."""
        with saved_argv():
            if self._game.planner_sas is None:
                _, sas = fast_downward.pddl2sas(self._game.domain, self._game.problem, optimize=True)
                self._game.planner_sas = sas.encode()
        self.downward_lib.load_sas_replan(self._game.planner_sas)
        return list(self._pddl_state.replan(self._entity_infos))

    @property
    def operators(self) -> Mapping[str, Ground]:
        """What can be done now, by command."""
        return self._view.operators

    @property
    def number(self) -> int:
        """Name of the hidden state within the game."""
        return self._pddl_state.number

    @property
    def at_start(self) -> bool:
        """Whether the hidden state is the one that the game begins in."""
        return self.number == self._start

    @property
    def game_id(self) -> str:
        """Name of the game by its contents."""
        return self._game.id

    def _begin(self) -> None:
        self._pddl_state = _FastState(self.downward_lib, self._game)
        self._start = self._pddl_state.number
        self._view = self._look()

    def _do(self, ground: Ground) -> None:
        self._pddl_state.take(ground)
        self._view = self._look()

    def _state(self, feedback: str) -> GameState:
        state = GameState()
        state.feedback = state.raw = feedback
        state["admissible_commands"] = list(self._view.commands)
        state["won"] = self._pddl_state.check_goal()
        state["lost"] = False
        self.state = state
        return state

    def _look(self) -> View:
        views, number = self._game.views, self._pddl_state.number
        if number not in views:
            self._game.trim()
            first: dict[str, Ground] = {}
            for operator in self._pddl_state.operators():
                ground = self._ground(operator)
                first.setdefault(ground.command, ground)
            views[number] = View(tuple(sorted(first)), first)
        return views[number]

    def _ground(self, operator: Any) -> Ground:
        known = self._game.operators
        if operator.id not in known:
            name, *arguments = operator.name.split()
            parameters = self._game.actions[name].parameters
            mapping = {
                Placeholder(parameter.name.strip("?"), parameter.type_name): Variable(argument, parameter.type_name)
                for parameter, argument in zip(parameters, arguments, strict=False)
            }
            action = self._logic.actions[name]
            command = self._game.command(action.template, mapping, lambda: self._tell(action.template, mapping))
            known[operator.id] = Ground(
                operator.id, operator.name, operator.nb_effect_atoms, command, action.feedback_rule, mapping
            )
        return known[operator.id]

    def _tell(self, text: str, mapping: Mapping[Placeholder, Variable]) -> str:
        return self._game.reader.tell(text, self._pddl_state, self._entity_infos, mapping)


def _read(data: Any) -> Mapping[str, Any]:
    return data if isinstance(data, Mapping) else json.loads(Path(data).read_text(encoding="utf-8"))
