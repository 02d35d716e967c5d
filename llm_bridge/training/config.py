"""The settings of a training run on text: one dataclass for Python, the command line and TOML; nothing heavy here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from creditsim.errors import InputError
from llm_bridge.policies.config import PolicyConfig

__all__ = ["TextTrainConfig"]


@dataclass(frozen=True)
class TextTrainConfig:
    """Train a transformers policy on a text environment: imitation of its solutions, then any registered method."""

    method: str = "gigpo"
    """A method of the catalogue; see `creditsim list methods`."""
    env: str = "alfworld@easy"
    """A text environment, `name` or `name@preset`."""
    split: str = "train"
    """Split of the tasks that are trained on."""
    estimator: str | None = None
    """Another estimator than the method's: name, name@preset or package.module:function."""
    design: str | None = None
    """Another sampling design than the method's."""
    update: str | None = None
    """Another update rule than the method's: surrogate or reinforce, the rules with a loss on log-probabilities."""
    params: tuple[str, ...] = ()
    """Parameters of parts as part.name=value: env.n_goals=50 estimator.gamma=0.9 update.loss=ppo@dapo."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """Model and how it acts."""
    iterations: int = 20
    """Updates of the policy by the method."""
    groups: int = 4
    """Tasks in the batch of one update."""
    group_size: int = 8
    """Episodes of each task."""
    max_steps: int | None = None
    """Steps after which an episode is cut; default: the environment's own."""
    reward: Literal["environment", "published", "score"] = "published"
    """Column `reward`: the environment's own, the published unit at a win, or the task score at the end."""
    invalid_penalty: float = 0.0
    """Taken from the reward of a step whose answer has not the format asked for."""
    history: int = 2
    """Turns of the past in the prompt."""
    style: Literal["full", "compact"] = "compact"
    """Wording of the prompt."""
    learning_rate: float = 1e-3
    """Step size of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    grad_clip: float = 1.0
    """Largest length of a gradient; longer ones are scaled down."""
    sequences: Literal["step", "trajectory"] = "step"
    """What the loss takes for a sequence: each step's answer, as published agent code, or the whole trajectory."""
    minibatch_steps: int | None = None
    """Sequences of the loss in a gradient step; default: the update rule's `minibatches` parts of the batch."""
    micro_tokens: int = 16384
    """Tokens of one forward and backward pass: larger batches are accumulated."""
    warm_episodes: int = 0
    """Solutions imitated before the first update; 0: none."""
    warm_epochs: int = 3
    """Passes over them."""
    warm_batch: int = 64
    """Steps in a batch of imitation."""
    warm_learning_rate: float = 3e-3
    """Step size of AdamW while imitating."""
    eval_every: int = 5
    """Evaluate after every so many updates, before the first and after the last; 0: never."""
    eval_splits: tuple[str, ...] = ("valid_seen",)
    """Splits that are evaluated on."""
    eval_tasks: int = 64
    """Tasks of each split, one episode each."""
    eval_temperature: float | None = None
    """Temperature of evaluation; default: the likeliest answer."""
    checkpoint_every: int = 5
    """Store everything after every so many updates and after the last."""
    keep: int = 2
    """Checkpoints kept; older ones are removed."""
    slots: int = 64
    """Environments side by side."""
    workers: int = 0
    """Processes that hold the environments; 0: this one. Results do not depend on it."""
    seed: int = 0
    """Seed of all random numbers."""

    def check(self) -> None:
        """Raise an InputError for a number that no run can have; names are looked up when the run is planned."""
        whole = {
            "iterations": 0, "groups": 1, "group_size": 1, "history": 0, "micro_tokens": 1, "warm_episodes": 0,
            "warm_epochs": 0, "warm_batch": 1, "eval_every": 0, "eval_tasks": 1, "checkpoint_every": 1, "keep": 1,
            "slots": 1, "workers": 0,
        }  # fmt: skip
        for name, least in whole.items():
            if getattr(self, name) < least:
                raise InputError(name, getattr(self, name), f"a whole number >= {least}")
        for name in ("max_steps", "minibatch_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "a whole number >= 1")
        for name in ("learning_rate", "warm_learning_rate", "grad_clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(name, getattr(self, name), "a finite number > 0")
        for name in ("weight_decay", "invalid_penalty"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(name, getattr(self, name), "a finite number >= 0")
        if self.eval_temperature is not None and not self.eval_temperature > 0:
            raise InputError("eval_temperature", self.eval_temperature, "a number > 0")
        if not 0 <= self.seed < 2**63:
            raise InputError("seed", self.seed, "0 <= seed < 2^63")
