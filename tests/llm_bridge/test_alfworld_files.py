"""Downloaded games, and installed packages that are not the known one: what plays, is left out, is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from alfworld_walks import EASY

from creditsim.errors import CorruptFileError, ExtraMissingError, InputError, UnknownNameError
from llm_bridge.envs.alfworld import domain
from llm_bridge.envs.alfworld.domain import UNKNOWN_GOAL, source
from llm_bridge.envs.base import make_tasks

TASK = "valid_seen/look_at_obj_in_light/1"


def write(folder: Path, *, kind: Any = "look_at_obj_in_light", **changes: Any) -> Path:
    """Store a game as alfworld does; a change to None leaves the field out."""
    game, package = EASY.game(TASK), source()
    fields = {
        "pddl_domain": package.domain,
        "grammar": package.grammar.replace(UNKNOWN_GOAL, game.sentence),
        "pddl_problem": game.problem,
        "solvable": True,
        "walkthrough": list(game.walkthrough),
    } | changes
    folder.mkdir(parents=True)
    path = folder / "game.tw-pddl"
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    (folder / "traj_data.json").write_text(json.dumps({"task_type": kind}))
    return path


def open_folder(folder: Path, **options: Any):
    return make_tasks("alfworld", games=str(folder), **options)


def test_a_stored_game_plays_as_the_generated_one(tmp_path: Path) -> None:
    write(tmp_path / "valid_seen" / "look-Book" / "trial_1")
    tasks = open_folder(tmp_path)
    assert dict(tasks.splits()) == {"valid_seen": ("valid_seen/look-Book/trial_1",)}
    stored, made = tasks.make(), EASY.make()
    (task,) = tasks.splits()["valid_seen"]
    assert tasks.kind(task) == "look_at_obj_in_light"
    assert stored.reset(task) == made.reset(TASK)
    for command in stored.oracle():
        assert stored.step(command) == made.step(command)


def test_splits_are_the_folders_of_that_name(tmp_path: Path) -> None:
    for place in ("json/train/a/t1", "json/valid_unseen/b/t2", "json/valid_seen/c/t3"):
        write(tmp_path / place)
    assert list(open_folder(tmp_path).splits()) == ["train", "valid_seen", "valid_unseen"]
    inside = open_folder(tmp_path / "json" / "valid_unseen")
    assert dict(inside.splits()) == {"valid_unseen": ("valid_unseen/b/t2",)}
    write(tmp_path / "elsewhere" / "t4")
    assert dict(open_folder(tmp_path / "elsewhere").splits()) == {"train": ("train/t4",)}


def test_two_games_of_one_name_are_told_and_none_is_lost(tmp_path: Path) -> None:
    for place in ("old/train/a", "new/train/a"):
        write(tmp_path / place)
    with pytest.raises(InputError, match="games: got train/a below two folders"):
        open_folder(tmp_path)
    assert list(open_folder(tmp_path / "old").splits()["train"]) == ["train/a"]


def test_what_alfworld_leaves_out_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "good" / "t")
    write(tmp_path / "unsolved" / "t", solvable=False)
    write(tmp_path / "pick-movable-x" / "t")
    write(tmp_path / "pick-AppleSliced" / "t")
    assert dict(open_folder(tmp_path).splits()) == {"train": ("train/good/t",)}


def test_no_games_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no game\.tw-pddl"):
        open_folder(tmp_path)
    write(tmp_path / "a", solvable=False)
    with pytest.raises(InputError, match="1 games, none marked solvable"):
        open_folder(tmp_path)
    with pytest.raises(InputError, match="a folder with"):
        open_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("field", ["pddl_domain", "grammar", "pddl_problem", "solvable"])
def test_a_missing_field_is_named_with_its_file(tmp_path: Path, field: str) -> None:
    path = write(tmp_path / "t", **{field: None})
    with pytest.raises(InputError, match=f"{path} field {field}: got nothing"):
        open_folder(tmp_path)


def test_an_unknown_task_type_is_named_with_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t", kind="pick_heat_then_place")
    with pytest.raises(UnknownNameError) as raised:
        open_folder(tmp_path)
    line = str(raised.value)
    assert "\n" not in line
    assert str(path.parent / "traj_data.json") in line
    assert line.endswith("nearest: pick_heat_then_place_in_recep")


def test_files_that_are_no_games(tmp_path: Path) -> None:
    path = write(tmp_path / "t")
    for text in ("{", "[]", "\x00"):
        path.write_text(text)
        with pytest.raises(CorruptFileError, match=r"game\.tw-pddl"):
            open_folder(tmp_path)
    (path.parent / "traj_data.json").unlink()
    with pytest.raises(InputError, match="no such file"):
        open_folder(tmp_path)


def test_another_version_is_refused_or_retold(tmp_path: Path) -> None:
    old = source().grammar.replace("move {o} to {r}", "put {o} in/on {r}").replace(UNKNOWN_GOAL, "look at it")
    path = write(tmp_path / "t", grammar=old, walkthrough=["put it in/on there"])
    with pytest.raises(InputError, match=r"another version's, allowed those of alfworld 0\.4\.2") as raised:
        open_folder(tmp_path)
    assert str(path) in str(raised.value)
    tasks = open_folder(tmp_path, other_versions="retell")
    env = tasks.make()
    start = env.reset("train/t")
    assert start.task == "look at it."
    outcomes = [env.step(command) for command in env.oracle()]
    assert outcomes[-1].won
    with pytest.raises(UnknownNameError, match="other_versions"):
        open_folder(tmp_path, other_versions="any")


def test_a_grammar_that_runs_code_is_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    code = f"{{__import__('pathlib').Path('{trap}').touch()}}"
    write(tmp_path / "a" / "t", grammar=source().grammar.replace("You are in the middle", code))
    with pytest.raises(InputError, match="another version"):
        open_folder(tmp_path / "a")
    write(tmp_path / "b" / "t", grammar=source().grammar.replace(UNKNOWN_GOAL, code))  # as the task sentence
    env = open_folder(tmp_path / "b").make()
    assert code in env.reset("train/t").text
    assert not trap.exists()


def test_an_unknown_task_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "t")
    with pytest.raises(UnknownNameError, match="nearest: train/t"):
        open_folder(tmp_path).make().reset("train/tt")


@pytest.fixture
def unread():
    source.cache_clear()
    yield
    source.cache_clear()


def test_another_installed_version_is_refused(monkeypatch, unread) -> None:
    monkeypatch.setattr(domain.metadata, "version", lambda _: "0.5.0")
    with pytest.raises(InputError, match=r"alfworld version: got 0\.5\.0, allowed 0\.4\.2"):
        source()


@pytest.mark.parametrize("name", ["data/alfred.twl2", "gen/layouts"])
def test_a_changed_file_is_refused(monkeypatch, unread, name: str) -> None:
    known = {"0.4.2": {**domain._KNOWN["0.4.2"], name: "0" * 16}}
    monkeypatch.setattr(domain, "_KNOWN", known)
    with pytest.raises(InputError, match=rf"file {name}: got contents [0-9a-f]{{16}}"):
        source()


def test_a_missing_package_names_the_extra(monkeypatch, unread) -> None:
    monkeypatch.setattr(domain.util, "find_spec", lambda _: None)
    with pytest.raises(ExtraMissingError, match=r"creditsim\[alfworld\]"):
        EASY.make()
