"""The loop that runs a method on tables: design, signals, estimator, update, and the exact return after every update.

Replicates run side by side: replicate = batch of the rollouts = first axis of the parameters and of every array in the
state, which this loop owns. Entries it makes: `replicate` (R,) the replicates' numbers, `seed` of the update at hand,
`horizon` the most rows of an episode, and the tables that signals ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.configs import parse_value
from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.estimators.base import Pairs, credit
from creditsim.exact.dp import objective, optimal, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make, with_time
from creditsim.mdp.rows import TablePolicy
from creditsim.methods import METHODS, Method, Use
from creditsim.plan import Plan, check
from creditsim.planning_tables import planning_tables
from creditsim.registry import Bound, parse_spec
from creditsim.rng import derive_seed
from creditsim.rollouts import Rollouts
from creditsim.sampling.table import TableSampler
from creditsim.sampling.tables import most_rows
from creditsim.schedules import as_schedule, resolve
from creditsim.segments import segment_sum
from creditsim.train_config import TrainConfig
from creditsim.updates.base import row_weight

__all__ = ["TrainConfig", "TrainResult", "planned", "signal_tables", "train"]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a run left: exact and sampled curves, and the policies it ended with; U updates made, R replicates."""

    config: TrainConfig
    plan: Plan
    mdp: TabularMDP
    j: np.ndarray
    """(U+1, R) exact return of each policy, before the first update and after each."""
    optimum: float
    """Exact return of the best policy that sees the hidden state and the step; under aliasing out of reach."""
    mean_return: np.ndarray
    """(U, R) mean undiscounted return of the trajectories that the design kept for each update; of a tree that grows
    over the updates, of the paths that ended in this one, NaN where none did."""
    success: np.ndarray
    """(U, R) share of those trajectories whose return is positive; trajectory column `success` where there is one."""
    generated: np.ndarray
    """(U, R) int64 rows drawn for each update, dropped ones included."""
    silent: np.ndarray
    """(U, R) share of the rows with weight whose advantage is 0; 1 where there is no such row."""
    met: np.ndarray
    """(U, R) int64 distinct hidden states that kept rows have been in or led to, up to each update."""
    theta: np.ndarray
    """(R, P) parameters in the end."""


