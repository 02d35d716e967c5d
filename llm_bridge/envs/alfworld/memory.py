"""What stays the same through every episode of one game, remembered once per process and shared by its environments."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fast_downward
from textworld.envs.pddl.logic import GameLogic
from textworld.generator.game import EntityInfo
from textworld.logic import Proposition, Type, Variable

from llm_bridge.envs.alfworld.domain import digest, modules, saved_argv
from llm_bridge.envs.alfworld.words import Reader

__all__ = ["Fact", "Ground", "Remembered", "View", "forget", "remembered"]

_GAMES = 256
_VIEWS = 500
_UNREAD = frozenset({"checked", "examined", "wasinreceptacle", "ison"})
"""Predicates of the (hash-checked) domain that no precondition, goal or text reads: they tell no two futures apart."""


@dataclass(frozen=True)
class Fact:
    """What an effect makes true, what it makes untrue, and what each adds to the name of the hidden state."""

    truth: Proposition
    untruth: Proposition
    truth_number: int
    untruth_number: int


@dataclass(frozen=True)
class Ground:
    """One ground operator, how the agent says it, and the rule that tells what came of it."""

    id: int
    name: str
    effects: int
    command: str
    feedback_rule: str
    mapping: Mapping[Any, Variable]


@dataclass(frozen=True)
class View:
    """What can be done in one hidden state: commands in order, and the operator that each stands for."""

    commands: tuple[str, ...]
    operators: Mapping[str, Ground]


@dataclass
class Remembered:
    """One game: translation, names, and what has been seen of it so far."""

    logic: GameLogic
    reader: Reader
    domain: str
    problem: str
    sas: bytes
    actions: Mapping[str, Any]
    """The translator's action by name; the engine reads its parameters."""
    types: Mapping[str, str]
    """Type of each object."""
    facts: frozenset[Proposition]
    """What the problem says of the start, and what an engine says of it once one has been there (`began`)."""
    entities: Mapping[str, EntityInfo]
    """Every object as texts name it."""
    shared: frozenset[str]
    """Receptacles whose place is also another one's: there a text reads what is *not* in a receptacle."""
    id: str
    operators: dict[int, Ground] = field(default_factory=dict)
    commands: dict[Hashable, str] = field(default_factory=dict)
    atoms: dict[bytes, Fact] = field(default_factory=dict)
    views: dict[int, View] = field(default_factory=dict)
    began: bool = False
    planner_sas: bytes | None = None

    def number(self, fact: Proposition) -> int:
        """Return 128 bits that stand for a fact, 0 for one that no future depends on."""
        positive = fact.name.removeprefix("not_")
        if positive in _UNREAD:
            return 0
        if positive != fact.name and not (positive == "inreceptacle" and fact.arguments[1].name in self.shared):
            return 0
        text = f"{fact.name}({','.join(argument.name for argument in fact.arguments)})"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())

    def fact(self, name: bytes) -> Fact:
        """Return an effect of the engine as a fact."""
        if name not in self.atoms:
            kind, rest = name.decode("cp1252").split(" ", 1)
            predicate, arguments = rest[:-1].split("(", 1)
            variables = [Variable(x, self.types[x]) for x in arguments.split(", ") if x]
            truth = Proposition("not_" * (kind == "NegatedAtom") + predicate, variables)
            untruth = truth.negate()
            self.atoms[name] = Fact(truth, untruth, self.number(truth), self.number(untruth))
        return self.atoms[name]

    def command(self, template: str, mapping: Mapping[Any, Variable], say: Any) -> str:
        """Return the command of a ground operator; `say()` makes it unless one with the same words is known.

        The words depend on the variables that the template mentions and on facts that never change.
        """
        mentioned = set(re.findall(r"\w+", template))
        bound = [(p.name, variable.name) for p, variable in mapping.items() if p.name in mentioned]
        key = (template, tuple(sorted(bound)))
        if key not in self.commands:
            self.commands[key] = say()
        return self.commands[key]

    def trim(self) -> None:
        """Forget the views when there are too many; they are made again when needed."""
        if len(self.views) > _VIEWS:
            self.views.clear()


_LOGICS: dict[tuple[str, str], tuple[GameLogic, Reader]] = {}
_REMEMBERED: OrderedDict[Hashable, Remembered] = OrderedDict()


def forget() -> None:
    """Forget every game (for tests and measurements of a cold start)."""
    _REMEMBERED.clear()
    _LOGICS.clear()


def _logic_of(domain: str, grammar: str) -> tuple[GameLogic, Reader]:
    """Return the parsed grammar; parsing takes 0.1 s, so it is done once for each text."""
    key = digest(domain), digest(grammar)
    if key not in _LOGICS:
        if len(_LOGICS) >= _GAMES:
            _LOGICS.clear()
        logic = GameLogic(domain=domain, grammar=grammar)
        _LOGICS[key] = logic, Reader(logic.grammar)
    return _LOGICS[key]


def _key_of(domain: str, grammar: str, problem: str) -> Hashable:
    """Return what tells games apart: all that their words and their rules come from."""
    return digest(domain), digest(grammar), digest(problem)


def remembered(domain: str, grammar: str, problem: str) -> Remembered:
    """Return what is known of a game, translating it on first sight; the least lately used of many is forgotten."""
    key = _key_of(domain, grammar, problem)
    if key not in _REMEMBERED:
        _REMEMBERED[key] = _translated(*_logic_of(domain, grammar), domain, problem)
        if len(_REMEMBERED) > _GAMES:
            _REMEMBERED.popitem(last=False)
    _REMEMBERED.move_to_end(key)
    return _REMEMBERED[key]


def _translated(logic: GameLogic, reader: Reader, domain: str, problem: str) -> Remembered:
    translate: Any = fast_downward.pddl2sas  # annotated as returning text, returns the parsed task too
    with saved_argv():
        task, sas = translate(domain, problem)
    for kind in task.types:
        if kind.name not in {known.name for known in logic.types}:
            logic.types.add(Type(kind.name, kind.supertype_names))
    types = {thing.name: thing.type_name for thing in task.objects}
    facts = frozenset(
        Proposition(atom.predicate, [Variable(name, types[name]) for name in atom.args])
        for atom in task.init
        if getattr(atom, "predicate", "=") != "="
    )
    places = {f.arguments[0].name: f.arguments[1].name for f in facts if f.name == "receptacleatlocation"}
    crowd = Counter(places.values())
    return Remembered(
        logic=logic,
        reader=reader,
        domain=domain,
        problem=problem,
        sas=sas.encode(),
        actions={action.name: action for action in task.actions},
        types=types,
        facts=facts,
        entities=_named(types),
        shared=frozenset(name for name, place in places.items() if crowd[place] > 1),
        id=digest(problem),
    )


def _named(types: Mapping[str, str]) -> dict[str, EntityInfo]:
    """Return every object's description under the name that ALFWorld shows for its mangled id."""
    modules()
    from alfworld.agents.utils.misc import Demangler

    entities: dict[str, Any] = {name: EntityInfo(name, kind) for name, kind in types.items()}
    demangler = Demangler(game_infos=entities)
    for info in entities.values():
        info.name = demangler.demangle_alfred_name(info.id)
        info.definite, info.indefinite = "the", "a"
    return entities
