"""The loop on text: design, signals, estimator and loss, the same parts as on tables, with checkpoints and a log."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditsim.configs import dump
from creditsim.errors import InputError
from creditsim.estimators.base import Pairs, credit
from creditsim.plan import Plan
from creditsim.rng import derive_seed
from creditsim.rollouts import Rollouts
from creditsim.store import replace_file, write_parquet
from creditsim.updates.base import row_weight
from llm_bridge.assemble import make_wording, prompter
from llm_bridge.collect.records import with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.collect.transcripts import transcripts
from llm_bridge.collect.walk import Prompter
from llm_bridge.envs.base import TextTasks, make_tasks
from llm_bridge.envs.fleet import Fleet
from llm_bridge.policies.make import make_policy
from llm_bridge.training import state as checkpoints
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.evaluate import Evaluation, evaluate
from llm_bridge.training.imitation import imitate, solutions
from llm_bridge.training.planning import at_iteration, loss_of, planned
from llm_bridge.training.state import RunState
from llm_bridge.training.step import StepSettings, improve, make_batch

__all__ = ["CONFIG", "LOG", "Run", "policy_of", "train_text"]

CONFIG, LOG, TABLE = "config.toml", "metrics.jsonl", "metrics.parquet"
Tell = Callable[[Mapping[str, Any]], object]
Bar = Callable[[Iterable[int]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left: the policy in its last state, the lines of its log, and its evaluations by iteration."""

    config: TextTrainConfig
    policy: Any
    log: list[dict[str, Any]]
    warm_losses: list[float]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """Lines of the log that hold an evaluation."""
        return [line for line in self.log if "evaluation" in line]


def policy_of(config: TextTrainConfig, tasks: TextTasks) -> tuple[Any, Prompter]:
    """The policy that a run begins with, before any imitation, and how it is shown a step."""
    wording = make_wording(tasks, config.policy.kind, history=config.history, style=config.style)
    made_here = not Path(config.policy.model).is_dir()
    texts = transcripts(tasks, wording, seed=config.seed, split=config.split) if made_here else []
    return make_policy(config.policy, texts), prompter(wording)


def train_text(
    config: TextTrainConfig,
    out: Path | None = None,
    *,
    resume: bool = False,
    tell: Tell = lambda line: None,
    progress: Bar = iter,
) -> Run:
    """Train as the config says; with `out`, keep settings, log and checkpoints there, and go on from them if asked.

    One iteration is what `creditsim.train` does on tables: the design draws through `extend`, signals add columns, the
    estimator gives credit, the rule's loss moves the policy. All random numbers are named by (seed, iteration,
    episode, step, draw), so a run that was killed and resumed has the weights of one that was not. Errors: those of
    `planned`, before anything is drawn; InputError for a folder that holds another run; NumericalError for numbers
    that are not finite, after which the last checkpoint is whole.
    """
    plan, env = planned(config)
    folder = _folder(out, config, resume)
    tasks = make_tasks(config.env, **env)
    policy, words = policy_of(config, tasks)
    with Fleet(tasks, config.slots, workers=config.workers) as fleet:
        loop = _Loop(config, plan, policy, words, fleet, folder, tell)
        found = checkpoints.latest(folder) if folder is not None and resume else None
        if found is not None:
            loop.resume(found)
        else:
            loop.begin(progress)
        for _ in progress(range(loop.state.iteration, config.iterations)):
            loop.iterate()
        return loop.finish()


