"""Training on text: a whole iteration beside what the model and the environment take of it.

The smallest model on the easiest games, on a CPU, is the worst case: a larger one leaves the rest a smaller share.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.report import line
from benchmarks.timing import ROUNDS, Round, Rounds, Sample, busy_seconds, others_share, own_seconds

__all__: list[str] = []

_LLM = ("torch", "transformers")
_ALFWORLD = ("alfworld", "textworld", *_LLM)
_WEBSHOP = ("Stemmer", "bm25s", "thefuzz", *_LLM)
_WARM = 3
_TARGET = round(1 / 0.9, 3)
"""Of an iteration at most a tenth is neither model nor environment."""


def config(env: str, method: str) -> Any:
    """4 groups of 8 episodes by the smallest model, without evaluations and checkpoints."""
    from llm_bridge.policies.config import PolicyConfig
    from llm_bridge.training.config import TextTrainConfig

    return TextTrainConfig(
        method=method, env=env, iterations=_WARM + ROUNDS, groups=4, group_size=8, max_steps=10, eval_every=0,
        policy=PolicyConfig(vocabulary=768, length="mean"),
    )  # fmt: skip


def iterations(env: str, method: str) -> Rounds:
    """One round an iteration, from the clock that training itself keeps."""
    from llm_bridge.training.loop import train_text

    done: list[Round] = []
    last = [time.perf_counter(), busy_seconds(), own_seconds()]

    def tell(told: Mapping[str, Any]) -> None:
        now = [time.perf_counter(), busy_seconds(), own_seconds()]
        wall, busy, own = (b - a for a, b in zip(last, now, strict=True))
        last[:] = now
        spent = told["seconds"]
        known = spent["policy"] + spent["environment"] + spent["update"]
        load = own / wall
        sides = (Sample(spent["all"], load * spent["all"]), Sample(known, load * known))
        done.append(Round(*sides, others_share(wall, busy, own)))

    train_text(config(env, method), tell=tell)
    return Rounds(done[_WARM:])


@line("iteration of GiGPO on easy ALFWorld games", "its model and environment", "cost", _TARGET, needs=_ALFWORLD)
def alfworld() -> Rounds:
    return iterations("alfworld@easy", "gigpo")


@line("iteration of HGPO on WebShop", "its model and environment", "cost", _TARGET, needs=_WEBSHOP)
def webshop() -> Rounds:
    return iterations("webshop@tiny", "hgpo")
