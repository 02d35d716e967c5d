"""Rooms of the installed package, furnished anew from a key: which receptacles stand where, and what lies in them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from llm_bridge.envs.alfworld.domain import Source, source

__all__ = [
    "LAMPS",
    "Room",
    "capped",
    "class_of",
    "contains",
    "coordinates",
    "holders",
    "mangled",
    "room",
    "rooms",
    "shuffled",
]

T = TypeVar("T")

LAMPS = ("DeskLamp", "FloorLamp")
_BASINS = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
_LAMP_STANDS = ("Desk", "SideTable", "Dresser", "DiningTable", "CoffeeTable", "Shelf", "CounterTop")


def shuffled(key: str, items: Iterable[T]) -> list[T]:
    """Return the items in an order that the key decides: by the hash of (key, item), alike on every platform."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{key}/{item}".encode()).digest())


@dataclass(frozen=True)
class Room:
    """A room as the package describes it."""

    number: int
    receptacles: tuple[str, ...]
    """Ids such as `Cabinet|+00.68|+00.50|-02.20`, one per piece of furniture, sorted."""
    things: tuple[str, ...]
    """Classes of what can be carried there, sorted."""
    lamps: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the receptacles, sorted, each once."""
        return tuple(sorted({class_of(name) for name in self.receptacles}))


def class_of(name: str) -> str:
    """Return the class in an id: the basin of a sink is no sink."""
    last = name.rsplit("|", 1)[-1]
    return last if last in _BASINS else name.split("|", 1)[0]


def mangled(name: str) -> str:
    """Spell an id as PDDL can hold it; the engine turns it back into a name and a number."""
    for sign, word in (("|", "_bar_"), ("+", "_plus_"), ("-", "_minus_"), (".", "_dot_"), (",", "_comma_")):
        name = name.replace(sign, word)
    return name


def contains(receptacle: str, thing: str) -> bool:
    """Whether a receptacle class may hold an object class; lamps stand on furniture, which the package does not say."""
    if thing in LAMPS:
        return receptacle in _LAMP_STANDS
    return thing in source().constants.VAL_RECEPTACLE_OBJECTS.get(receptacle, ())


def holders(classes: Iterable[str], thing: str) -> list[str]:
    """Those of the receptacle classes that may hold an object class."""
    return [name for name in classes if contains(name, thing)]


@cache
def rooms(split: str) -> tuple[int, ...]:
    """Numbers of a split's rooms: the package's test rooms for `valid_unseen`, its train rooms for the others."""
    constants = source().constants
    chosen = constants.TEST_SCENE_NUMBERS if split == "valid_unseen" else constants.TRAIN_SCENE_NUMBERS
    return tuple(sorted(chosen))


@cache
def room(number: int) -> Room:
    """Read one room. Receptacles that it lists without a place get one that is derived from the room's number."""
    package = source()
    places = _json(package, f"FloorPlan{number}-openable.json")
    classes = _json(package, f"FloorPlan{number}-objects.json")
    static = set(package.constants.VAL_RECEPTACLE_OBJECTS) - set(package.constants.MOVABLE_RECEPTACLES)
    found = {name for name in places if class_of(name) in static}
    missing = (set(classes) & static) - {class_of(name) for name in found}
    found |= {_placed(number, name) for name in missing}
    present = {class_of(name) for name in found}
    carried = {thing for held in map(package.constants.VAL_RECEPTACLE_OBJECTS.__getitem__, present) for thing in held}
    return Room(
        number,
        tuple(sorted(found)),
        tuple(sorted((carried & set(classes)) - static)),
        tuple(name for name in LAMPS if name in classes and holders(present, name)),
    )


def capped(key: str, names: Sequence[str], limit: int, needed: Mapping[str, int]) -> list[str]:
    """Choose at most `limit` receptacles: the needed classes first, then one of every class, then any others."""
    order = shuffled(key, names)
    rank: Counter[str] = Counter()
    queue = []
    for position, name in enumerate(order):
        kind = class_of(name)
        rank[kind] += 1
        urgency = 0 if rank[kind] <= needed.get(kind, 0) else 1 if rank[kind] == 1 else 2
        queue.append((urgency, position, name))
    return sorted(name for _, _, name in sorted(queue)[:limit])


def _json(package: Source, name: str) -> list[str]:
    return list(json.loads((package.layouts / name).read_text(encoding="utf-8")))


def _placed(number: int, kind: str) -> str:
    spot = "|".join(coordinates(f"{number}/{kind}"))
    return f"{_BASINS[kind]}|{spot}|{kind}" if kind in _BASINS else f"{kind}|{spot}"


def coordinates(key: str) -> list[str]:
    """Three numbers in the form of the package's ids, from a key."""
    raw = hashlib.sha256(key.encode()).digest()
    return [f"{(raw[2 * i] * 256 + raw[2 * i + 1]) % 800 / 100 - 4:+06.2f}" for i in range(3)]
