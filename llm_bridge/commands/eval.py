"""`creditsim bridge eval`: how often a trained run, or any policy, wins the tasks of the valid splits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_bridge.commands.common import CommonOptions, bar

if TYPE_CHECKING:
    from llm_bridge.collect.walk import Prompter
    from llm_bridge.envs.base import TextTasks
    from llm_bridge.training.evaluate import Evaluation


@dataclass(frozen=True)
class Config(CommonOptions):
    """Play one episode of each task of the valid splits, and print success with intervals, by kind of task."""

    policy: str = dataclasses.field(kw_only=True)
    """The folder of a run, of a model, or random | oracle | tiny | small | medium."""
    env: str | None = None
    """The environment, `name` or `name@preset`; default: the run's, or alfworld."""
    splits: tuple[str, ...] = ()
    """Splits; default: all but train."""
    tasks: int | None = None
    """The first so many tasks of each split; default: all."""
    max_steps: int | None = None
    """Steps after which an episode is cut; default: the run's, or the environment's own."""
    temperature: float | None = None
    """Draw answers at this temperature; default: the likeliest answer."""
    iteration: int | None = None
    """Checkpoint of a run; default: the newest."""
    kind: Literal["scoring", "generate"] = "scoring"
    """How a model acts; of a run its own."""
    history: int = 2
    """Turns of the past in the prompt; of a run its own."""
    style: Literal["full", "compact"] = "full"
    """Wording of the prompt; of a run its own."""
    alpha: float = 0.05
    """Error level of each interval."""
    slots: int = 64
    """Environments side by side."""
    device: str | None = None
    """cpu | cuda | cuda:NUMBER; default: the run's, or cpu."""


def run(config: Config) -> int:
    """Evaluate, print; exit code 0."""
    from creditsim.errors import InputError
    from llm_bridge.envs.fleet import Fleet
    from llm_bridge.training.evaluate import evaluate
    from llm_bridge.training.loop import CONFIG

    for name, value in (("tasks", config.tasks), ("max_steps", config.max_steps)):
        if value is not None and value < 1:
            raise InputError(name, value, "a whole number >= 1")
    if config.temperature is not None and not config.temperature > 0:
        raise InputError("temperature", config.temperature, "a number > 0")
    if not 0 < config.alpha < 1:
        raise InputError("alpha", config.alpha, "0 < alpha < 1")
    is_run = (Path(config.policy) / CONFIG).is_file()
    tasks, policy, words, max_steps = _of_run(config) if is_run else _of_name(config)
    splits = config.splits or tuple(split for split in tasks.splits() if split != "train")
    most = max(len(ids) for ids in tasks.splits().values()) if config.tasks is None else config.tasks
    total = sum(min(most, len(tasks.splits().get(split, ()))) for split in splits)
    with (
        Fleet(tasks, min(config.slots, max(total, 1)), workers=config.workers) as fleet,
        bar(total, f"{config.policy} on {tasks.name}", "episode") as done,
    ):
        found = evaluate(
            policy, fleet, words, splits=splits, tasks=most, max_steps=max_steps, temperature=config.temperature,
            alpha=config.alpha, seed=config.seed, progress=done,
        )  # fmt: skip
    if config.json:
        told = {one.split: {**dataclasses.asdict(one), "kinds": _kinds(one)} for one in found}
        print(json.dumps({"settings": dataclasses.asdict(config), "evaluation": told}, indent=2))
    else:
        print("\n".join(line for one in found for line in _lines(one)))
    return 0


def _of_run(config: Config) -> tuple[TextTasks, Any, Prompter, int | None]:
    """Environment, policy and wording of a run, its parameters from a checkpoint."""
    from creditsim.configs import load
    from creditsim.errors import InputError
    from llm_bridge.assemble import part_params
    from llm_bridge.envs.base import make_tasks
    from llm_bridge.training import state
    from llm_bridge.training.config import TextTrainConfig
    from llm_bridge.training.loop import CONFIG, policy_of
    from llm_bridge.training.planning import planned

    folder = Path(config.policy)
    trained = load(TextTrainConfig, folder / CONFIG)
    if config.device is not None:
        trained = dataclasses.replace(trained, policy=dataclasses.replace(trained.policy, device=config.device))
    found = state.checkpoint(folder, config.iteration)
    if found is None:
        raise InputError("policy", repr(config.policy), "a run with a checkpoint")
    _, own = planned(trained)
    # The tokenizer was made on the run's own environment, whatever the policy is tried on now.
    policy, words = policy_of(trained, make_tasks(trained.env, **own))
    state.load_weights(found, policy)
    given = part_params(config.params, ("env",))["env"]
    where = config.env or trained.env
    settings = {**own, **given} if where == trained.env else given
    steps = trained.max_steps if config.max_steps is None and where == trained.env else config.max_steps
    return make_tasks(where, **settings), policy, words, steps


def _of_name(config: Config) -> tuple[TextTasks, Any, Prompter, int | None]:
    """A policy by name, worded as the options say."""
    from creditsim.errors import InputError
    from llm_bridge.assemble import make_wording, open_policy, part_params, prompter
    from llm_bridge.envs.base import make_tasks

    if config.iteration is not None:
        raise InputError("iteration", config.iteration, "the folder of a run, which has checkpoints")
    given = part_params(config.params, ("env", "policy"))
    tasks = make_tasks(config.env or "alfworld", **given["env"])
    wording = make_wording(tasks, config.kind, history=config.history, style=config.style)
    options = {"kind": config.kind, "device": config.device or "cpu", "seed": config.seed, **given["policy"]}
    return tasks, open_policy(config.policy, tasks, wording, **options), prompter(wording), config.max_steps


def _kinds(one: Evaluation) -> dict[str, dict[str, float]]:
    import numpy as np

    from creditsim.stats.intervals import proportion_interval

    out = {}
    for kind, (won, tasks) in one.kinds.items():
        interval = proportion_interval(np.array(won), np.array(tasks), alpha=one.alpha)
        out[kind] = {
            "tasks": tasks, "success": won / tasks, "low": float(interval.low), "high": float(interval.high),
        }  # fmt: skip
    return out


def _lines(one: Evaluation) -> Iterator[str]:
    level = f"{100 * (1 - one.alpha):g} %"
    rows: dict[str, Mapping[str, float]] = {
        one.split: {"tasks": one.tasks, "success": one.success, "low": one.low, "high": one.high}
    }
    rows |= {f"  {kind}": row for kind, row in _kinds(one).items()}
    width = max(len(name) for name in rows)
    for name, row in rows.items():
        rest = (
            f"  score {one.score:.3f}, steps {one.steps:.1f}, well-formed {100 * one.well_formed:.1f} %"
            if name == one.split
            else ""
        )
        ends = f"[{row['low']:.3f}, {row['high']:.3f}]"
        yield f"{name:<{width}}  {row['success']:.3f} {ends} ({level}, {row['tasks']:>3} tasks){rest}"
