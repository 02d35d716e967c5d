"""`creditsim bridge rollout`: draw text episodes by any sampling design and store them as Parquet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llm_bridge.commands.common import CommonOptions, bar

if TYPE_CHECKING:
    from llm_bridge.collect.interner import Interner
    from llm_bridge.collect.walk import Prompter
    from llm_bridge.envs.base import TextTasks


@dataclass(frozen=True)
class Config(CommonOptions):
    """Draw episodes of a policy on a text environment, print what they are like, and store them with their texts."""

    env: str = "alfworld"
    """The environment, `name` or `name@preset`."""
    policy: str = "random"
    """random | oracle | tiny | small | medium (a model made on the spot) | the local folder of a model."""
    kind: Literal["scoring", "generate"] = "scoring"
    """How a model acts: it chooses among the admissible commands by likelihood, or writes its answer."""
    design: str = "independent"
    """Sampling design; see `creditsim list designs`."""
    split: str = "train"
    """Split of the tasks."""
    groups: int = 4
    """Tasks drawn."""
    group_size: int = 8
    """Episodes of each task."""
    max_steps: int | None = None
    """Steps after which an episode is cut; default: the environment's own."""
    reward: Literal["environment", "published", "score"] = "environment"
    """Column `reward`: the environment's own, the published unit at a win, or the task score at the end."""
    history: int = 2
    """Turns of the past in the prompt."""
    style: Literal["full", "compact"] = "full"
    """Wording of the prompt."""
    temperature: float = 1.0
    """Temperature of a model's choices."""
    greedy: bool = False
    """Take the likeliest answer instead of drawing."""
    slots: int = 64
    """Environments side by side: the most episodes that act in one batch."""
    device: str = "cpu"
    """cpu | cuda | cuda:1: where a model runs."""
    imitate: int = 0
    """Solutions that a model made on the spot imitates before it acts; 0: none."""
    imitate_epochs: int = 6
    """Passes over them."""
    out: str | None = None
    """Write the rollouts to this Parquet file."""
    numbers_only: bool = False
    """Leave the texts out of the file: numbers and names of tasks, a tenth of the size, not to be gone on from."""


def run(config: Config) -> int:
    """Draw, store, print the summary; exit code 0."""
    from creditsim.errors import InputError
    from creditsim.sampling.designs.base import DESIGNS
    from creditsim.store import check_writable
    from llm_bridge.assemble import make_wording, open_policy, part_params, prompter
    from llm_bridge.collect.records import with_outcomes
    from llm_bridge.collect.sampler import TextSampler
    from llm_bridge.collect.store import write_rollouts
    from llm_bridge.collect.summary import summarise
    from llm_bridge.envs.base import make_tasks
    from llm_bridge.envs.fleet import Fleet

    for name, value, least in (("imitate", config.imitate, 0), ("imitate_epochs", config.imitate_epochs, 1)):
        if value < least:
            raise InputError(name, value, f"a whole number >= {least}")
    if config.out is not None:
        check_writable(config.out)
    given = part_params(config.params, ("env", "design", "policy"))
    design = DESIGNS.bind(config.design, **{"group_size": config.group_size, **given["design"]})
    tasks = make_tasks(config.env, **given["env"])
    wording = make_wording(tasks, config.kind, history=config.history, style=config.style)
    options = {"kind": config.kind, "device": config.device, "temperature": config.temperature, "seed": config.seed}
    policy = open_policy(config.policy, tasks, wording, **{**options, **given["policy"]})
    if config.imitate:
        _imitate(policy, tasks, prompter(wording), config)
    with (
        Fleet(tasks, config.slots, workers=config.workers) as fleet,
        bar(None, f"{config.env} {config.design}", "episode") as done,
    ):
        sampler = TextSampler(
            fleet, prompter(wording), split=config.split, seed=config.seed, groups=config.groups,
            max_steps=config.max_steps, reward=config.reward, greedy=config.greedy, progress=done,
        )  # fmt: skip
        rollouts, _ = design(sampler, policy, None)
    rollouts = with_outcomes(rollouts, sampler.records, sampler.interner)
    clock = sampler.clock
    made = dataclasses.asdict(config)
    if config.out is not None:
        all_words, names = (sampler.records, sampler.interner), (None, _task_names(sampler.interner))
        kept = names if config.numbers_only else all_words
        write_rollouts(config.out, rollouts, *kept, made)
    summary = summarise(rollouts, history=config.history)
    summary |= {
        "seconds": round(clock.total, 3),
        "steps_per_second": rollouts.n_rows / clock.total,
        "overhead": clock.overhead,
    }
    print(json.dumps({"settings": made, **summary}, indent=2) if config.json else "\n".join(_lines(config, summary)))
    return 0


def _task_names(interner: Interner) -> Interner:
    """What tells the kinds of tasks apart, without a word of what was seen."""
    from llm_bridge.collect.interner import Interner

    return Interner({"task": interner.names()["task"]})


def _imitate(policy: Any, tasks: TextTasks, words: Prompter, config: Config) -> None:
    from creditsim.errors import InputError
    from creditsim.rng import derive_seed
    from llm_bridge.envs.fleet import Fleet
    from llm_bridge.training.config import TextTrainConfig
    from llm_bridge.training.imitation import imitate, solutions

    if not hasattr(policy, "parameters"):
        raise InputError("imitate", config.imitate, f"0 for {config.policy}, which has nothing to learn with")
    how = TextTrainConfig()
    with Fleet(tasks, config.slots, workers=config.workers) as fleet:
        pairs = solutions(
            policy, fleet, words, split=config.split, episodes=config.imitate,
            seed=derive_seed(config.seed, "solutions"), max_steps=config.max_steps,
        )  # fmt: skip
    imitate(
        policy, pairs, epochs=config.imitate_epochs, batch=how.warm_batch, learning_rate=how.warm_learning_rate,
        grad_clip=how.grad_clip, micro_tokens=how.micro_tokens, seed=config.seed,
    )  # fmt: skip


def _lines(config: Config, summary: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{config.policy} on {config.env}, split {config.split}, design {config.design}: "
        f"{summary['episodes']} episodes of {summary['groups']} tasks, {summary['rows']} steps "
        f"in {summary['seconds']:.1f} s"
    )
    level = f"{100 * (1 - summary['alpha']):g} %"
    yield (
        f"success {summary['success']:.3f} [{summary['success_low']:.3f}, {summary['success_high']:.3f}] "
        f"({level}, over tasks), task score {summary['task_score']:.3f}, length {summary['mean_length']:.1f}"
    )
    yield (
        f"well-formed answers {_share(summary['valid'])}, commands accepted {_share(summary['admissible'])}, "
        f"entropy {summary['entropy']:.3f} nats, tokens per step {summary['tokens_per_step']:.1f}"
    )
    for name, mixing in summary["anchors"].items():
        if mixing is not None and mixing["groups"]:
            what = "hidden state" if name == "state" else f"history of {name.removeprefix('history_')}"
            yield (
                f"step groups of two or more: {mixing['groups']} with {_share(mixing['grouped'])} of the rows; "
                f"{_share(mixing['mixed_rows'])} of these rows share a group with another {what}"
            )
    if config.out is not None:
        yield f"stored in {config.out}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
