"""Names of hidden states: equal exactly where all futures are, checked on whole small games."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from llm_bridge.envs.alfworld import memory
from llm_bridge.envs.alfworld.engine import AlfworldEnv
from llm_bridge.envs.alfworld.instances import Game, Size, generate
from llm_bridge.envs.base import Snapshot

_SMALL = generate(0, "train", "look_at_obj_in_light", 3, Size(receptacles=3, objects=2, copies=1, closed=True))


@dataclass
class Explored:
    """Every state of a game that can be reached without winning, by name."""

    answers: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    """Text and next state by command."""
    ways: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))
    """Ways to get there that end with a deed, the first one apart."""


def explore(game: Game, limit: int = 2000) -> Explored:
    """Search a game breadth first; a win is named "won" whatever led to it."""
    env, found = AlfworldEnv(lambda _: game), Explored()
    start = env.reset(game.id)
    queue: list[tuple[tuple[str, ...], str | None]] = [((), start.state)]
    found.ways[str(start.state)] = [()]
    for way, state in queue:
        assert state is not None and len(queue) < limit
        found.answers[state] = answers = _answers(env, game, way)
        for command, (_, after) in answers.items():
            if after == "won":
                continue
            if after not in found.ways:
                queue.append(((*way, command), after))
            if command.split()[0] not in ("look", "inventory", "examine") or after not in found.ways:
                found.ways[after].append((*way, command))
    env.close()
    return found


def _answers(env: AlfworldEnv, game: Game, way: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """What each command leads to from the place that a way leads to."""
    place = _place(game, way)
    commands = env.restore(place).admissible
    answers = {}
    for command in commands:
        env.restore(place)
        outcome = env.step(command)
        answers[command] = (outcome.observation.text, "won" if outcome.won else str(outcome.observation.state))
    return answers


def _seen(answers: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, bool]]:
    """What an agent sees of the answers."""
    return {command: (text, after == "won") for command, (text, after) in answers.items()}


def _place(game: Game, way: tuple[str, ...]) -> Snapshot:
    return Snapshot(game.id, len(way), way)


def classes(answers: Mapping[str, Mapping[str, tuple[str, str]]]) -> int:
    """Number of states that some command sequence tells apart (partition refinement)."""
    block = dict.fromkeys(answers, 0) | {"won": -1}
    while True:
        sight = {
            state: (block[state], tuple((c, text, block[after]) for c, (text, after) in sorted(told.items())))
            for state, told in answers.items()
        }
        number = {seen: i for i, seen in enumerate(dict.fromkeys(sight.values()))}
        refined = {state: number[seen] for state, seen in sight.items()} | {"won": -1}
        if len(set(refined.values())) == len(set(block.values())):
            return len(set(refined.values()) - {-1})
        block = refined


@pytest.fixture(scope="module")
def whole() -> Explored:
    return explore(_SMALL)


def test_one_name_one_future(whole: Explored) -> None:
    """Whatever led to a state of one name, every command is answered alike and leads to states of one name."""
    env = AlfworldEnv(lambda _: _SMALL)
    twice = [(name, way) for name, ways in whole.ways.items() for way in ways[1:]]
    assert len(twice) > 50
    for name, way in twice:
        assert _answers(env, _SMALL, way) == whole.answers[name]
    env.close()


def test_two_names_two_futures(whole: Explored) -> None:
    assert len(whole.answers) > 20
    assert classes(whole.answers) == len(whole.answers)


def test_broken_name_that_counts_what_nothing_reads(monkeypatch, whole: Explored) -> None:
    monkeypatch.setattr(memory, "_UNREAD", frozenset())
    memory.forget()
    with pytest.raises(AssertionError):  # looking around makes a new state: more names than futures, without end
        finer = explore(_SMALL, limit=4 * len(whole.answers))
        assert classes(finer.answers) == len(finer.answers)
    memory.forget()


def test_broken_name_that_leaves_a_fact_out(monkeypatch, whole: Explored) -> None:
    monkeypatch.setattr(memory, "_UNREAD", memory._UNREAD | {"istoggled"})
    memory.forget()
    coarser = explore(_SMALL)
    memory.forget()
    env = AlfworldEnv(lambda _: _SMALL)
    unlike = [
        name
        for name, ways in coarser.ways.items()
        for way in ways[1:]
        if _seen(_answers(env, _SMALL, way)) != _seen(coarser.answers[name])
    ]
    assert unlike
    memory.forget()


def test_games_have_names_of_their_own() -> None:
    other = generate(0, "train", "look_at_obj_in_light", 4, Size(3, 2, 1))
    env = AlfworldEnv({"a": _SMALL, "b": other}.__getitem__)
    assert str(env.reset("a").state).split(":")[0] != str(env.reset("b").state).split(":")[0]
    env.close()


def test_two_receptacles_in_one_place_make_a_text_depend_on_the_past() -> None:
    """There `look` tells of an object what it has left: the name must remember it, as the engine does."""
    problem = _SMALL.problem.replace("location2)", "location1)").replace("location3)", "location1)")
    game = replace(_SMALL, problem=problem, walkthrough=())
    env = AlfworldEnv(lambda _: game)
    start = env.reset("shared")
    env.step(next(c for c in start.admissible if c.startswith("go to")))
    place = env.snapshot()
    seen: dict[str, dict[str, tuple[str, str]]] = {}
    queue = [tuple(place.payload)]
    for way in queue[:60]:
        env.restore(_place(game, way))
        name, answers = str(env.step("look").observation.state), _answers(env, game, way)
        assert seen.setdefault(name, answers) == answers
        queue += [(*way, c) for c, (_, after) in answers.items() if after not in seen and after != "won"]
    env.close()
