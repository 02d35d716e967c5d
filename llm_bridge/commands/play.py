"""`creditsim bridge play`: play a game at the terminal, or let the environment's own solution play them all."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_bridge.commands.common import SHIPPED, CommonOptions, bar

if TYPE_CHECKING:
    from llm_bridge.envs.base import Observation, TextTasks


@dataclass(frozen=True)
class Config(CommonOptions):
    """Play a game at the terminal; with --oracle, let the environment's solution play every game of every split."""

    env: tuple[str, ...] = SHIPPED
    """Environments, `name` or `name@preset`; a human plays the first."""
    split: str | None = None
    """Only this split; a human's default is the first one."""
    task: str | None = None
    """Id of the game a human plays; default: drawn by the seed."""
    oracle: bool = False
    """The environment's own solution plays; exit code 1 if a game is lost."""
    games: int | None = None
    """At most so many games of each split, the first ones; default: all."""


def run(config: Config) -> int:
    """Play; exit code 0, or 1 where the oracle lost a game."""
    from creditsim.errors import InputError
    from llm_bridge.assemble import part_params
    from llm_bridge.envs.base import make_tasks

    if not config.env:
        raise InputError("env", "nothing", "at least one environment")
    if config.games is not None and config.games < 1:
        raise InputError("games", config.games, "a whole number >= 1")
    settings = part_params(config.params, ("env",))["env"]
    if not config.oracle:
        return _human(make_tasks(config.env[0], **settings), config)
    told = [row for spec in config.env for row in _oracle(spec, make_tasks(spec, **settings), config)]
    lost = sum(len(row["lost"]) for row in told)
    if config.json:
        print(json.dumps(told, indent=2))
    else:
        for row in told:
            shown = f"; lost: {', '.join(row['lost'][:5])}" if row["lost"] else ""
            print(f"{row['env']} {row['split']}: {row['won']} of {row['games']} won, {row['steps']} steps{shown}")
    return 1 if lost else 0


def _oracle(spec: str, tasks: TextTasks, config: Config) -> list[dict[str, Any]]:
    """One row per split: how many games, how many won, which were lost."""
    from creditsim.errors import choose
    from llm_bridge.assemble import make_wording, prompter
    from llm_bridge.collect.sampler import TextSampler
    from llm_bridge.envs.fleet import Fleet
    from llm_bridge.policies.plain import OraclePolicy

    splits = tasks.splits()
    names = list(splits) if config.split is None else [choose("split", config.split, splits)]
    out = []
    for split in names:
        ids = list(splits[split])[: config.games]
        with (
            Fleet(tasks, min(len(ids), 8 * max(config.workers, 1)), workers=config.workers) as fleet,
            bar(len(ids), f"{spec} {split}", "game") as done,
        ):
            sampler = TextSampler(
                fleet, prompter(make_wording(tasks, "scoring")), tasks=ids, groups=len(ids), shuffle=False,
                seed=config.seed, progress=done,
            )  # fmt: skip
            rollouts = sampler.extend(policy=OraclePolicy())
        last = [sampler.records[int(rollouts.columns["record"][end - 1])] for end in rollouts.offsets[1:]]
        lost = [record.task for record in last if not record.outcome.won]
        out.append({
            "env": spec, "split": split, "games": len(ids), "won": len(ids) - len(lost), "lost": lost,
            "steps": rollouts.n_rows,
        })  # fmt: skip
    return out


def _human(tasks: TextTasks, config: Config) -> int:
    from creditsim.errors import choose
    from creditsim.rng import Purpose, uniforms

    splits = tasks.splits()
    ids = splits[choose("split", config.split or next(iter(splits)), splits)]
    task = config.task
    if task is None:
        task = ids[int(uniforms(config.seed, 0, Purpose.START, 1)[0] * len(ids))]
    env = tasks.make()
    try:
        seen = env.reset(task)
        print(f"{tasks.name}, game {task} ({tasks.kind(task)}). ? lists the commands, a number gives one, q ends.\n")
        print(f"{seen.task}\n")
        for step in range(1, tasks.max_steps + 1):
            said = _asked(seen, step)
            if said is None:
                return 0
            outcome = env.step(said)
            seen = outcome.observation
            if outcome.done:
                print(f"\n{seen.text}\n\n{'won' if outcome.won else 'over'} in {step} steps, score {outcome.score:g}")
                return 0
        print(f"\ncut after {tasks.max_steps} steps")
        return 0
    finally:
        env.close()


def _asked(seen: Observation, step: int) -> str | None:
    """What the human says; None at the end of the input."""
    print(seen.text)
    while True:
        try:
            line = input(f"[{step}] > ").strip()
        except EOFError:
            print()
            return None
        if line == "q":
            return None
        if line == "?":
            print("\n".join(_listed(seen.admissible)), file=sys.stdout)
        elif line.isdecimal() and int(line) < len(seen.admissible):
            return seen.admissible[int(line)]
        elif line:
            return line


def _listed(commands: Sequence[str]) -> list[str]:
    return [f"{i:>4}  {command}" for i, command in enumerate(commands)]
