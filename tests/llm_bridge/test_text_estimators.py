"""An estimator sees numbers only: on text rollouts, and on the same rollouts as tables, it gives the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bridge_cases import text_sampler, told

from creditsim import advantage, estimators
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import Rollouts
from llm_bridge.collect.records import Records
from llm_bridge.envs.table import TableTasks
from llm_bridge.policies.plain import table_policy

NAMES = ("grpo", "rloo", "gigpo", "hgpo", "grpo@verl", "gigpo@verl-agent", "reinforce_plus_plus")


def drawn() -> tuple[TableTasks, Rollouts, Records]:
    tasks = told("chain@small", slip=0.2)
    sampler = text_sampler(tasks, groups=4, seed=2)
    policy = table_policy(tasks.mdp, SoftmaxPolicy.random(tasks.mdp, 1))
    return tasks, sampler.extend(copies=6, policy=policy), sampler.records


def as_table(mdp: TabularMDP, rollouts: Rollouts) -> Rollouts:
    """Look every number up in the MDP again, from hidden states and actions alone."""
    state, there = rollouts.columns["state"], rollouts.columns["next_state"]
    reaches = (mdp.successor[state, rollouts.action] == there[:, None]) & (mdp.probability[state, rollouts.action] > 0)
    branch = reaches.argmax(axis=1)
    return Rollouts.flat(
        offsets=rollouts.offsets,
        group=rollouts.group,
        batch=rollouts.batch,
        terminated=mdp.terminal[there[rollouts.offsets[1:] - 1]],
        observation=mdp.observation[state],
        action=rollouts.action,
        reward=mdp.scalar_reward[state, rollouts.action, branch],
        columns={"log_prob": rollouts.columns["log_prob"], "entropy": rollouts.columns["entropy"]},
    )


def from_texts(rollouts: Rollouts, records: Records, order: np.ndarray) -> Rollouts:
    """The door for everybody else: words and labels as they are, rows in any order."""
    said = records.of(rollouts)
    return Rollouts.from_steps(
        traj=[f"walk {i}" for i in rollouts.trajectory[order]],
        group=[f"task {i}" for i in rollouts.group_rows[order]],
        step=rollouts.step[order],
        observation=[said[i].observation.anchor for i in order],
        action=[said[i].response.action for i in order],
        reward=[said[i].outcome.reward for i in order],
        columns={name: rollouts.columns[name][order] for name in ("log_prob", "entropy")},
        terminated={f"walk {i}": bool(done) for i, done in enumerate(rollouts.terminated)},
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_gives_the_same_bits_on_text_and_on_tables(name: str) -> None:
    assert name.split("@")[0] in estimators()
    tasks, text, _ = drawn()
    credit = advantage(text, name)
    assert np.ptp(credit) > 0
    assert credit.tobytes() == advantage(as_table(tasks.mdp, text), name).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_and_from_words_last_step_first(name: str) -> None:
    _, text, records = drawn()
    order = np.lexsort([-text.step, text.trajectory])
    again = from_texts(text, records, order)
    assert again.row_order is not None
    assert advantage(text, name)[order].tobytes() == again.to_input_order(advantage(again, name)).tobytes()


def test_the_comparison_sees_anchors_that_hide_a_step_count() -> None:
    """Broken twin: were the step number part of the anchor's words, GiGPO's step groups would be others."""
    tasks, text, _ = drawn()
    wrong = replace(text, observation=text.observation * 100 + text.step)
    assert advantage(wrong, "gigpo").tobytes() != advantage(as_table(tasks.mdp, text), "gigpo").tobytes()
