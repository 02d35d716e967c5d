"""The loop of conservative exploration: episodes one after the other, each policy's exact value against the bar.

It runs the same parts as `train` (a design, a planning update), but counts episodes: the plan is made anew after
episodes 1, 2, 3, ... and, later, whenever their number has grown by the share `growth`, so that a run of 10^5 episodes
plans a few hundred times. Replicates side by side; replicate = batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.exact.dp import objective, optimal, solve
from creditsim.mdp import FixedPolicy, SoftmaxPolicy, TabularMDP, make, with_time
from creditsim.mdp.rows import TablePolicy
from creditsim.methods import METHODS, Use
from creditsim.plan import Plan, check
from creditsim.planning_tables import half_optimal, planning_tables
from creditsim.rng import derive_seed
from creditsim.sampling.table import TableSampler
from creditsim.updates.planning import Model, pessimistic_policy, tally

__all__ = ["ConservativeConfig", "ConservativeRun", "explore", "learn_baseline", "plan_sizes", "planned"]

_TOLERANCE = 1e-9
"""Rounding of an exact value that lies on the bar."""


@dataclass(frozen=True)
class ConservativeConfig:
    """Explore a table under a bar on the expected return, and compare every policy played with that bar, exactly."""

    method: Literal["stepmix", "epsmix", "ucbvi"] = "stepmix"
    """What is played; see `creditsim list methods`."""
    design: str | None = None
    """Another sampling design than the method's: a name, name@preset or package.module:function."""
    env: str = "layered@tiny"
    """An environment, `name@size`, with rewards in [0, 1]."""
    env_params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of the environment over those of its size."""
    replicates: int = 16
    """Independent runs, side by side."""
    first_replicate: int = 0
    """Number of the first replicate."""
    episodes: int = 1000
    """Episodes of each run."""
    growth: float = 0.1
    """Plan anew when the number of episodes has grown by this share; 0: after every episode."""
    kept: float = 0.9
    """The bar: this share of the behaviour's exact value must be kept in every episode."""
    skill: float = 0.5
    """The behaviour takes the optimal action with this probability, else any allowed one."""
    known: bool = False
    """Whether the baseline's value is known; else it too is certified from data."""
    first: Literal["baseline", "optimistic"] = "baseline"
    """Which of the two plays the early steps of a step mixture."""
    delta: float = 0.1
    """Probability with which a bound may ever fail."""
    scale: float = 1.0
    """Factor on every bonus; below 1 the guarantee is no longer proved."""
    data: int | None = None
    """Learn the baseline by pessimistic planning on this many trajectories of the behaviour; None: play it itself."""
    pessimism: float = 1.0
    """Factor on the bonus of that offline planning."""
    seed: int = 0
    """Seed of all random numbers."""
    threads: int | None = None
    """Threads of the sampler; results do not depend on it."""

    def check(self) -> None:
        """Raise an InputError for numbers that no run can have."""
        for name, least in {"replicates": 1, "first_replicate": 0, "episodes": 1}.items():
            if getattr(self, name) < least:
                raise InputError(name, getattr(self, name), f"a whole number >= {least}")
        if self.data is not None and self.data < 1:
            raise InputError("data", self.data, "at least 1 trajectory, or None")
        if not (math.isfinite(self.growth) and self.growth >= 0):
            raise InputError("growth", self.growth, "a number >= 0")
        if self.data is not None and self.known:
            raise InputError("known", self.known, "false where the baseline is learnt from data")
        if not math.isfinite(self.pessimism):
            raise InputError("pessimism", self.pessimism, "a finite number")


@dataclass(frozen=True, eq=False)
class ConservativeRun:
    """What a run left; P plans, each played for a number of episodes, R replicates."""

    config: ConservativeConfig
    mdp: TabularMDP
    episode: np.ndarray
    """(P,) number of the last episode of each plan, from 1."""
    value: np.ndarray
    """(P, R) exact expected return of what was played."""
    optimism: np.ndarray
    """(P, R) share of steps (StepMix) or episodes (EpsMix) given to the optimistic policy."""
    upper: np.ndarray
    """(P, R) optimistic value of the start before each plan; NaN before the first."""
    lower: np.ndarray
    """(P, R, H+1) lower bounds of the candidates behind each plan, likewise."""
    bar: float
    """Threshold on the expected return."""
    optimum: float
    """Exact optimal value."""
    baseline: np.ndarray
    """(R,) exact value of the baseline."""

    @property
    def size(self) -> np.ndarray:
        """(P,) episodes of each plan."""
        return np.diff(self.episode, prepend=0)

    @cached_property
    def regret(self) -> np.ndarray:
        """(P, R) sum over the episodes so far of the optimum less the value of what was played."""
        return np.cumsum(self.size[:, None] * (self.optimum - self.value), axis=0)

    @property
    def violated(self) -> np.ndarray:
        """(P, R) bool: the value of what was played lies below the bar, rounding aside."""
        return self.value < self.bar - _TOLERANCE

    @property
    def violations(self) -> np.ndarray:
        """(R,) episodes with a value below the bar."""
        return self.size @ self.violated

    @property
    def cautious(self) -> np.ndarray:
        """(R,) episodes whose policy was not the optimistic one alone."""
        return self.size @ (self.optimism < 1.0)

    def regret_at(self, episodes: np.ndarray) -> np.ndarray:
        """(K, R) regret after each number of episodes, between two plans exactly linear."""
        ends = np.concatenate([[0], self.episode])
        sums = np.concatenate([np.zeros((1, self.regret.shape[1])), self.regret])
        return np.stack([np.interp(episodes, ends, column) for column in sums.T], axis=1)


