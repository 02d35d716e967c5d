"""`creditsim bridge make-data`: generate (or find in the cache) the games of text environments, and count them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from llm_bridge.commands.common import SHIPPED, CommonOptions, bar, game_count


@dataclass(frozen=True)
class Config(CommonOptions):
    """Make the games of text environments ready, and count them by split and kind."""

    env: tuple[str, ...] = SHIPPED
    """Environments, `name` or `name@preset`."""


def run(config: Config) -> int:
    """Make everything once, start one game of each split, print the counts; exit code 0."""
    from creditsim.errors import InputError
    from llm_bridge.assemble import part_params
    from llm_bridge.envs.base import make_tasks

    if not config.env:
        raise InputError("env", "nothing", "at least one environment")
    settings = part_params(config.params, ("env",))["env"]
    told = []
    with bar(len(config.env), "environments", "env") as done:
        for spec in config.env:
            began = time.perf_counter()
            tasks = make_tasks(spec, **settings)
            counts = game_count(tasks)
            kinds: dict[str, int] = {}
            for ids in tasks.splits().values():
                for task in ids:
                    kinds[tasks.kind(task)] = kinds.get(tasks.kind(task), 0) + 1
            env = tasks.make()
            try:
                for ids in tasks.splits().values():
                    env.reset(ids[0])
            finally:
                env.close()
            seconds = round(time.perf_counter() - began, 3)
            told.append({"env": spec, "games": counts, "kinds": kinds, "seconds": seconds})
            done(1)
    if config.json:
        print(json.dumps(told, indent=2))
        return 0
    for each in told:
        counts = ", ".join(f"{split} {n}" for split, n in each["games"].items())
        print(f"{each['env']}: {counts}; {len(each['kinds'])} kinds; {each['seconds']:.1f} s")
    return 0
