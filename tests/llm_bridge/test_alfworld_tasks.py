"""Generated games: which there are, that they are what they say, and that the shipped walkthroughs win them."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from alfworld_walks import EASY, FULL, ONE_OF_EACH

from creditsim.errors import CorruptFileError, InputError, UnknownNameError
from llm_bridge.envs.alfworld import instances, layout
from llm_bridge.envs.alfworld.domain import TASK_TYPES, digest, source
from llm_bridge.envs.alfworld.instances import Size, generate
from llm_bridge.envs.alfworld.solve import as_text, play_walkthroughs, solve
from llm_bridge.envs.alfworld.stock import StockEnv
from llm_bridge.envs.alfworld.tasks import walkthroughs
from llm_bridge.envs.base import make_tasks


def _rooms(split: str, kind: str, count: int) -> set[tuple[str, ...]]:
    """Receptacles of games: as good as the room's number."""
    games = [generate(0, split, kind, index, Size(receptacles=60)) for index in range(count)]
    return {tuple(line for line in g.problem.splitlines() if " - receptacle" in line) for g in games}


def test_splits_hold_every_type() -> None:
    splits = FULL.splits()
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 120, "valid_seen": 30, "valid_unseen": 30}
    for ids in splits.values():
        assert {FULL.kind(task) for task in ids} == set(TASK_TYPES)
        assert len(set(ids)) == len(ids)


def test_unseen_rooms_are_not_trained_on_and_seen_rooms_are() -> None:
    kind = "pick_and_place_simple"
    train, seen, unseen = (_rooms(split, kind, 60) for split in ("train", "valid_seen", "valid_unseen"))
    assert not unseen & (train | seen)
    assert train & seen
    assert not set(layout.rooms("valid_unseen")) & set(layout.rooms("train"))
    assert len(layout.rooms("train")) == 96
    assert len(layout.rooms("valid_unseen")) == 24


def test_broken_split_that_draws_from_every_room_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(instances, "rooms", lambda split: (1, 2, 201, 301, 401, 7, 207))
    kind = "pick_and_place_simple"
    assert _rooms("valid_unseen", kind, 20) & _rooms("train", kind, 20)


def test_games_differ_and_are_made_alike_twice() -> None:
    problems = [FULL.game(task).problem for ids in FULL.splits().values() for task in ids]
    assert len(set(problems)) == len(problems) == 180
    assert generate(0, "train", TASK_TYPES[0], 3, Size()) == generate(0, "train", TASK_TYPES[0], 3, Size())
    assert generate(0, "train", TASK_TYPES[0], 3, Size()) != generate(1, "train", TASK_TYPES[0], 3, Size())


