"""Studies as typed dataclasses, the same for Python, the command line and TOML; nothing heavy is imported here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from creditsim.errors import InputError

__all__ = ["ExplorationStudy", "LearningStudy", "RegretStudy", "Study", "VarianceStudy"]


@dataclass(frozen=True)
class VarianceStudy:
    """Bias, variance and gradients of estimators against exact values, over a grid."""

    name: str = "variance"
    """Name of the study; the settings are kept under it in the output folder."""
    estimators: tuple[str, ...] = ("reinforce", "rloo", "grpo", "gigpo")
    """Estimators: name, name@preset or package.module:function, with parameters as in 'gigpo(step_weight=0.5)'."""
    environments: tuple[str, ...] = ("chain@small",)
    """Environments, with parameters as in 'chain@small(length=4, slip=0.1)'."""
    group_sizes: tuple[int, ...] = (8,)
    """Trajectories in a group."""
    policies: tuple[str, ...] = ("uniform",)
    """Policies: uniform | random:SEED:SCALE | trained:UPDATES:RATE, each with @TEMPERATURE at the end if wanted."""
    horizons: tuple[int, ...] = ()
    """Horizons in steps; none: each environment's own."""
    groups: int = 1
    """Groups (tasks, start states) in a batch; one batch is one replicate."""
    design: str = "independent"
    """Sampling design, with parameters as in 'filtered(tries=3)'."""
    signals: tuple[str, ...] = ()
    """Process signals that make columns some estimators need, in the order they run: oracle_value for gae."""
    by: Literal["state", "time"] = "state"
    """Keys of the table: (state, action), or (step, state, action)."""
    replicates: int = 10_000
    """Batches in a cell; with `precision`, the most."""
    precision: float | None = None
    """Stop once bias and gradient are known this precisely, relative to the exact advantages and gradient."""
    alpha: float = 0.05
    """Error level of every interval."""
    gamma: float | None = None
    """Discount of the exact values; default: the environment's."""
    exact: bool = False
    """Also enumerate the exact moments of the estimator (small environments only)."""
    seed: int = 0
    """Seed of all random numbers; estimators of one setting meet the same rollouts."""

    def check(self) -> None:
        """Raise an InputError for a number that no study can have; names are looked up when cells are made."""
        _check_name(self.name)
        _check_lists(self, ("estimators", "environments", "group_sizes", "policies"))
        for field in ("group_sizes", "horizons"):
            for value in getattr(self, field):
                if value < 1:
                    raise InputError(field, value, "whole numbers >= 1")
        for field in ("groups", "replicates"):
            if getattr(self, field) < 1:
                raise InputError(field, getattr(self, field), "a whole number >= 1")
        if self.replicates > 1 << 31:
            raise InputError("replicates", self.replicates, "at most 2^31")
        if self.precision is not None and not (math.isfinite(self.precision) and self.precision > 0):
            raise InputError("precision", self.precision, "a finite number > 0")
        if not 0.0 < self.alpha <= 0.2:
            raise InputError("alpha", self.alpha, "0 < alpha <= 0.2")
        if self.gamma is not None and not 0.0 <= self.gamma <= 1.0:
            raise InputError("gamma", self.gamma, "0 <= gamma <= 1")
        _check_seed(self.seed)


@dataclass(frozen=True)
class LearningStudy:
    """Exact learning curves of methods, over a grid."""

    name: str = "learning"
    """Name of the study; the settings are kept under it in the output folder."""
    methods: tuple[str, ...] = ("reinforce", "grpo", "gigpo")
    """Methods of the catalogue, with parameters of their parts as in 'gigpo(estimator.gamma=0.9)'."""
    environments: tuple[str, ...] = ("chain@small",)
    """Environments, with parameters as in 'chain@small(length=4, slip=0.1)'."""
    group_sizes: tuple[int, ...] = (8,)
    """Trajectories in a group."""
    learning_rates: tuple[float, ...] = ()
    """Step sizes of the update rule; none: each method's own."""
    groups: int = 4
    """Groups (tasks, start states) in the batch of one update."""
    updates: int = 50
    """Updates of the policy in each run."""
    replicates: int = 16
    """Independent runs (seeds) in a cell, side by side."""
    alpha: float = 0.05
    """Error level of every interval."""
    seed: int = 0
    """Seed of all random numbers."""

    def check(self) -> None:
        """Raise an InputError for a number that no study can have; names are looked up when cells are made."""
        _check_name(self.name)
        _check_lists(self, ("methods", "environments", "group_sizes"))
        for value in self.group_sizes:
            if value < 1:
                raise InputError("group_sizes", value, "whole numbers >= 1")
        for rate in self.learning_rates:
            if not (math.isfinite(rate) and rate > 0):
                raise InputError("learning_rates", rate, "finite numbers > 0")
        for field, least in {"groups": 1, "updates": 0, "replicates": 1}.items():
            if getattr(self, field) < least:
                raise InputError(field, getattr(self, field), f"a whole number >= {least}")
        if not 0.0 < self.alpha < 1.0:
            raise InputError("alpha", self.alpha, "0 < alpha < 1")
        _check_seed(self.seed)


