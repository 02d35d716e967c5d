"""A table told in words: its walks are the table's, its randomness is named, its places can be gone back to."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from bridge_cases import told

from creditsim.errors import InputError, UnknownNameError
from creditsim.mdp import make
from creditsim.rng import uniforms
from llm_bridge.envs.base import ENVIRONMENTS, make_tasks
from llm_bridge.envs.table import REFUSED, TableEnv, command, place, table


def walk(env: TableEnv, n: int, seed: int) -> list[tuple[str, str, float, bool]]:
    out = []
    draws = iter(uniforms(seed, 0, 0, n))
    seen = env.restore(env.snapshot())
    for draw in draws:
        if not seen.admissible:
            break
        said = seen.admissible[int(draw * len(seen.admissible))]
        outcome = env.step(said)
        seen = outcome.observation
        out.append((said, seen.text, outcome.reward, outcome.done))
    return out


def test_it_is_registered_and_can_be_sent_to_processes() -> None:
    tasks = make_tasks("table", family="grid@tiny", tasks=3, valid=2)
    assert "table" in ENVIRONMENTS
    assert {split: len(ids) for split, ids in tasks.splits().items()} == {"train": 3, "valid": 2}
    again = pickle.loads(pickle.dumps(tasks))  # noqa: S301 # what a process pool does
    assert again.splits() == tasks.splits() and again.max_steps == tasks.max_steps == make("grid@tiny").horizon
    with pytest.raises(InputError, match="one decision each"):
        table(family="tokens@tiny")
    with pytest.raises(UnknownNameError, match="nearest: family"):
        make_tasks("table", familly="chain@tiny")


@pytest.mark.parametrize("family", ["chain@small", "grid@tiny", "aliased@tiny", "random@small", "trap@tiny"])
def test_every_step_is_one_of_the_tables(family: str) -> None:
    tasks = table(family=family)
    mdp, env = tasks.mdp, tasks.make()
    for episode in range(20):
        seen = env.reset("train-0")
        env.reseed(1, episode)
        state = tasks.start_state("train-0")
        for draw in uniforms(episode, 0, 0, mdp.horizon):
            said = seen.admissible[int(draw * len(seen.admissible))]
            action = int(said.split()[-1])
            assert mdp.mask[state, action]
            outcome = env.step(said)
            seen = outcome.observation
            there = int(str(seen.state).split()[-1])
            (branches,) = np.nonzero((mdp.successor[state, action] == there) & (mdp.probability[state, action] > 0))
            assert outcome.reward in mdp.scalar_reward[state, action, branches]
            assert seen.text == seen.anchor == place(int(mdp.observation[there]))
            assert outcome.done == mdp.terminal[there]
            state = there
            if outcome.done:
                break


def test_start_states_follow_the_law_and_the_task_alone() -> None:
    tasks = table(family="random@small", tasks=400, settings={"seed": 3})
    starts = np.array([tasks.start_state(task) for task in tasks.splits()["train"]])
    assert [tasks.start_state(f"train-{i}") for i in range(400)] == starts.tolist()
    law = tasks.mdp.start
    share = np.bincount(starts, minlength=law.size) / 400
    # Hoeffding over the states: alpha 1e-6 in all.
    assert np.abs(share - law).max() < np.sqrt(np.log(2 * law.size / 1e-6) / 800)
    for wrong in ("train-400", "valid-99", "x", "train--1"):
        with pytest.raises(InputError, match="train-0"):
            tasks.start_state(wrong)


def test_randomness_is_named_by_seed_episode_and_step() -> None:
    tasks = told("chain@small", slip=0.4)
    env, other = tasks.make(), tasks.make()

    def walks(which: TableEnv, seed: int | None, episode: int = 0) -> list[tuple[str, str, float, bool]]:
        which.reset("train-1")
        if seed is not None:
            which.reseed(seed, episode)
        return walk(which, 12, 7)

    assert walks(env, None) == walks(other, None)
    assert walks(env, 5, 2) == walks(other, 5, 2)
    assert len({str(walks(env, 5, episode)) for episode in range(8)}) > 4
    assert len({str(walks(env, seed)) for seed in range(8)}) > 4
    env.reset("train-1")
    first = walk(env, 12, 7)
    env.reset("train-2")
    env.reseed(0, 0)
    assert first != walk(env, 12, 7)


def test_a_place_goes_on_as_it_would_have_and_reseed_gives_another_future() -> None:
    tasks = told("chain@small", slip=0.4, length=6)
    env, other = tasks.make(), tasks.make()
    env.reset("train-0")
    env.reseed(9, 4)
    walk(env, 3, 1)
    here = env.snapshot()
    assert other.restore(here) == env.restore(here)
    assert here.steps == 3
    rest = walk(env, 9, 2)
    other.restore(here)
    assert walk(other, 9, 2) == rest
    futures = set()
    for episode in range(10):
        other.restore(here)
        other.reseed(9, 100 + episode)
        futures.add(str(walk(other, 9, 2)))
    assert len(futures) > 5


def test_a_command_that_means_nothing_costs_a_step_and_does_nothing() -> None:
    tasks = told()
    env = tasks.make()
    start = env.reset("train-0")
    outcome = env.step("open fridge <b>1</b>")
    assert (outcome.observation.text, outcome.reward, outcome.done, outcome.admissible) == (REFUSED, 0.0, False, False)
    assert outcome.observation.state == start.state
    assert env.snapshot().steps == 1
    assert env.restore(env.snapshot()).text == REFUSED
    assert env.step("  Take PATH 1 ").admissible
    env.step(command(1))
    last = env.step(command(1))
    assert last.done and last.won and last.score == 1.0
    assert last.observation.admissible == ()
    with pytest.raises(InputError, match="after the end"):
        env.step(command(0))


def test_masked_actions_are_not_admissible() -> None:
    tasks = told("aliased@tiny")
    env = tasks.make()
    assert env.reset("train-0").admissible == (command(0),)
    assert not env.step(command(1)).admissible


@pytest.mark.parametrize("family", ["chain@small", "grid@small", "lock@small", "trap@small", "tree@tiny"])
def test_the_oracle_wins_on_its_own_stream(family: str) -> None:
    tasks = table(family=family)
    env = tasks.make()
    for i in range(3):
        env.reset(f"train-{i}")
        assert [env.step(said) for said in env.oracle()][-1].won


def test_an_oracle_without_a_way_says_so() -> None:
    tasks = told(length=5, horizon=4)
    env = tasks.make()
    env.reset("train-0")
    with pytest.raises(InputError, match="no way to win"):
        env.oracle()
    with pytest.raises(InputError, match="before any task"):
        tasks.make().snapshot()