class _Loop:
    """One run while it goes on."""

    def __init__(
        self,
        config: TextTrainConfig,
        plan: Plan,
        policy: Any,
        words: Prompter,
        fleet: Fleet,
        folder: Path | None,
        tell: Tell,
    ) -> None:
        self.config, self.plan, self.policy, self.words = config, plan, policy, words
        self.fleet, self.folder, self.tell = fleet, folder, tell
        self.state, self.log, self.warm = RunState(), list[dict[str, Any]](), list[float]()
        self.steps = fleet.tasks.max_steps if config.max_steps is None else config.max_steps
        self.optimiser = torch.optim.AdamW(
            policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a resumed run must share with the one that was killed."""
        config = dataclasses.replace(self.config, **{name: _DEFAULTS[name] for name in _FREE})
        return {"settings": hashlib.sha256(dump(config).encode()).hexdigest()[:16]}

    def begin(self, progress: Bar) -> None:
        config = self.config
        if config.warm_episodes and config.warm_epochs:
            pairs = solutions(
                self.policy, self.fleet, self.words, split=config.split, episodes=config.warm_episodes,
                seed=derive_seed(config.seed, "solutions"), max_steps=config.max_steps,
            )  # fmt: skip
            self.warm = imitate(
                self.policy, pairs, epochs=config.warm_epochs, batch=config.warm_batch,
                learning_rate=config.warm_learning_rate, grad_clip=config.grad_clip,
                micro_tokens=config.micro_tokens, seed=config.seed, progress=progress,
            )  # fmt: skip
            self._note({"iteration": 0, "phase": "imitation", "losses": self.warm, "steps": len(pairs)})
        if self._weight("kl_weight") and not config.policy.lora_rank:
            self.policy.freeze_reference()
        if config.eval_every:
            self._evaluate()
        self._save()

    def resume(self, place: Path) -> None:
        self.state = checkpoints.load(place, self.policy, self.optimiser, self.facts)
        if self.folder is not None and (self.folder / LOG).exists():
            lines = (self.folder / LOG).read_text(encoding="utf-8").splitlines()
            self.log = [line for line in map(json.loads, lines) if line["iteration"] <= self.state.iteration]
            self.warm = next((line["losses"] for line in self.log if line["phase"] == "imitation"), [])
            text = "".join(json.dumps(line) + "\n" for line in self.log)
            replace_file(self.folder / LOG, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def iterate(self) -> None:
        config, began = self.config, time.perf_counter()
        number = self.state.iteration
        seed = derive_seed(config.seed, "iteration", number)
        sampler = TextSampler(
            self.fleet, self.words, split=config.split, seed=seed, groups=config.groups, max_steps=config.max_steps,
            reward=config.reward, records=self.state.records, interner=self.state.interner,
        )  # fmt: skip
        parts = {**self.state.parts, "replicate": np.zeros(1, np.int64), "seed": seed, "horizon": self.steps}
        rollouts, parts = at_iteration(self.plan.design, number, config.iterations)(sampler, self.policy, parts)
        parts = dict(parts or {})
        rollouts = with_outcomes(rollouts, self.state.records, self.state.interner)
        line = _collected(rollouts)
        if config.invalid_penalty:
            rollouts = rollouts.with_columns(
                reward=rollouts.reward - config.invalid_penalty * ~rollouts.columns["valid"].astype(bool)
            )
        for bound in self.plan.signals:
            columns, parts = at_iteration(bound, number, config.iterations)(rollouts, parts)
            rollouts = rollouts.with_columns(**columns)
        result = credit(rollouts, at_iteration(self.plan.estimator, number, config.iterations))
        columns = {"advantage": result.advantage(rollouts)} if isinstance(result, Pairs) else dict(result)
        update = at_iteration(self.plan.update, number, config.iterations)
        learning = time.perf_counter()
        settings = self._settings(update)
        batch = make_batch(rollouts, columns, self.state.records, settings.loss, sequences=config.sequences)
        line |= improve(self.policy, self.optimiser, batch, settings, seed=seed)
        now = time.perf_counter()
        line["silent"] = _silent(rollouts, columns["advantage"])
        line["seconds"] = {
            "policy": sampler.clock.policy, "environment": sampler.clock.environment, "update": now - learning,
            "all": now - began,
        }  # fmt: skip
        known = sum(line["seconds"][name] for name in ("policy", "environment", "update"))
        line["overhead"] = 1.0 - known / line["seconds"]["all"]
        self.state.records.keep(parts["dfs_column_record"].ravel().tolist() if "dfs_column_record" in parts else [])
        self.state = RunState(number + 1, parts, self.state.records, self.state.interner)
        self._note({"iteration": number + 1, "phase": "update", **line})
        last = self.state.iteration == config.iterations
        if config.eval_every and (last or self.state.iteration % config.eval_every == 0):
            self._evaluate()
        if last or self.state.iteration % config.checkpoint_every == 0:
            self._save()

    def finish(self) -> Run:
        if self.folder is not None:
            rows = [line for line in self.log if line["phase"] == "update"]
            names = [name for name, value in (rows[0] if rows else {}).items() if isinstance(value, (int, float))]
            table = {name: [row.get(name) for row in rows] for name in names}
            write_parquet(self.folder / TABLE, table, {"schema": "1", "config": dump(self.config)})
        return Run(self.config, self.policy, self.log, self.warm)

    def _weight(self, name: str) -> float:
        value = self.plan.update.params.get(name, 0.0)
        return float(value) if isinstance(value, (int, float)) else 1.0

    def _settings(self, update: Any) -> StepSettings:
        shared = ("epochs", "minibatches", "kl_weight", "kl", "entropy_weight")
        given = {name: update.params[name] for name in shared if name in update.params}
        return StepSettings(
            loss_of(update, self.steps), **given, grad_clip=self.config.grad_clip, micro_tokens=self.config.micro_tokens
        )

    def _evaluate(self) -> None:
        config = self.config
        found = evaluate(
            self.policy, self.fleet, self.words, splits=config.eval_splits, tasks=config.eval_tasks,
            max_steps=config.max_steps, temperature=config.eval_temperature,
            seed=derive_seed(config.seed, "evaluation"),
        )  # fmt: skip
        self._note({
            "iteration": self.state.iteration, "phase": "evaluation",
            "evaluation": {one.split: _told(one) for one in found},
        })  # fmt: skip

    def _save(self) -> None:
        if self.folder is not None:
            checkpoints.save(self.folder, self.state, self.policy, self.optimiser, self.facts, self.config.keep)

    def _note(self, line: dict[str, Any]) -> None:
        self.log.append(line)
        self.tell(line)
        if self.folder is not None:
            with (self.folder / LOG).open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(line) + "\n")
                handle.flush()
                os.fsync(handle.fileno())


_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TextTrainConfig)}
_FREE = ("iterations", "keep", "checkpoint_every", "slots", "workers")
"""Settings that a resumed run may change: none of them changes what an iteration does.

A schedule runs over `iterations`, so with one the number is part of the run."""


def _folder(out: Path | None, config: TextTrainConfig, resume: bool) -> Path | None:
    if out is None:
        return None
    if out.exists() and not out.is_dir():
        raise InputError("out", repr(str(out)), "a folder; this is a file")
    if not resume and out.exists() and checkpoints.latest(out) is not None:
        raise InputError("out", repr(str(out)), "a new folder, or --resume: this one holds a run")
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        (out / LOG).unlink(missing_ok=True)
    replace_file(out / CONFIG, lambda temporary: temporary.write_text(dump(config), encoding="utf-8"))
    return out


def _told(one: Evaluation) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "kinds": {kind: list(pair) for kind, pair in one.kinds.items()}}


def _collected(rollouts: Rollouts) -> dict[str, Any]:
    """Numbers of the rollouts of one iteration; of a tree that grows, those of the paths that ended."""
    won = rollouts.trajectory_columns["success"]
    chosen = rollouts.trajectory_columns.get("ended", rollouts.parent < 0)
    fresh = row_weight(rollouts) > 0
    mean: Callable[[np.ndarray], float | None] = lambda x: float(x.mean()) if x.size else None  # noqa: E731
    return {
        "success": mean(won[chosen]),
        "score": mean(rollouts.trajectory_columns["task_score"][chosen]),
        "episodes": int(chosen.sum()),
        "rows": int(fresh.sum()),
        "reward": mean(rollouts.reward[fresh]),
        "valid": mean(rollouts.columns["valid"][fresh].astype(float)),
        "accepted": mean(rollouts.columns["admissible"][fresh].astype(float)),
        "tokens": int(rollouts.columns["tokens"][fresh].sum()),
    }


def _silent(rollouts: Rollouts, advantage: np.ndarray) -> float:
    live = np.asarray(advantage)[row_weight(rollouts) > 0]
    return float((live == 0).mean()) if live.size else 1.0
