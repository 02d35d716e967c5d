"""A household of our own, slow and plain: what the package's rules and grammar say, read off a game's problem text.

It shares nothing with the engine or the generator: facts are found with a regular expression, names are counted anew,
rules are those of the domain file in Python, words those of the grammar file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NOTHING = "Nothing happens."
_FACT = re.compile(r"\((\w+)((?: \w+)+)\)")
_APPLIANCE = {"clean": ("cleanable", "sinkbasin"), "heat": ("heatable", "microwave"), "cool": ("coolable", "fridge")}


def facts(problem: str) -> list[tuple[str, ...]]:
    """The facts of the start as tuples of words, as they are written."""
    start = problem[problem.index("(:init") : problem.index("(:goal")]
    return [(name, *rest.split()) for name, rest in _FACT.findall(start)]


def goal_words(problem: str) -> list[str]:
    """Types that the goal asks for, in the order of its text, without `Type`."""
    goal = problem[problem.index("(:goal") :]
    return re.findall(r"\((?:objectType|receptacleType) \?\w+ (\w+)Type\)", goal)


def numbered(ids: Sequence[str]) -> dict[str, str]:
    """Names as an agent reads them: the class, a basin told by its own name, and a number that falls with the id."""
    kinds = {i: i.lower().split("_bar_")[0] + ("basin" if "basin" in i.lower() else "") for i in ids}
    left = Counter(kinds.values())
    out = {}
    for i in sorted(ids, key=str.lower):
        out[i] = f"{kinds[i]} {left[kinds[i]]}"
        left[kinds[i]] -= 1
    return out


@dataclass
class House:
    """One game under way."""

    problem: str
    kind: str
    sentence: str
    at: str = ""
    """Id of the receptacle that the agent stands at; empty: the middle of the room."""
    held: str = ""
    opened: set[str] = field(default_factory=set)
    done: dict[str, set[str]] = field(default_factory=dict)
    """What has been done to each object: clean, heat, cool, slice, use."""

    def __post_init__(self) -> None:
        self.known = facts(self.problem)
        self.type = {f[1]: f[2].removesuffix("Type") for f in self.known if f[0] in ("objectType", "receptacleType")}
        self.spot = {f[1]: f[2] for f in self.known if f[0] == "receptacleAtLocation"}
        self.lies = {f[1]: f[2] for f in self.known if f[0] == "inReceptacle"}
        self.left = {f[1]: f[2] for f in self.known if f[0] == "objectAtLocation"}
        self.fits = {(f[1].removesuffix("Type"), f[2].removesuffix("Type")) for f in self.known if f[0] == "canContain"}
        self.can = {(f[0], f[1]) for f in self.known if len(f) == 2}
        things = [i for i in self.type if i not in self.spot]
        self.name = numbered([*self.spot, *things])

    # --- what can be seen --------------------------------------------------------------------------------------------

    def shut(self, place: str) -> bool:
        return ("openable", place) in self.can and place not in self.opened

    def inside(self, place: str) -> list[str]:
        return sorted((thing for thing, where in self.lies.items() if where == place), key=str.lower)

    def listed(self, ids: Sequence[str]) -> str:
        names = [f"a {self.name[i]}" for i in ids]
        if not names:
            return "nothing"
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"

    def looks(self, place: str) -> str:
        if self.shut(place):
            return f"The {self.name[place]} is closed."
        if ("openable", place) in self.can:
            return f"The {self.name[place]} is open. In it, you see {self.listed(self.inside(place))}."
        return f"On the {self.name[place]}, you see {self.listed(self.inside(place))}."

    def intro(self) -> str:
        places = self.listed(sorted(self.spot, key=str.lower))
        return (
            "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, "
            f"you see {places}.\n\nYour task is to: {self.sentence}."
        )

    # --- what can be done ---------------------------------------------------------------------------------------------

    def commands(self) -> list[str]:
        return sorted({*self._everywhere(), *(self._here() if self.at else ())})

    def _everywhere(self) -> Iterator[str]:
        yield from ("look", "inventory")
        yield from (f"go to {self.name[place]}" for place in self.spot if place != self.at)
        if self.held:
            yield f"examine {self.name[self.held]}"

    def _here(self) -> Iterator[str]:
        place, held = self.name[self.at], self.held
        yield f"examine {place}"
        if ("openable", self.at) in self.can:
            yield f"open {place}" if self.shut(self.at) else f"close {place}"
        # Only what is held can be examined: the rule for what lies in sight never applies in the package's translation.
        for thing in self.inside(self.at):
            if not self.shut(self.at) and not held and ("pickupable", thing) in self.can:
                yield f"take {self.name[thing]} from {place}"
            if ("toggleable", thing) in self.can:
                yield f"use {self.name[thing]}"
            if held and self.type[held] in ("Knife", "ButterKnife") and ("sliceable", thing) in self.can:
                yield f"slice {self.name[thing]} with {self.name[held]}"
        if held:
            if not self.shut(self.at) and (self.type[self.at], self.type[held]) in self.fits:
                yield f"move {self.name[held]} to {place}"
            for verb, (ability, appliance) in _APPLIANCE.items():
                if (ability, held) in self.can and place.startswith(f"{appliance} "):
                    yield f"{verb} {self.name[held]} with {place}"

    def step(self, command: str) -> str:
        """Do it, and say what the grammar says."""
        if command not in self.commands():
            return NOTHING
        ids = {name: i for i, name in self.name.items()}
        verb, _, rest = command.partition(" ")
        if verb == "look":
            if not self.at:
                return "You are in the middle of a room. Looking quickly around you, you see nothing."
            return f"You are facing the {self.name[self.at]}. Next to it, you see nothing."
        if verb == "inventory":
            held = f"You are carrying: {self.listed([self.held])}." if self.held else "You are not carrying anything."
            return held
        if verb == "go":
            self.at = ids[rest.removeprefix("to ")]
            return f"You arrive at {self.name[self.at]}. {self.looks(self.at)}"
        if verb == "examine":
            return self.looks(ids[rest]) if ids[rest] in self.spot else self._special(ids[rest])
        if verb in ("open", "close"):
            (self.opened.add if verb == "open" else self.opened.discard)(self.at)
            told = f"You {verb} the {rest}."
            return f"{told} {self.looks(self.at)}" if verb == "open" else told
        thing = ids[re.split(" from | to | with ", rest)[0]]
        if verb == "take":
            self.held = thing
            del self.lies[thing]
            return f"You pick up the {self.name[thing]} from the {self.name[self.at]}."
        if verb == "move":
            self.held, self.lies[thing] = "", self.at
            return f"You move the {self.name[thing]} to the {self.name[self.at]}."
        self.done.setdefault(thing, set()).add(verb)
        self.done[thing] -= {"heat": {"cool"}, "cool": {"heat"}}.get(verb, set())
        if verb == "use":
            return f"You turn on the {self.name[thing]}."
        if verb == "slice":
            return f"You sliced the {self.name[thing]} with the {self.name[self.held]}."
        return f"You {verb} the {self.name[thing]} using the {self.name[self.at]}."

    def _special(self, thing: str) -> str:
        told = self.done.get(thing, set())
        warmth = "hot" if "heat" in told else "cool" if "cool" in told else ""
        words = [*([warmth] if warmth else []), *(["clean"] if "clean" in told else [])]
        if "slice" in told and words:
            return f"This is a {' and '.join(words)} sliced {self.name[thing]}."
        if words == ["cool"]:
            words = ["cold"]
        if words:
            return f"This is a {' and '.join(words)} {self.name[thing]}."
        if ("toggleable", thing) in self.can:
            return f"This {self.name[thing]} is {'on' if 'use' in told else 'off'}."
        if "slice" in told:
            return f"This is a sliced {self.name[thing]}."
        return f"There's nothing special about {self.name[thing]}."

    # --- what is wanted -----------------------------------------------------------------------------------------------

    def won(self) -> bool:
        wanted = goal_words(self.problem)
        if self.kind == "look_at_obj_in_light":
            lamp, thing = wanted
            lit = any(
                self.type[i] == lamp and "use" in self.done.get(i, ()) and self.at == self.lies.get(i)
                for i in self.type
            )
            return lit and self.held != "" and self.type[self.held] == thing
        thing, target = wanted[:2]
        treat = {"clean": "clean", "heat": "heat", "cool": "cool"}.get(self.kind.split("_")[1], "")
        there = Counter(
            where
            for i, where in self.lies.items()
            if self.type[i] == thing and self.type[where] == target and (not treat or treat in self.done.get(i, ()))
        )
        return max(there.values(), default=0) >= (2 if self.kind == "pick_two_obj_and_place" else 1)

    def solution(self) -> list[str]:
        """Commands that win by the way the game is made: fetch, treat, put down. No search."""
        wanted, out, unlocked = goal_words(self.problem), [], set[str]()

        def visit(place: str, enter: bool) -> None:
            if not out or out[-1].split(" ", 2)[-1] != self.name[place] or out[-1].split()[0] != "go":
                out.append(f"go to {self.name[place]}")
            if enter and self.shut(place) and place not in unlocked:
                unlocked.add(place)
                out.append(f"open {self.name[place]}")

        if self.kind == "look_at_obj_in_light":
            lamp = next(i for i in sorted(self.lies) if self.type[i] == wanted[0])
            thing = next(i for i in sorted(self.lies) if self.type[i] == wanted[1])
            visit(self.lies[thing], True)
            out.append(f"take {self.name[thing]} from {self.name[self.lies[thing]]}")
            if self.lies[lamp] != self.lies[thing]:
                visit(self.lies[lamp], False)
            return [*out, f"use {self.name[lamp]}"]
        target = next(place for place in sorted(self.spot) if self.type[place] == wanted[1])
        things = [i for i in sorted(self.lies) if self.type[i] == wanted[0] and self.type[self.lies[i]] != wanted[1]]
        verb = self.kind.split("_")[1]
        for thing in things[: 2 if self.kind == "pick_two_obj_and_place" else 1]:
            visit(self.lies[thing], True)
            out.append(f"take {self.name[thing]} from {self.name[self.lies[thing]]}")
            if verb in _APPLIANCE:
                place = next(i for i in sorted(self.spot) if self.name[i].startswith(f"{_APPLIANCE[verb][1]} "))
                if place != self.lies[thing]:
                    visit(place, False)
                out.append(f"{verb} {self.name[thing]} with {self.name[place]}")
            visit(target, True)
            out.append(f"move {self.name[thing]} to {self.name[target]}")
        return out
