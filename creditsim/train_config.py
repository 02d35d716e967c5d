"""The settings of a training run on tables: one dataclass for Python, the command line and TOML; nothing heavy here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from creditsim.errors import InputError

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """Train tabular policies by a method, many replicates side by side, with the exact return after every update."""

    method: str = "grpo"
    """A method of the catalogue; see `creditsim list methods`."""
    env: str = "chain"
    """An environment, `name` or `name@size`; see `creditsim list environments`."""
    size: Literal["tiny", "small", "large"] = "small"
    """Size of the environment where `env` names none."""
    estimator: str | None = None
    """Another estimator than the method's: name, name@preset or package.module:function."""
    design: str | None = None
    """Another sampling design than the method's."""
    signals: tuple[str, ...] | None = None
    """Other process signals than the method's, in the order they run."""
    update: str | None = None
    """Another update rule than the method's."""
    params: tuple[str, ...] = ()
    """Parameters of parts as part.name=value, a schedule in quotes:
    estimator.gamma=0.9 env.slip=0.1 'update.learning_rate={start=1.0, end=0.1}'."""
    replicates: int = 16
    """Independent runs, side by side."""
    first_replicate: int = 0
    """Number of the first replicate: runs 8 to 15 of 16 are replicates=8, first_replicate=8."""
    updates: int = 50
    """Updates of the policy in each run."""
    groups: int = 4
    """Groups (tasks, start states) in the batch of one update."""
    group_size: int = 8
    """Trajectories in a group."""
    learning_rate: float | None = None
    """Step size of the update rule; default: the method's."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int | None = None
    """Threads to use at most; results do not depend on it. Default: all."""
    transitions: int | None = None
    """Stop earlier, once every run has drawn this many rows; default: make all updates."""

    def check(self) -> None:
        """Raise an InputError for a number that no run can have; names are checked where they are looked up."""
        for name, least in {"replicates": 1, "first_replicate": 0, "updates": 0, "groups": 1, "group_size": 1}.items():
            if getattr(self, name) < least:
                raise InputError(name, getattr(self, name), f"a whole number >= {least}")
        if self.threads is not None and self.threads < 1:
            raise InputError("threads", self.threads, "a whole number >= 1")
        if self.transitions is not None and self.transitions < 1:
            raise InputError("transitions", self.transitions, "a whole number >= 1")
        if not 0 <= self.seed < 2**63:
            raise InputError("seed", self.seed, "0 <= seed < 2^63")
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise InputError("learning_rate", rate, "a finite number > 0")

    def replaced(self, **changes: object) -> TrainConfig:
        """The same settings with some changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType] # checked by `check`