def train(config: TrainConfig, *, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> TrainResult:
    """Run a method from the uniform softmax policy and return its curves; the same bits for the same config.

    A replicate's numbers depend on its number and the seed, not on which replicates run beside it nor on threads.
    `progress` wraps the range of updates. Errors come before the first rollout: unknown names and parameters, numbers
    out of range, parts that do not fit each other.
    """
    config.check()
    plan, env_params = planned(config)
    env = config.env if "@" in config.env else f"{config.env}@{config.size}"
    mdp = make(env, **env_params)
    mdp = with_time(mdp) if plan.method.timed else mdp
    learner = TablePolicy(SoftmaxPolicy.uniform(mdp, config.replicates), mdp)
    j = np.empty((config.updates + 1, config.replicates))
    j[0] = objective(mdp, learner.table)
    mean_return, success, silent = np.empty((3, config.updates, config.replicates))
    generated, met = np.empty((2, config.updates, config.replicates), np.int64)
    seen = np.zeros((config.replicates, mdp.n_states), bool)
    state: dict[str, Any] = {
        "replicate": config.first_replicate + np.arange(config.replicates),
        "horizon": most_rows(mdp),
    }
    for number in progress(range(config.updates)):
        rollouts, state = _sample(config, plan, number, learner, state)
        mean_return[number], success[number] = _sampled(rollouts, config.replicates)
        generated[number] = _drawn(rollouts, config.replicates)
        for name in ("state", "next_state"):
            seen[rollouts.batch_rows, rollouts.columns[name]] = True
        met[number] = seen.sum(axis=1)
        learner, state, silent[number] = _improve(config, plan, number, learner, rollouts, state)
        j[number + 1] = objective(mdp, learner.table)
        if config.transitions is not None and (generated[: number + 1].sum(axis=0) >= config.transitions).all():
            made = number + 1
            j, mean_return, success = j[: made + 1], mean_return[:made], success[:made]
            generated, silent, met = generated[:made], silent[:made], met[:made]
            break
    curves = (j, optimal(mdp).j, mean_return, success, generated, silent, met)
    return TrainResult(config, plan, mdp, *curves, learner.theta)


def _sample(
    config: TrainConfig, plan: Plan, number: int, learner: TablePolicy, state: dict[str, Any]
) -> tuple[Rollouts, dict[str, Any]]:
    """Draw the rollouts of one update, and put into the state what belongs to this update."""
    seed = derive_seed(config.seed, "update", number)
    state = {**state, "seed": seed, **signal_tables(plan.tables, learner)}
    sampler = TableSampler(
        learner.mdp,
        seed=seed,
        batches=config.replicates,
        groups=config.groups,
        first_batch=config.first_replicate,
        threads=config.threads,
        record=plan.record,
    )
    return _at(plan.design, config, number)(sampler, learner.policy, state)


def _improve(
    config: TrainConfig, plan: Plan, number: int, learner: TablePolicy, rollouts: Rollouts, state: dict[str, Any]
) -> tuple[TablePolicy, dict[str, Any], np.ndarray]:
    """Signals, estimator and update rule, in this order; and the share of rows (R,) without credit."""
    for bound in plan.signals:
        columns, state = _at(bound, config, number)(rollouts, state)
        rollouts = rollouts.with_columns(**columns)
    result = credit(rollouts, _at(plan.estimator, config, number))
    columns = {"advantage": result.advantage(rollouts)} if isinstance(result, Pairs) else result
    live = row_weight(rollouts) > 0
    batch, quiet = rollouts.batch_rows[live], np.asarray(columns["advantage"])[live] == 0
    rows = np.bincount(batch, minlength=config.replicates)
    silent = np.where(rows > 0, np.bincount(batch, quiet, config.replicates) / np.maximum(rows, 1), 1.0)
    return *_at(plan.update, config, number)(learner, rollouts, columns, state), silent


def _at(bound: Bound, config: TrainConfig, number: int) -> Bound:
    """The part with its schedules resolved for one update."""
    return bound.part.bind(None, **resolve(bound.params, number, config.updates))


def signal_tables(names: Iterable[str], learner: TablePolicy) -> dict[str, np.ndarray]:
    """The tables that parts ask for, by name; see `creditsim.signals.base.signal` and `planning_tables`."""
    mdp = learner.mdp
    make_table: dict[str, Callable[[], np.ndarray]] = {
        "context_of_state": lambda: mdp.context,
        "observation_of_state": lambda: mdp.observation,
        "oracle_value": lambda: np.stack([solve(mdp, pi).value for pi in learner.table]),
        "valid_action": lambda: _acts(mdp),
        **planning_tables(mdp),
    }
    return {name: make_table[name]() for name in names}


def _acts(mdp: TabularMDP) -> np.ndarray:
    """(S, A) bool: False where an action surely leaves the state as it is and pays nothing."""
    possible = mdp.probability > 0
    stays = (mdp.successor == np.arange(mdp.n_states)[:, None, None]) & (mdp.scalar_reward == 0)
    return (possible & ~stays).any(axis=-1)


def _sampled(rollouts: Rollouts, replicates: int) -> tuple[np.ndarray, np.ndarray]:
    """(R,) mean return and (R,) share of successes of the trajectories of each batch, branches left out.

    Where a design says which paths of its tree ended, theirs; NaN where none did.
    """
    ends = "ended" in rollouts.trajectory_columns
    chosen = rollouts.trajectory_columns["ended"] if ends else rollouts.parent < 0
    score = segment_sum(rollouts.reward, rollouts.trajectory, rollouts.n_trajectories)[chosen]
    at = rollouts.parent[chosen]
    while (at >= 0).any():
        score = score + np.where(at >= 0, rollouts.reward[at], 0.0)
        at = np.where(at >= 0, rollouts.previous[at], -1)
    won = rollouts.trajectory_columns["success"][chosen] if "success" in rollouts.trajectory_columns else score > 0
    batch = rollouts.batch[chosen]
    count = np.bincount(batch, minlength=replicates).astype(float)
    count[count == 0] = np.nan if ends else 1.0
    total = np.bincount(batch, weights=score, minlength=replicates)
    wins = np.bincount(batch, weights=np.asarray(won, float), minlength=replicates)
    return total / count, wins / count


def _drawn(rollouts: Rollouts, replicates: int) -> np.ndarray:
    """(R,) rows drawn for each batch: those told by column `generated_rows`, or those that are there."""
    if "generated_rows" not in rollouts.trajectory_columns:
        return np.bincount(rollouts.batch_rows, minlength=replicates)
    first = np.unique(rollouts.group, return_index=True)[1]
    drawn = rollouts.trajectory_columns["generated_rows"][first]
    return np.bincount(rollouts.batch[first], drawn, replicates).astype(np.int64)


def planned(config: TrainConfig) -> tuple[Plan, dict[str, Any]]:
    """Return the checked plan of a config, and the parameters it gives to the environment."""
    method = _overridden(METHODS[config.method], config)
    params = _params(config, method)
    env_params = params.pop("env", {})
    params.setdefault("design", {}).setdefault("group_size", config.group_size)
    if config.learning_rate is not None:
        params.setdefault("update", {}).setdefault("learning_rate", config.learning_rate)
    return check(method, **params), env_params


def _overridden(method: Method, config: TrainConfig) -> Method:
    parts: dict[str, Any] = {}
    for kind in ("design", "estimator", "update"):
        spec = getattr(config, kind)
        if spec is not None:
            parts[kind] = _use(spec, getattr(method, kind))
    if config.signals is not None:
        parts["signals"] = tuple(Use(spec) for spec in config.signals)
    return method.replaced(**parts)


def _use(spec: str, own: Use) -> Use:
    # The method's own parameters go on to hold for the same part under another preset, not for another part.
    same = parse_spec(spec)[0] == parse_spec(own.spec)[0]
    return Use(spec, own.params if same and parse_spec(spec)[1] is None else {})


def _params(config: TrainConfig, method: Method) -> dict[str, dict[str, Any]]:
    """Read `part.name=value` strings into parameters by part."""
    parts = ["env", "design", "estimator", "update", *(parse_spec(use.spec)[0] for use in method.signals)]
    out: dict[str, dict[str, Any]] = {}
    for text in config.params:
        left, equals, right = text.partition("=")
        part, dot, name = left.strip().partition(".")
        if not (equals and dot and name and right.strip()):
            raise InputError("params", repr(text), "part.name=value, as in estimator.gamma=0.9")
        if part not in parts:
            raise UnknownNameError(
                "params", repr(text), " | ".join(f"{p}.name=value" for p in parts), nearest(part, parts)
            )
        field = f"params {part}.{name}"
        out.setdefault(part, {})[name] = as_schedule(parse_value(right.strip(), field), field)
    return out
