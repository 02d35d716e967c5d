"""Generated games against a household of our own: what is wanted can be had, and every word is right."""

from __future__ import annotations

import functools
import json
import pickle
import re
from collections import Counter
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from household import House, facts, goal_words, numbered

from creditsim.errors import InputError
from llm_bridge.envs.alfworld import instances
from llm_bridge.envs.alfworld.domain import TASK_TYPES, source
from llm_bridge.envs.alfworld.engine import AlfworldEnv
from llm_bridge.envs.alfworld.games import SPLITS
from llm_bridge.envs.alfworld.instances import Game, Size, generate
from llm_bridge.envs.alfworld.layout import class_of, mangled
from llm_bridge.envs.alfworld.tasks import AlfworldTasks
from llm_bridge.envs.base import Outcome, make_tasks

SMALL = {"receptacles": 9, "objects": 9, "train": 2, "valid": 1}
TASKS = cast(AlfworldTasks, make_tasks("alfworld", seed=11, **SMALL))
PLAYED = tuple(task for ids in TASKS.splits().values() for task in ids if task.startswith(("train", "valid_unseen")))
SIZES = (Size(), Size(receptacles=8, objects=6, copies=1), Size(receptacles=5, objects=4, copies=1, closed=False))


def made(seeds: range, sizes: tuple[Size, ...] = SIZES) -> list[tuple[str, Size, Game]]:
    """Games of all types and splits, one for each seed and size."""
    return [
        (split, size, generate(seed, split, kind, seed % 3, size))
        for seed in seeds
        for split in SPLITS
        for kind in TASK_TYPES
        for size in sizes
    ]


@pytest.fixture(scope="module")
def games() -> list[tuple[str, Size, Game]]:
    return made(range(5))


def house(game: Game) -> House:
    return House(game.problem, game.kind, game.sentence)


def wins_by_the_book(game: Game) -> bool:
    """Whether the plain way wins in our household, with every command one that is listed there."""
    home = house(game)
    if home.won():
        return False
    for command in home.solution():
        if home.won() or command not in home.commands():
            return False
        home.step(command)
    return home.won()


# --- games as texts ---------------------------------------------------------------------------------------------------


def test_every_game_is_won_without_a_search(games: list[tuple[str, Size, Game]]) -> None:
    assert len(games) == 270
    assert [game.id for _, _, game in games if not wins_by_the_book(game)] == []


def _lies_in_its_target(game: Game) -> str:
    home = house(game)
    thing, target = goal_words(game.problem)[:2]
    there = next(place for place in sorted(home.spot) if home.type[place] == target)
    mine = [i for i in home.lies if home.type[i] == thing]
    text = game.problem
    for i in mine:
        text = text.replace(f"(inReceptacle {i} {home.lies[i]})", f"(inReceptacle {i} {there})")
    return text


def _gone(game: Game) -> str:
    return re.sub(rf"\(inReceptacle {goal_words(game.problem)[0]}_bar\S+ \S+\)", "", game.problem)


def _unfit(game: Game) -> str:
    return game.problem.replace(f"(canContain {goal_words(game.problem)[1]}Type", "(canContain NoType")