def test_another_process_makes_the_same_games() -> None:
    code = (
        "from llm_bridge.envs.base import make_tasks\nfrom llm_bridge.envs.alfworld.domain import digest\n"
        "t = make_tasks('alfworld'); print(digest(''.join(t.game(i).problem for v in t.splits().values() for i in v)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    here = digest("".join(FULL.game(i).problem for v in FULL.splits().values() for i in v))
    assert done.stdout.strip() == here


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_what_is_wanted_lies_elsewhere_and_can_be_had(kind: str) -> None:
    for index in range(10):
        game = generate(0, "train", kind, index, Size())
        words = game.sentence.split()
        assert "{" not in game.problem + game.sentence
        assert "#" not in game.problem
        if kind == "look_at_obj_in_light":
            assert words[-1] in ("desklamp", "floorlamp")
            assert "toggleable" in game.problem
        appliance = {"heat": "MicrowaveType", "cool": "FridgeType", "clean": "SinkBasinType"}.get(kind.split("_")[1])
        assert appliance is None or f" {appliance})" in game.problem
        facts = [line for line in game.problem.splitlines() if line.startswith("(inReceptacle")]
        assert 3 <= len(facts) <= 18


def test_easy_games_are_small_and_short() -> None:
    for ids in EASY.splits().values():
        for task in ids:
            game = EASY.game(task)
            assert game.problem.count("\n(receptacleAtLocation") <= 4
            assert game.problem.count("\n(inReceptacle") <= 3
            assert 2 < len(game.walkthrough) <= 5


@pytest.mark.parametrize("tasks", [FULL, EASY], ids=["default", "easy"])
def test_every_shipped_game_has_its_walkthrough(tasks) -> None:
    missing = [task for ids in tasks.splits().values() for task in ids if not tasks.game(task).walkthrough]
    assert missing == []


def test_no_walkthrough_is_shipped_for_a_game_that_is_not() -> None:
    games = [t.game(task) for t in (FULL, EASY) for ids in t.splits().values() for task in ids]
    assert set(walkthroughs()) == {digest(game.problem) for game in games}


@pytest.mark.slow
def test_walkthroughs_win_here_and_in_the_stock_environment() -> None:
    played = list(play_walkthroughs(FULL, ONE_OF_EACH, stock=True))
    assert [p.task for p in played] == list(ONE_OF_EACH)
    assert all(p.won and p.won_stock for p in played)
    assert all(2 < p.steps <= FULL.max_steps for p in played)


def test_broken_walkthrough_loses_in_both(monkeypatch) -> None:
    task = "valid_unseen/look_at_obj_in_light/0"
    game = EASY.game(task)
    assert not StockEnv(game).wins(game.walkthrough[:-1])
    assert not StockEnv(game).wins((*game.walkthrough[1:], game.walkthrough[0]))
    plans = {digest(game.problem): game.walkthrough[1:]}
    monkeypatch.setattr("llm_bridge.envs.alfworld.tasks.walkthroughs", lambda _: plans)
    (played,) = play_walkthroughs(EASY, [task])
    assert not played.won


def test_plans_of_a_file_are_used(tmp_path) -> None:
    here = make_tasks("alfworld@easy", seed=5)
    task = here.splits()["train"][0]
    (found,) = solve(here, [task])  # type: ignore[arg-type]
    path = tmp_path / "plans.json"
    path.write_text(as_text(dict([found])))
    env = make_tasks("alfworld@easy", seed=5, plans=str(path)).make()
    env.reset(task)
    assert tuple(env.oracle()) == found[1]
    for name, text in {"list": "[1]", "half": "{", "number": '{"a": 1}'}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(CorruptFileError, match=f"plans: got .*{name}"):
            make_tasks("alfworld@easy", plans=str(tmp_path / name))


def test_tasks_are_small_to_send() -> None:
    assert pickle.loads(pickle.dumps(FULL)) == FULL  # noqa: S301
    assert len(pickle.dumps(FULL)) < 20_000


def test_names_that_are_not() -> None:
    with pytest.raises(UnknownNameError, match="nearest: pick_and_place_simple"):
        make_tasks("alfworld", kinds="pick_and_place")
    with pytest.raises(UnknownNameError, match="task"):
        FULL.kind("train/pick_and_place_simple/x")
    with pytest.raises(InputError, match="receptacles"):
        make_tasks("alfworld", receptacles=1)
    with pytest.raises(InputError, match="games: got none"):
        make_tasks("alfworld", train=0, valid=0)
    with pytest.raises(InputError, match="preset"):
        make_tasks("alfworld@hard")


def test_kinds_and_counts_are_chosen() -> None:
    tasks = make_tasks("alfworld", kinds="pick_heat_then_place_in_recep, look_at_obj_in_light", train=2, valid=0)
    assert list(tasks.splits()) == ["train"]
    assert len(tasks.splits()["train"]) == 4


def test_a_room_is_capped_and_keeps_what_is_needed() -> None:
    room = layout.room(1)
    few = layout.capped("key", room.receptacles, 3, {"Fridge": 1, "Microwave": 1})
    assert {layout.class_of(name) for name in few} >= {"Fridge", "Microwave"}
    assert len(few) == 3
    every = layout.capped("key", room.receptacles, 99, {})
    assert sorted(room.receptacles) == every


def test_mangled_ids_come_back_as_names() -> None:
    assert layout.mangled("Sink|-01.90|+00.97|-01.50|SinkBasin") == (
        "Sink_bar__minus_01_dot_90_bar__plus_00_dot_97_bar__minus_01_dot_50_bar_SinkBasin"
    )
    assert layout.class_of("Sink|-01.90|+00.97|-01.50|SinkBasin") == "SinkBasin"
    start = FULL.make().reset("valid_unseen/pick_clean_then_place_in_recep/0").text
    assert "sinkbasin 1" in start


def test_tables_are_the_packages_own() -> None:
    table = source().constants.VAL_RECEPTACLE_OBJECTS
    assert layout.contains("Fridge", "Apple") == ("Apple" in table["Fridge"])
    assert not layout.contains("CoffeeMachine", "Apple")
    assert layout.contains("Desk", "DeskLamp")
