"""The fast environment says what the stock one says: feedback, commands and win, step by step, on all task types."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

pytest.importorskip("textworld", reason="the alfworld extra is not installed")

from alfworld_walks import EASY, FULL, ONE_OF_EACH, Said, differences, stock_walk

from llm_bridge.envs.alfworld import fast, memory, words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def walks() -> dict[str, list[Said]]:
    games = {task: stock_walk(FULL, task, 2 * i) for i, task in enumerate(ONE_OF_EACH)}
    return games | {task: stock_walk(FULL, task, 1) for task in ("train/pick_and_place_simple/1",)}


@pytest.fixture(autouse=True)
def nothing_remembered():
    memory.forget()
    yield
    memory.forget()


def test_walks_show_what_there_is_to_see(walks: Mapping[str, list[Said]]) -> None:
    every = [said for walk in walks.values() for said in walk]
    verbs = {said.command.split()[0] for said in every if said.command}
    assert {"go", "open", "take", "move", "use", "heat", "cool", "clean", "fly"} <= verbs
    assert len(verbs & {"examine", "look", "inventory", "help"}) >= 2
    assert any(said.won for said in every)
    assert any(said.feedback == fast.NOTHING for said in every)


def test_same_words_same_commands_same_wins(walks: dict[str, list[Said]]) -> None:
    assert differences(FULL, walks) == []


def test_a_second_episode_says_the_same(walks: dict[str, list[Said]]) -> None:
    first = {ONE_OF_EACH[3]: walks[ONE_OF_EACH[3]]}
    assert differences(FULL, first) == []
    assert differences(FULL, first) == []  # all from memory now


def test_easy_games_too() -> None:
    tasks = {task: stock_walk(EASY, task, 8) for task in EASY.splits()["valid_seen"][:2]}
    assert differences(EASY, tasks) == []


def test_broken_games_told_apart_by_their_rules_alone(monkeypatch, walks) -> None:
    monkeypatch.setattr(memory, "_key_of", lambda domain, grammar, problem: domain)
    two = {task: walks[task] for task in ONE_OF_EACH[:2]}
    assert differences(FULL, two)


def test_broken_commands_remembered_by_template(monkeypatch, walks) -> None:
    monkeypatch.setattr(
        memory.Remembered, "command", lambda self, template, mapping, say: self.commands.setdefault(template, say())
    )
    assert differences(FULL, {ONE_OF_EACH[0]: walks[ONE_OF_EACH[0]]})


@pytest.mark.parametrize("unread", ["atlocation", "holds", "opened"])
def test_broken_states_that_forget_a_fact(monkeypatch, walks, unread: str) -> None:
    # views are kept by hidden state: a state that leaves out what commands depend on shows another state's commands
    monkeypatch.setattr(memory, "_UNREAD", memory._UNREAD | {unread, "holdsany", "inreceptacle", "objectatlocation"})
    assert differences(FULL, walks)


def test_broken_reader_that_takes_the_last_rule(monkeypatch, walks) -> None:
    def last(self, name, scene):
        return self._words(self._grammar._rules[name][-1].rhs, scene)

    monkeypatch.setattr(words.Reader, "_rule", last)
    assert differences(FULL, {ONE_OF_EACH[1]: walks[ONE_OF_EACH[1]]})


def test_broken_effects_that_never_untell(monkeypatch, walks) -> None:
    monkeypatch.setattr(
        fast._FastState,
        "take",
        lambda self, ground: self.downward_lib.apply_operator(ground.id, (fast.Atom * ground.effects)()),
    )
    assert differences(FULL, {ONE_OF_EACH[2]: walks[ONE_OF_EACH[2]]})
