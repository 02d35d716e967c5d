"""Seeded games of the six task types: a room, what lies where, a goal, as the PDDL problem that the engine reads.

Every game is solvable by construction: what is wanted lies in the room outside its target, and the appliance that the
task needs stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from creditsim.errors import InputError
from llm_bridge.envs.alfworld.domain import source
from llm_bridge.envs.alfworld.layout import (
    LAMPS,
    capped,
    class_of,
    contains,
    coordinates,
    holders,
    mangled,
    room,
    rooms,
    shuffled,
)

__all__ = ["Game", "Size", "generate"]

_APPLIANCE = {
    "pick_clean_then_place_in_recep": ("SinkBasin", "Cleanable"),
    "pick_heat_then_place_in_recep": ("Microwave", "Heatable"),
    "pick_cool_then_place_in_recep": ("Fridge", "Coolable"),
}
_ABILITY = {"Cleanable": "cleanable", "Heatable": "heatable", "Coolable": "coolable", "Sliceable": "sliceable"}


@dataclass(frozen=True)
class Game:
    """One game. Domain and grammar are the installed package's; only what differs is held."""

    id: str
    kind: str
    """Task type."""
    sentence: str
    """What the agent is told to do, without the full stop."""
    problem: str
    """PDDL problem."""
    walkthrough: tuple[str, ...] = ()
    """Commands that win from the start; empty where no planner has solved the game yet."""


@dataclass(frozen=True)
class Size:
    """How much there is in a room: most receptacles, most objects, and most copies of a class of objects."""

    receptacles: int = 20
    objects: int = 18
    copies: int = 3
    closed: bool = True
    """Whether what is wanted may lie, or belong, behind a door."""


@dataclass(frozen=True)
class _Goal:
    kind: str
    thing: str
    target: str
    """Class of the receptacle to fill; of the lamp for `look_at_obj_in_light`."""
    copies: int
    needed: Mapping[str, int]
    """Receptacle classes without which the task cannot be done."""


def generate(seed: int, split: str, kind: str, index: int, size: Size) -> Game:
    """Make the game of that name: same arguments, same game, on every platform. Games differ in room and contents.

    Errors: InputError where `size` leaves no room for the task.
    """
    key = f"{seed}/{split}/{kind}/{index}"
    for number in shuffled(key, rooms(split)):
        for goal in _goals(key, number, kind):
            if not size.closed and goal.target in source().constants.OPENABLE_CLASS_SET:
                continue
            places = capped(key, room(number).receptacles, size.receptacles, goal.needed)
            lying = _furnish(key, number, goal, places, size)
            if lying is not None:
                return _game(f"{split}/{kind}/{index}", key, goal, places, lying)
    raise InputError("receptacles", size.receptacles, f"enough for a game of type {kind}")


def _goals(key: str, number: int, kind: str) -> Iterator[_Goal]:
    """Every goal of a type that a room allows, in the key's order."""
    here, constants = room(number), source().constants
    if not any(number in constants.SCENE_TYPE[name] for name in constants.GOALS_VALID[kind]):
        return
    if kind == "look_at_obj_in_light":
        for lamp, thing in shuffled(key, [(lamp, thing) for lamp in here.lamps for thing in here.things]):
            yield _Goal(kind, thing, lamp, 1, {shuffled(key, holders(here.classes, lamp))[0]: 1})
        return
    appliance, ability = _APPLIANCE.get(kind, (None, None))
    able = constants.VAL_ACTION_OBJECTS[ability] if ability else here.things
    if appliance is not None and appliance not in here.classes:
        return
    pairs = [
        (thing, target)
        for thing in here.things
        for target in holders(here.classes, thing)
        if thing in able and target != appliance and len(holders(here.classes, thing)) > 1
    ]
    for thing, target in shuffled(key, pairs):
        needed = {target: 1} | ({appliance: 1} if appliance else {})
        yield _Goal(kind, thing, target, 2 if kind == "pick_two_obj_and_place" else 1, needed)