def explore(config: ConservativeConfig) -> ConservativeRun:
    """Run a method and return values, regret and mixtures; the same bits for the same config, any threads or chunks.

    Errors come before the first episode: unknown names, numbers out of range, rewards outside [0, 1].
    """
    config.check()
    plan = planned(config)
    mdp = with_time(make(config.env, **config.env_params))
    tables = planning_tables(mdp)
    behaviour = half_optimal(mdp, config.skill)
    reference = solve(mdp, behaviour).j
    state: dict[str, Any] = {
        "replicate": config.first_replicate + np.arange(config.replicates),
        **{name: tables[name]() for name in plan.tables if name not in ("baseline", "baseline_value")},
        "baseline": behaviour,
        "baseline_value": reference,
    }
    model = Model.of(state)
    if config.data is not None:
        state["baseline"] = learn_baseline(config, mdp, model, behaviour)
    learner = TablePolicy(SoftmaxPolicy.uniform(mdp, config.replicates), mdp)
    sizes = plan_sizes(config.episodes, config.growth)
    shape = (sizes.size, config.replicates)
    value, optimism, upper = np.empty(shape), np.empty(shape), np.full(shape, np.nan)
    lower = np.full((*shape, mdp.horizon + 1), np.nan)
    for number, size in enumerate(sizes):
        state["seed"] = derive_seed(config.seed, "episodes", number)
        if "upper" in state:
            upper[number], lower[number] = state["upper"], state["lower"]
        rollouts, state = plan.design(_sampler(config, mdp, state["seed"], int(size)), learner.policy, state)
        both = objective(mdp, state["played"])
        value[number] = state["share"] * both[:, 0] + (1.0 - state["share"]) * both[:, 1]
        optimism[number] = state["optimism"]
        learner, state = plan.update(learner, rollouts, {}, state)
    baseline = np.broadcast_to(objective(mdp, state["baseline"]), config.replicates)
    return ConservativeRun(
        config, mdp, np.cumsum(sizes), value, optimism, upper, lower, config.kept * reference, optimal(mdp).j, baseline
    )


def planned(config: ConservativeConfig) -> Plan:
    """Return the checked parts of a run; errors name unknown methods, designs and numbers out of range."""
    choose("method", config.method, ("stepmix", "epsmix", "ucbvi"))
    method = METHODS[config.method]
    return check(
        method if config.design is None else method.replaced(design=Use(config.design)),
        design={"group_size": 1, "kept": config.kept, "known": config.known},
        update={"delta": config.delta, "scale": config.scale, "first": config.first},
    )


def _sampler(config: ConservativeConfig, mdp: TabularMDP, seed: int, episodes: int) -> TableSampler:
    return TableSampler(
        mdp,
        seed=seed,
        batches=config.replicates,
        groups=episodes,
        first_batch=config.first_replicate,
        threads=config.threads,
    )


def plan_sizes(episodes: int, growth: float) -> np.ndarray:
    """(P,) episodes of each plan: one, or the share `growth` of those before if that is more; `episodes` in all."""
    sizes, done = [], 0
    while done < episodes:
        sizes.append(min(max(1, int(growth * done)), episodes - done))
        done += sizes[-1]
    return np.array(sizes)


def learn_baseline(config: ConservativeConfig, mdp: TabularMDP, model: Model, behaviour: np.ndarray) -> np.ndarray:
    """(R,S,A) each replicate's baseline, by pessimistic planning on `config.data` trajectories of the behaviour."""
    if config.data is None:
        raise InputError("data", None, "a number of trajectories")
    sampler = _sampler(config, mdp, derive_seed(config.seed, "data"), config.data)
    table = np.broadcast_to(behaviour, (config.replicates, *behaviour.shape))
    counts = tally(model, sampler.extend(policy=FixedPolicy(table)), config.replicates)
    return pessimistic_policy(model, counts, delta=config.delta, scale=config.pessimism)
