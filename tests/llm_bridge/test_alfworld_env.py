"""The contract of a text environment: starts, steps, ends, snapshots, the oracle, and what leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from alfworld_walks import EASY, FULL, episode

from creditsim.errors import InputError, UnknownNameError
from llm_bridge.envs.alfworld.engine import AlfworldEnv
from llm_bridge.envs.alfworld.fast import NOTHING
from llm_bridge.envs.base import Snapshot

PLACE, LIGHT = "train/pick_and_place_simple/0", "train/look_at_obj_in_light/0"


@pytest.fixture
def env() -> Iterator[AlfworldEnv]:
    made = EASY.make()
    assert isinstance(made, AlfworldEnv)
    yield made
    made.close()


def test_a_start_tells_the_room_the_task_and_what_can_be_done(env: AlfworldEnv) -> None:
    start = env.reset(PLACE)
    assert start.text.startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room.")
    assert start.text.endswith(f"Your task is to: {start.task}")
    assert "UNKNOWN" not in start.text
    assert start.anchor == start.text
    assert list(start.admissible) == sorted(start.admissible)
    assert "look" in start.admissible
    assert "help" not in start.admissible


def test_the_same_id_is_the_same_start_and_another_is_not(env: AlfworldEnv) -> None:
    first = env.reset(PLACE)
    episode(env, first.admissible[:2])
    assert env.reset(PLACE) == first
    assert env.reset(LIGHT).state != first.state


def test_a_walkthrough_wins_one_and_ends_the_episode(env: AlfworldEnv) -> None:
    env.reset(PLACE)
    *before, last = [env.step(command) for command in env.oracle()]
    assert [(o.reward, o.done, o.won, o.score) for o in before] == [(0.0, False, False, 0.0)] * len(before)
    assert (last.reward, last.done, last.won, last.score) == (1.0, True, True, 1.0)
    assert env.oracle() == []
    with pytest.raises(InputError, match="after the end of the episode"):
        env.step("look")


@pytest.mark.parametrize(
    "text", ["", "   ", "put it in/on there", "go to cabinet 99", "{o}", "look\nlook", "LOOK", "é"]
)
def test_what_means_nothing_is_answered_and_changes_nothing(env: AlfworldEnv, text: str) -> None:
    start = env.reset(PLACE)
    outcome = env.step(text)
    assert (outcome.admissible, outcome.done, outcome.reward) == (False, False, 0.0)
    assert outcome.observation.text == NOTHING
    assert (outcome.observation.state, outcome.observation.admissible) == (start.state, start.admissible)


def test_spaces_around_a_command_do_not_matter_and_help_is_understood(env: AlfworldEnv) -> None:
    env.reset(PLACE)
    assert env.step("  look ").admissible
    helped = env.step("help")
    assert helped.admissible
    assert "Available commands" in helped.observation.text


def test_no_episode_no_step(env: AlfworldEnv) -> None:
    with pytest.raises(InputError, match="episode"):
        env.step("look")
    for ask in (env.snapshot, env.oracle):
        with pytest.raises(InputError, match="no episode"):
            ask()
    with pytest.raises(UnknownNameError, match="nearest: train/pick_and_place_simple/0"):
        env.reset("train/pick_and_place_simple0")


def test_a_snapshot_is_returned_to_by_any_environment(env: AlfworldEnv) -> None:
    env.reset(PLACE)
    commands = [*env.oracle()[:2], "look", "fly"]
    for command in commands:
        seen = env.step(command).observation
        place = env.snapshot()
        other = EASY.make()
        other.reset(LIGHT)
        assert other.restore(place) == seen
        assert other.snapshot() == place
        assert [other.step(ahead).won for ahead in env.oracle()][-1]
        assert env.restore(place) == seen  # and again where it was taken
        other.close()


def test_the_start_is_a_place_too(env: AlfworldEnv) -> None:
    start = env.reset(PLACE)
    place = env.snapshot()
    assert (place.steps, place.payload) == (0, ())
    env.step("look")
    assert env.restore(place) == start


def test_a_win_restored_is_over(env: AlfworldEnv) -> None:
    env.reset(PLACE)
    for command in env.oracle():
        env.step(command)
    place = env.snapshot()
    env.reset(PLACE)
    env.restore(place)
    with pytest.raises(InputError):
        env.step("look")


def test_broken_snapshot_that_loses_a_command_is_seen(env: AlfworldEnv) -> None:
    env.reset(PLACE)
    seen = [env.step(command).observation for command in env.oracle()[:2]][-1]
    place = env.snapshot()
    shorter = Snapshot(place.task, place.steps, (*place.payload[:-2], place.payload[-1]))
    assert env.restore(shorter) != seen


def test_the_oracle_finds_its_way_from_anywhere(env: AlfworldEnv) -> None:
    start = env.reset(LIGHT)
    taken = next(c for c in start.admissible if c.startswith("go to"))
    env.step(taken)
    plan = env.oracle()
    outcomes = [env.step(command) for command in plan]
    assert all(o.admissible for o in outcomes)
    assert outcomes[-1].won


def test_environments_of_one_process_do_not_disturb_each_other(env: AlfworldEnv) -> None:
    other = EASY.make()
    env.reset(PLACE)
    other.reset(PLACE)
    plan = env.oracle()
    for command in plan:
        mine, theirs = env.step(command), other.step(command)
        assert mine == theirs
    other.close()
    assert env.snapshot().steps == len(plan)


def test_the_program_keeps_its_arguments(env: AlfworldEnv) -> None:
    before = list(sys.argv)
    env.reset("valid_unseen/look_at_obj_in_light/3")
    env.step("look")
    env.oracle()
    assert sys.argv == before


def test_the_same_words_in_another_process_with_another_hash_seed() -> None:
    code = (
        "from llm_bridge.envs.base import make_tasks\n"
        "env = make_tasks('alfworld@easy').make(); seen = [env.reset('valid_seen/look_at_obj_in_light/2')]\n"
        "plan = env.oracle()\n"
        "for command in ['look', 'nonsense', *plan]: seen.append(env.step(command).observation)\n"
        "print(repr(seen))"
    )
    told = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        told.add(done.stdout)
    assert len(told) == 1


def test_importing_makes_no_data_folder(tmp_path) -> None:
    code = "from llm_bridge.envs.base import make_tasks; make_tasks('alfworld@easy').make().reset('" + PLACE + "')"
    subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(tmp_path)})
    assert not list(tmp_path.rglob("alfworld"))


def test_published_numbers() -> None:
    assert (FULL.max_steps, FULL.reward_unit, FULL.name) == (50, 10.0, "alfworld")