def _furnish(key: str, number: int, goal: _Goal, places: list[str], size: Size) -> dict[str, str] | None:
    """Receptacle id of every object id; None where what is wanted has nowhere to lie but in its target."""
    here, openable = room(number), source().constants.OPENABLE_CLASS_SET
    lying: dict[str, str] = {}
    ids = count()

    def put(thing: str, spots: list[str]) -> None:
        name = f"{thing}|{'|'.join(coordinates(f'{key}/{next(ids)}'))}"
        lying[name] = shuffled(f"{key}/{name}", spots)[0]

    def spots(thing: str) -> list[str]:
        return [p for p in places if contains(class_of(p), thing)]

    for lamp in here.lamps:
        if spots(lamp):
            put(lamp, spots(lamp))
    if goal.target in LAMPS and not any(name.startswith(goal.target) for name in lying):
        return None
    outside = [p for p in spots(goal.thing) if class_of(p) != goal.target]
    if not size.closed:
        outside = [p for p in outside if class_of(p) not in openable]
    if not outside:
        return None
    for _ in range(goal.copies):
        put(goal.thing, outside)
    present: Counter[str] = Counter()
    candidates = [(thing, copy) for thing in here.things if thing != goal.thing for copy in range(size.copies)]
    for thing, _ in shuffled(key, candidates):
        if len(lying) >= size.objects:
            break
        if spots(thing) and present[thing] < size.copies:
            present[thing] += 1
            put(thing, spots(thing))
    return lying


def _game(name: str, key: str, goal: _Goal, places: list[str], lying: Mapping[str, str]) -> Game:
    text = source().goals[goal.kind]
    fill = {"obj": goal.thing, "recep": goal.target, "toggle": goal.target, "mrecep": ""}
    template = shuffled(key, text["templates"])[0]
    facts = [*_facts_of_places(places), *_facts_of_objects(places, lying)]
    problem = "\n".join(
        [
            "(define (problem game) (:domain alfred) (:objects",
            *_objects(places, lying),
            ") (:init",
            *facts,
            ")",
            text["pddl"].format(**fill).replace("#", "-"),  # closes the definition itself
        ]
    )
    sentence = template.format(**{slot: word.lower() for slot, word in fill.items()})
    return Game(name, goal.kind, sentence, problem)


def _objects(places: list[str], lying: Mapping[str, str]) -> Iterator[str]:
    yield "agent1 - agent"
    yield "location0 - location"
    for i, place in enumerate(places, 1):
        yield f"location{i} - location {mangled(place)} - receptacle"
    for name in lying:
        yield f"{mangled(name)} - object"
    for kind in sorted({class_of(p) for p in places}):
        yield f"{kind}Type - rtype"
    for kind in sorted({class_of(o) for o in lying}):
        yield f"{kind}Type - otype"


def _facts_of_places(places: list[str]) -> Iterator[str]:
    openable = source().constants.OPENABLE_CLASS_SET
    yield "(= (total-cost) 0)"
    yield "(atLocation agent1 location0)"
    for i, place in enumerate(places, 1):
        yield f"(receptacleType {mangled(place)} {class_of(place)}Type)"
        yield f"(receptacleAtLocation {mangled(place)} location{i})"
        if class_of(place) in openable:
            yield f"(openable {mangled(place)})"


def _facts_of_objects(places: list[str], lying: Mapping[str, str]) -> Iterator[str]:
    able = source().constants.VAL_ACTION_OBJECTS
    for receptacle in sorted({class_of(p) for p in places}):
        for thing in sorted({class_of(o) for o in lying}):
            if contains(receptacle, thing):
                yield f"(canContain {receptacle}Type {thing}Type)"
    for name, place in lying.items():
        thing = class_of(name)
        yield f"(objectType {mangled(name)} {thing}Type)"
        yield f"(inReceptacle {mangled(name)} {mangled(place)})"
        yield f"(objectAtLocation {mangled(name)} location{places.index(place) + 1})"
        yield f"({'toggleable' if thing in LAMPS else 'pickupable'} {mangled(name)})"
        for ability, predicate in _ABILITY.items():
            if thing in able[ability]:
                yield f"({predicate} {mangled(name)})"
