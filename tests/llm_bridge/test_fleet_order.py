"""Whatever the order of requests, the slots or the workers: every environment answers as if it were alone."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from bridge_cases import bare, same, told
from fleet_cases import Moody, MoodyEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError
from creditsim.rollouts import FIELDS, Rollouts
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.envs import fleet as module
from llm_bridge.envs.base import Observation, Outcome, Snapshot, TextEnv, TextTasks
from llm_bridge.envs.fleet import Fleet, Seed
from llm_bridge.policies.plain import RandomPolicy

COMMANDS = ("go", "win", "stay", "", "<b>")


@dataclass(frozen=True)
class Leaky(Moody):
    """The twin: all its environments share what was said."""

    def make(self) -> MoodyEnv:
        return _LeakyEnv()


class _LeakyEnv(MoodyEnv):
    heard: tuple[str, ...] = ()

    def step(self, text: str) -> Outcome:
        _LeakyEnv.heard = (*_LeakyEnv.heard, text)
        self.said = _LeakyEnv.heard[:-1]
        return super().step(text)

    def reset(self, task: str) -> Observation:
        _LeakyEnv.heard = ()
        return super().reset(task)


def alone(tasks: TextTasks, task: str, way: list[str]) -> list[Any]:
    env: TextEnv = tasks.make()
    seen: list[Any] = [env.reset(task)]
    for command in way:
        seen.append((env.step(command), env.snapshot()))
    return seen


def in_company(
    fleet: Fleet, tasks: list[str], ways: list[list[str]], slots: list[int], draw: random.Random
) -> list[Any]:
    """All ways side by side; in every round some of the slots act, in an order of chance."""
    order = list(zip(slots, tasks, strict=True))
    draw.shuffle(order)
    first = dict(zip([slot for slot, _ in order], fleet.reset([(s, t, Seed(0, 0)) for s, t in order]), strict=True))
    seen: dict[int, list[Any]] = {slot: [first[slot]] for slot in slots}
    left = {slot: list(way) for slot, way in zip(slots, ways, strict=True)}
    while any(left.values()):
        acting = [slot for slot in slots if left[slot] and draw.random() < 0.6]
        draw.shuffle(acting)
        answers = fleet.step([(slot, left[slot].pop(0)) for slot in acting])
        for slot, answer in zip(acting, answers, strict=True):
            seen[slot].append(answer)
    return [seen[slot] for slot in slots]


ways = st.lists(st.lists(st.sampled_from(COMMANDS), max_size=5), min_size=1, max_size=5)


@given(ways, st.randoms(use_true_random=False))
def test_any_schedule_is_answered_as_alone(ways: list[list[str]], draw: random.Random) -> None:
    tasks = [draw.choice("ab") for _ in ways]
    slots = draw.sample(range(7), len(ways))
    with Fleet(Moody(), 7) as fleet:
        assert in_company(fleet, tasks, ways, slots, draw) == [
            alone(Moody(), task, way) for task, way in zip(tasks, ways, strict=True)
        ]


def test_environments_that_share_what_they_hear_are_seen() -> None:
    draw, many = random.Random(0), [["go", "stay", "go"], ["stay", "go", "stay"]]  # noqa: S311
    with Fleet(Leaky(), 2) as fleet:
        got = in_company(fleet, ["a", "b"], many, [0, 1], draw)
    assert got != [alone(Moody(), task, way) for task, way in zip("ab", many, strict=True)]


@settings(max_examples=25)
@given(ways, st.randoms(use_true_random=False))
def test_a_place_named_in_one_slot_is_gone_on_from_in_another(ways: list[list[str]], draw: random.Random) -> None:
    """Restoring and replaying lead to one place; both go on as the first episode did."""
    with Fleet(Moody(), 3) as fleet:
        for way in ways:
            fleet.reset([(0, "a", Seed(0, 0))])
            places: list[Snapshot] = []
            seen = []
            for command in way:
                ((outcome, place),) = fleet.step([(0, command)])
                places.append(place)
                seen.append(outcome.observation)
            for i, place in enumerate(places):
                (restored,) = fleet.restore([(1, place, Seed(0, 1))])
                (replayed,) = fleet.replay([(2, "a", [(c, Seed(0, 0)) for c in way[: i + 1]], Seed(0, 2))])
                assert restored == replayed == seen[i]


def drawn(tasks: TextTasks, *, slots: int, seed: int = 3) -> Rollouts:
    with Fleet(tasks, slots) as fleet:
        sampler = TextSampler(fleet, bare, seed=seed, groups=4)
        first = sampler.extend(copies=3, policy=RandomPolicy())
        rows = np.flatnonzero(sampler.continues(first))[::3]
        return sampler.extend(first, after=rows, copies=2, policy=RandomPolicy())


def test_random_transitions_belong_to_episodes_not_to_slots() -> None:
    """An environment that slips: one slot or many, the same bits."""
    tasks = told("chain@small", slip=0.3)
    one = drawn(tasks, slots=1)
    names = [*FIELDS, *one.columns]
    for slots in (2, 5, 64):
        same(one, drawn(tasks, slots=slots), names)
    other = drawn(tasks, slots=5, seed=4)
    assert other.n_rows != one.n_rows or not np.array_equal(other.action, one.action)


def test_numbers_drawn_in_the_order_of_calls_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: each episode gets the next stream of a counter that all slots share."""
    tasks, number = told("chain@small", slip=0.3), itertools.count()
    monkeypatch.setattr(module, "_reseed", lambda env, seed: env.reseed(0, next(number)))
    one, many = drawn(tasks, slots=1), drawn(tasks, slots=5)
    assert one.n_rows != many.n_rows or not np.array_equal(one.observation, many.observation)


def test_one_bad_request_leaves_the_others_answered_and_the_fleet_open() -> None:
    with Fleet(Moody(), 3) as fleet:
        fleet.reset([(slot, "a", Seed(0, slot)) for slot in range(3)])
        with pytest.raises(InputError, match="moody environment: got RuntimeError: two lines"):
            fleet.step([(0, "go"), (1, "boom"), (2, "go")])
        answers = fleet.step([(0, "go"), (1, "go"), (2, "stay")])
        assert [answer.observation.text for answer, _ in answers] == ["a:go,go", "a:go", "a:go,stay"]
        for slot in (-1, 3):
            with pytest.raises(InputError, match=r"slot: got -?\d, allowed 0\.\.2"):
                fleet.step([(slot, "go")])
    with pytest.raises(InputError, match="after close"):
        fleet.step([(0, "go")])
