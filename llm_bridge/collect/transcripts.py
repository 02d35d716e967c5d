"""Environment text for tokenizers: prompts and commands of a few walks."""

from __future__ import annotations

from functools import partial

from llm_bridge.collect.sampler import TextSampler
from llm_bridge.envs.base import TextTasks
from llm_bridge.envs.fleet import Fleet
from llm_bridge.policies.plain import OraclePolicy, RandomPolicy
from llm_bridge.prompts import Wording, make_prompt

__all__ = ["transcripts"]


def transcripts(
    tasks: TextTasks, wording: Wording, *, games: int = 8, seed: int = 0, oracle: bool = True, split: str = "train"
) -> list[str]:
    """Prompts and commands met on `games` tasks by a random policy and, with `oracle`, by the environment's solution.

    One text per step and its commands; the same texts for the same arguments.
    """
    told: dict[str, None] = {}
    with Fleet(tasks, games) as fleet:
        for policy in (RandomPolicy(), *([OraclePolicy()] if oracle else [])):
            sampler = TextSampler(fleet, partial(make_prompt, wording), split=split, seed=seed, groups=games)
            rollouts = sampler.extend(policy=policy)
            for record in sampler.records.of(rollouts):
                told.setdefault(record.prompt.text)
                told.update(dict.fromkeys(record.prompt.admissible))
    return list(told)