@dataclass(frozen=True)
class RegretStudy:
    """Regret and waste of allocation rules on bandits, over a grid, with bands, lock-in and the law of growth."""

    name: str = "regret"
    """Name of the study; the settings are kept under it in the output folder."""
    rules: tuple[str, ...] = ("3spo_proportional", "ucb1", "kl_ucb", "thompson")
    """Allocation rules: name or name@preset, with parameters as in '3spo_proportional(alpha=10)'."""
    bandits: tuple[str, ...] = ("bernoulli(p=[0.3, 0.5])",)
    """Bandits: bernoulli(p=[...]) | gaussian(mean=[...], deviation=1.0) | drifting(p=[...], final=[...], over=1000)."""
    objective: Literal["max", "min"] = "min"
    """Which arm should get the pulls: the one that succeeds least (3SPO's target), or most."""
    feedback: Literal["bandit", "full"] = "bandit"
    """Whether a pull shows its arm alone, or every decision shows all arms."""
    horizon: int = 10_000
    """Pulls of a replication."""
    initial_pulls: int | None = None
    """Pulls of each arm to begin with; default: what the rule needs."""
    replications: int = 1000
    """Independent runs in a cell."""
    alpha: float = 0.05
    """Error level of every interval, and of each band as a whole."""
    seed: int = 0
    """Seed of all random numbers."""

    def check(self) -> None:
        """Raise an InputError for a number that no study can have; names are looked up when cells are made."""
        _check_name(self.name)
        _check_lists(self, ("rules", "bandits"))
        for field, least in {"horizon": 2, "replications": 2}.items():
            if getattr(self, field) < least:
                raise InputError(field, getattr(self, field), f"a whole number >= {least}")
        if not 0.0 < self.alpha < 1.0:
            raise InputError("alpha", self.alpha, "0 < alpha < 1")
        _check_seed(self.seed)


@dataclass(frozen=True)
class ExplorationStudy:
    """Conservative exploration under a bar on the expected return: exact regret and violated episodes, over a grid."""

    name: str = "exploration"
    """Name of the study; the settings are kept under it in the output folder."""
    methods: tuple[str, ...] = ("stepmix", "epsmix", "ucbvi")
    """stepmix | epsmix | ucbvi, with settings as in 'stepmix(known=true)': known, first, data, pessimism, delta,
    growth."""
    environments: tuple[str, ...] = ("layered@tiny",)
    """Environments with rewards in [0, 1], with parameters as in 'layered@tiny(width=3)'."""
    kept: tuple[float, ...] = (0.9,)
    """Bars: the share of the behaviour's exact value that every episode's policy must keep."""
    scales: tuple[float, ...] = (1.0,)
    """Factors on every bonus; below 1 the guarantee is no longer proved."""
    skill: float = 0.5
    """The behaviour takes the optimal action with this probability, else any allowed one."""
    episodes: int = 1000
    """Episodes of each run."""
    replicates: int = 16
    """Independent runs in a cell, side by side."""
    alpha: float = 0.05
    """Error level of every interval."""
    seed: int = 0
    """Seed of all random numbers."""

    def check(self) -> None:
        """Raise an InputError for a number that no study can have; names are looked up when cells are made."""
        _check_name(self.name)
        _check_lists(self, ("methods", "environments", "kept", "scales"))
        if not 0.0 < self.alpha < 1.0:
            raise InputError("alpha", self.alpha, "0 < alpha < 1")
        if self.replicates < 2:
            raise InputError("replicates", self.replicates, "a whole number >= 2")
        _check_seed(self.seed)


Study = VarianceStudy | LearningStudy | RegretStudy | ExplorationStudy


def _check_name(name: str) -> None:
    # It becomes a file name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise InputError("name", repr(name), "1 to 64 letters, digits, '.', '_' and '-', the first a letter or digit")


def _check_lists(study: object, fields: tuple[str, ...]) -> None:
    for field in fields:
        if not getattr(study, field):
            raise InputError(field, "none", "at least one")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 1 << 63:
        raise InputError("seed", seed, "0 <= seed < 2^63")