BROKEN: dict[str, Callable[[Game], str]] = {
    "what is wanted lies where it belongs": _lies_in_its_target,
    "what is wanted is not there": _gone,
    "nothing fits the target": _unfit,
    "nothing can be carried": lambda g: g.problem.replace("(pickupable", "(unpickupable"),
    "no microwave": lambda g: g.problem.replace("Microwave_bar", "Toaster_bar"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_game_is_not_won(name: str) -> None:
    game = generate(0, "train", "pick_heat_then_place_in_recep", 0, Size())
    assert wins_by_the_book(game)
    broken = Game(game.id, game.kind, game.sentence, BROKEN[name](game))
    assert broken.problem != game.problem
    try:
        won = wins_by_the_book(broken)
    except (StopIteration, IndexError, KeyError):
        won = False
    assert not won


def test_goals_are_well_formed(games: list[tuple[str, Size, Game]]) -> None:
    package = source()
    arity = {
        name.lower(): len(re.findall(r"\?", rest))
        for name, rest in re.findall(r"\((\w+)((?: \?\w+ - \w+)+)\)", package.domain.split("(:predicates")[1])
    }
    for _, _, game in games[::2]:
        text = re.sub(r"\s+", " ", game.problem)
        assert text.count("(") == text.count(")"), game.id
        depth = np.cumsum([1 if c == "(" else -1 for c in text if c in "()"])
        assert depth[-1] == 0 and (depth[:-1] > 0).all(), "the outer bracket closes once, at the end"
        assert "{" not in text and "#" not in text and "UNKNOWN" not in game.sentence
        goal = text[text.index("(:goal") :]
        for name in re.findall(r"\((\w+) \?", goal):
            assert name == "exists" or name.lower() in arity, name
        declared = set(re.findall(r"(\w+) - [or]type", text))
        assert {f"{kind}Type" for kind in goal_words(game.problem)} <= declared
        patterns = [re.sub(r"{\w+}", "[a-z]+", form) for form in package.goals[game.kind]["templates"]]
        assert any(re.fullmatch(pattern, game.sentence) for pattern in patterns), game.sentence
        assert all(kind.lower() in game.sentence for kind in goal_words(game.problem)[:2])


def test_facts_hold_together(games: list[tuple[str, Size, Game]]) -> None:
    constants = source().constants
    for _, size, game in games:
        home, known = house(game), facts(game.problem)
        assert len(set(known)) == len(known)
        objects = [i for i in home.type if i not in home.spot]
        assert len(home.spot) <= size.receptacles and len(set(home.spot.values())) == len(home.spot)
        wanted = 2 if game.kind == "pick_two_obj_and_place" else 1
        assert len(objects) <= max(size.objects, wanted + 2) and set(home.lies) == set(objects)
        for thing, place in home.lies.items():
            assert home.left[thing] == home.spot[place]
            assert (home.type[place], home.type[thing]) in home.fits
        assert all(("openable", p) in home.can for p in home.spot if home.type[p] in constants.OPENABLE_CLASS_SET)
        copies = Counter(home.type[i] for i in objects)
        assert max(copies.values()) <= max(size.copies, wanted)
        if not size.closed:
            thing, target = goal_words(game.problem)[-1 if "light" in game.kind else 0], goal_words(game.problem)[1]
            places = {home.type[home.lies[i]] for i in objects if home.type[i] == thing}
            assert target not in constants.OPENABLE_CLASS_SET and not places & constants.OPENABLE_CLASS_SET


@functools.cache
def _furniture() -> dict[int, set[str]]:
    """Ids of the furniture of each of the package's rooms, read off its own files."""
    files = source().layouts.glob("FloorPlan*-openable.json")
    return {int(re.findall(r"\d+", f.name)[0]): {mangled(name) for name in json.loads(f.read_text())} for f in files}


def _rooms_of(game: Game) -> set[int]:
    """Numbers of the rooms that have at least two pieces of a game's furniture in the very same places."""
    spots = set(house(game).spot)
    return {n for n, here in _furniture().items() if len(here & spots) >= 2}


def test_unseen_rooms_are_the_packages_test_rooms(games: list[tuple[str, Size, Game]]) -> None:
    test = set(source().constants.TEST_SCENE_NUMBERS)
    found = {split: set[int]() for split in SPLITS}
    for split, _, game in games:
        if rooms := _rooms_of(game):
            # Furniture of one room may stand in the very same places of another: one of them is the game's.
            assert rooms & test if split == "valid_unseen" else rooms - test
            found[split] |= rooms
    assert len(found["valid_unseen"] & test) > 5 and len(found["train"] - test) > 10


def test_rooms_of_the_wrong_split_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    train = instances.rooms("train")
    monkeypatch.setattr(instances, "rooms", lambda split: train)
    test = set(source().constants.TEST_SCENE_NUMBERS)
    rooms = [_rooms_of(generate(seed, "valid_unseen", "pick_two_obj_and_place", 0, Size())) for seed in range(4)]
    assert any(found and not found & test for found in rooms)


def test_names_are_the_packages_own(games: list[tuple[str, Size, Game]]) -> None:
    """Ids become names as `Demangler` makes them; the engine has lower-cased them by then."""
    from alfworld.agents.utils.misc import Demangler
    from textworld.generator.game import EntityInfo

    for _, _, game in games[::9]:
        home = house(game)
        ids = [i.lower() for i in home.name]
        demangler = Demangler(game_infos={i: EntityInfo(i, "object") for i in ids})
        assert {i: demangler.demangle_alfred_name(i) for i in ids} == {i.lower(): n for i, n in home.name.items()}
        assert len(set(home.name.values())) == len(home.name)
        assert all(re.fullmatch(r"[a-z]+ [1-9]\d*", name) for name in home.name.values())


def test_numbers_that_rise_with_the_id_are_seen() -> None:
    ids = [f"Mug_bar_{x}" for x in "abc"]
    assert numbered(ids) == {"Mug_bar_a": "mug 3", "Mug_bar_b": "mug 2", "Mug_bar_c": "mug 1"}
    assert numbered(["Sink_bar_x_bar_SinkBasin"]) == {"Sink_bar_x_bar_SinkBasin": "sinkbasin 1"}
    assert class_of("Sink|+00.1|SinkBasin") == "SinkBasin" and class_of("Mug|+00.1") == "Mug"


# --- games as they are played -----------------------------------------------------------------------------------------


def told(env: AlfworldEnv, home: House, command: str) -> Outcome:
    """One command in both; everything that is shown is what the household says."""
    words = home.step(command)
    outcome = env.step(command)
    assert outcome.observation.text == words, command
    assert list(outcome.observation.admissible) == home.commands(), command
    assert outcome.won == home.won() == outcome.done
    assert (outcome.reward, outcome.score) == (float(outcome.won), float(outcome.won))
    return outcome


@pytest.mark.parametrize("task", PLAYED)
def test_the_plain_way_wins_in_the_engine_word_by_word(task: str) -> None:
    env, game = AlfworldEnv(TASKS.game), TASKS.game(task)
    home = house(game)
    seen = env.reset(task)
    assert (seen.text, seen.anchor, list(seen.admissible)) == (home.intro(), home.intro(), home.commands())
    assert seen.task == f"{game.sentence}." and TASKS.kind(task) == game.kind
    *before, last = home.solution()
    for command in before:
        assert not told(env, home, command).done
    assert told(env, home, last).won
    env.close()


@pytest.mark.parametrize("task", PLAYED[::3])
def test_whatever_is_done_both_say_the_same(task: str) -> None:
    """Walks of chance: every kind of command, commands that mean nothing, and what was done before they began."""
    rng = np.random.default_rng(len(task))
    env, home = AlfworldEnv(TASKS.game), house(TASKS.game(task))
    env.reset(task)
    met = Counter[str]()
    for _ in range(120):
        listed = home.commands()
        near = [command for command in listed if command.split()[0] not in ("go", "look", "inventory", "close")]
        pool = near if near and rng.random() < 0.7 else [*listed, "take moon 1 from sky 1", ""]
        command = str(rng.choice(pool))
        met[command.split(" ")[0]] += 1
        if told(env, home, command).done:
            break
    assert len(met) >= 4
    env.close()


@pytest.mark.parametrize(
    "fault",
    [
        lambda home: home.opened.update(home.spot),
        lambda home: home.lies.update({i: home.at for i in list(home.lies)[:3]}),
        lambda home: home.name.update({i: n.replace("1", "2") for i, n in home.name.items()}),
        lambda home: home.fits.clear(),
    ],
)
def test_a_household_with_a_fault_is_seen(fault: Callable[[House], object]) -> None:
    task = "train/pick_clean_then_place_in_recep/0"
    env, home = AlfworldEnv(TASKS.game), house(TASKS.game(task))
    env.reset(task)
    commands = home.solution()
    fault(home)
    with pytest.raises((AssertionError, KeyError)):
        for command in commands:
            told(env, home, command)


# --- places and engines -----------------------------------------------------------------------------------------------


def test_a_place_is_plain_and_small_and_goes_through_pickle_and_json() -> None:
    task = PLAYED[0]
    env, home = AlfworldEnv(TASKS.game), house(TASKS.game(task))
    env.reset(task)
    commands = home.solution()
    for i, command in enumerate(commands[:-1]):
        env.step(command)
        place = env.snapshot()
        assert (place.task, place.steps, place.payload) == (task, i + 1, tuple(commands[: i + 1]))
        assert json.loads(json.dumps(place.payload)) == list(place.payload)
        assert len(pickle.dumps(place)) < 2000
        other = AlfworldEnv(TASKS.game)
        seen = other.restore(pickle.loads(pickle.dumps(place)))  # noqa: S301
        assert seen == env.restore(place)
        rest = [other.step(each) for each in commands[i + 1 :]]
        assert rest[-1].won


def test_nonsense_and_blanks_are_part_of_a_place() -> None:
    """A command that did nothing is replayed as nothing; the count of steps keeps it."""
    task = PLAYED[1]
    env = AlfworldEnv(TASKS.game)
    env.reset(task)
    said = ["", "  look ", "<b>go</b>", "看", "take \x00", "go to " * 50]
    for text in said:
        outcome = env.step(text)
        assert outcome.admissible == (text == "  look ")
        assert outcome.admissible or outcome.observation.text == "Nothing happens."
    place = env.snapshot()
    assert place.steps == len(said)
    assert AlfworldEnv(TASKS.game).restore(place).text == "Nothing happens."


def test_engines_of_one_process_take_turns_without_meeting() -> None:
    """Three games and two environments on one of them, one command each in turn: as each alone."""
    tasks = [PLAYED[0], PLAYED[3], PLAYED[5], PLAYED[0]]
    ways = [house(TASKS.game(task)).solution() for task in tasks]
    ways[3] = ["look", "inventory", *ways[3]]
    alone = []
    for task, way in zip(tasks, ways, strict=True):
        env = AlfworldEnv(TASKS.game)
        alone.append([env.reset(task), *(env.step(command) for command in way)])
        env.close()
    envs = [AlfworldEnv(TASKS.game) for _ in tasks]
    together: list[list[object]] = [[env.reset(task)] for env, task in zip(envs, tasks, strict=True)]
    for turn in range(max(map(len, ways))):
        for env, way, seen in zip(envs, ways, together, strict=True):
            if turn < len(way):
                seen.append(env.step(way[turn]))
    assert together == alone


def test_one_engine_shared_by_two_games_would_be_seen() -> None:
    """The twin: both environments on one engine, which the second reset takes from the first."""
    first, second = AlfworldEnv(TASKS.game), AlfworldEnv(TASKS.game)
    first.reset(PLAYED[0])
    second._engine = first._engine
    second.reset(PLAYED[3])
    way = house(TASKS.game(PLAYED[0])).solution()
    assert not all(first.step(command).admissible for command in way)


def test_before_an_episode_and_after_it_nothing_can_be_done() -> None:
    env = AlfworldEnv(TASKS.game)
    for call in (lambda: env.step("look"), env.snapshot):
        with pytest.raises(InputError, match="episode"):
            call()
    env.reset(PLAYED[0])
    for command in house(TASKS.game(PLAYED[0])).solution():
        env.step(command)
    assert env.oracle() == []
    with pytest.raises(InputError, match="after the end"):
        env.step("look")
    env.close()
    env.close()
