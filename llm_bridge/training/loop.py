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
from creditsim.errors import CorruptFileError, InputError
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
from llm_bridge.training.export import save_policy
from llm_bridge.training.imitation import imitate, solutions
from llm_bridge.training.planning import at_iteration, loss_of, planned, scheduled
from llm_bridge.training.state import RunState
from llm_bridge.training.step import ModelClock, StepSettings, improve, make_batch

__all__ = ["CONFIG", "LOG", "MODEL", "TABLE", "Run", "policy_of", "read_log", "train_text"]

CONFIG, LOG, TABLE, MODEL = "config.toml", "metrics.jsonl", "metrics.parquet", "model"
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
    found = _look(out, resume)
    tasks = make_tasks(config.env, **env)
    policy, words = policy_of(config, tasks)
    with Fleet(tasks, config.slots, workers=config.workers) as fleet:
        loop = _Loop(config, plan, policy, words, fleet, out, tell)
        if found is not None:
            loop.resume(found)
        loop.settle()
        if found is None:
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
        free = [name for name in _FREE if name != "iterations" or not scheduled(self.plan)]
        config = dataclasses.replace(self.config, **{name: _DEFAULTS[name] for name in free})
        words = json.dumps(sorted(self.policy.language.tokenizer.get_vocab().items()))
        return {"settings": _short(dump(config)), "tokenizer": _short(words)}

    def settle(self) -> None:
        """Make the folder this run's: its settings, and the lines of the log that it goes on from."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in self.log)
        for name, content in ((CONFIG, dump(self.config)), (LOG, text)):
            replace_file(self.folder / name, lambda temporary, told=content: temporary.write_text(told, "utf-8"))

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
        if self._weight("kl_weight") and not (config.policy.lora_rank and not self.warm):
            # An adapter that is still zero needs no copy: with it off the policy is what it is now.
            self.policy.freeze_reference()
        if config.eval_every:
            self._evaluate()
        self._save()

    def resume(self, place: Path) -> None:
        self.state = checkpoints.load(place, self.policy, self.optimiser, self.facts)
        self.log = [line for line in read_log(place.parent / LOG) if line["iteration"] <= self.state.iteration]
        self.warm = next((line["losses"] for line in self.log if line["phase"] == "imitation"), [])

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
        settings = self._settings(update)
        batch = make_batch(rollouts, columns, self.state.records, settings.loss, sequences=config.sequences)
        clock = ModelClock()
        line |= improve(self.policy, self.optimiser, batch, settings, seed=seed, clock=clock)
        line["silent"] = _silent(rollouts, columns["advantage"])
        self.state = self._remembered(number + 1, parts)
        seconds = {
            "policy": sampler.clock.policy, "environment": sampler.clock.environment, "update": clock.seconds,
            "all": time.perf_counter() - began,
        }  # fmt: skip
        rest = 1.0 - (seconds["policy"] + seconds["environment"] + seconds["update"]) / seconds["all"]
        self._note({"iteration": number + 1, "phase": "update", **line, "seconds": seconds, "overhead": rest})
        last = self.state.iteration == config.iterations
        if config.eval_every and (last or self.state.iteration % config.eval_every == 0):
            self._evaluate()
        if last or self.state.iteration % config.checkpoint_every == 0:
            self._save()

    def _remembered(self, iteration: int, parts: dict[str, Any]) -> RunState:
        """What the next iteration needs: ids and texts are kept only where some part remembers rows or ids."""
        if not set(parts) - {"replicate", "seed", "horizon"}:
            return RunState(iteration, parts)
        self.state.records.keep(parts["dfs_column_record"].ravel().tolist() if "dfs_column_record" in parts else [])
        return RunState(iteration, parts, self.state.records, self.state.interner)

    def finish(self) -> Run:
        if self.folder is not None:
            rows = [line for line in self.log if line["phase"] == "update"]
            names = [name for name, value in (rows[0] if rows else {}).items() if isinstance(value, (int, float))]
            table = {name: [row.get(name) for row in rows] for name in names}
            write_parquet(self.folder / TABLE, table, {"schema": "1", "config": dump(self.config)})
            save_policy(self.policy, self.folder / MODEL)
        return Run(self.config, self.policy, self.log, self.warm)

    def _weight(self, name: str) -> float:
        value = self.plan.update.params.get(name, 0.0)
        return float(value) if isinstance(value, (int, float)) else 1.0

    def _settings(self, update: Any) -> StepSettings:
        shared = ("epochs", "minibatches", "kl_weight", "kl", "entropy_weight")
        given = {name: update.params[name] for name in shared if name in update.params}
        return StepSettings(
            loss_of(update, self.steps), **given, grad_clip=self.config.grad_clip,
            micro_tokens=self.config.micro_tokens, minibatch_steps=self.config.minibatch_steps,
        )  # fmt: skip

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

A schedule runs over `iterations`, so with one their number is part of the run."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a run's log; a last line that a kill has torn is left out.

    Errors: CorruptFileError for any other line that is no JSON.
    """
    texts = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            lines += [json.loads(text)] if text else []
        except ValueError:
            if number < len(texts):
                raise CorruptFileError(str(path), f"line {number}", "one JSON object a line") from None
    return lines


def _look(out: Path | None, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any; nothing is written before all else is known to be right."""
    if out is None:
        return None
    if out.exists() and not out.is_dir():
        raise InputError("out", repr(str(out)), "a folder; this is a file")
    found = checkpoints.latest(out)
    if found is not None and not resume:
        raise InputError("out", repr(str(out)), "a new folder, or --resume: this one holds a run")
    return found


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _told(one: Evaluation) -> dict[str, Any]:
    pairs = {kind: list(pair) for kind, pair in one.kinds.items()}
    return {**dataclasses.asdict(one), "kinds": pairs, "won": list(one.won)}


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
