"""How often a policy wins tasks it is tested on, with an interval, over all and by kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.stats.intervals import Interval, proportion_interval, t_interval
from llm_bridge.collect.records import with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.collect.walk import Prompter
from llm_bridge.envs.fleet import Fleet

__all__ = ["Evaluation", "evaluate", "gain"]


@dataclass(frozen=True)
class Evaluation:
    """One split: `success` with its Clopper-Pearson interval, mean task score and length, wins and tasks by kind.

    `won` tells each task in the split's order, 1 or 0, so that two evaluations can be compared task by task.
    """

    split: str
    tasks: int
    success: float
    low: float
    high: float
    alpha: float
    score: float
    steps: float
    well_formed: float
    kinds: dict[str, tuple[int, int]]
    won: tuple[int, ...]


def evaluate(
    policy: Any,
    fleet: Fleet,
    prompter: Prompter,
    *,
    splits: Sequence[str],
    tasks: int,
    max_steps: int | None = None,
    temperature: float | None = None,
    alpha: float = 0.05,
    seed: int = 0,
    progress: Any = None,
) -> list[Evaluation]:
    """Play one episode of each of the first `tasks` tasks of every split, by the likeliest answer or at `temperature`.

    Tasks are independent trials, so the interval is exact binomial at level `alpha`. Errors: InputError for a split
    that is not there.
    """
    there = fleet.tasks.splits()
    found = []
    for split in splits:
        names = list(there[choose("split", split, there)])[:tasks]
        sampler = TextSampler(
            fleet, prompter, tasks=names, seed=seed, groups=len(names), max_steps=max_steps, shuffle=False,
            greedy=temperature is None, progress=progress,
        )  # fmt: skip
        with _at(policy, temperature):
            rollouts = with_outcomes(sampler.extend(policy=policy), sampler.records, sampler.interner)
        won, score = (rollouts.trajectory_columns[name] for name in ("success", "task_score"))
        kinds = np.array([fleet.tasks.kind(name) for name in names])
        interval = proportion_interval(np.array(int(won.sum())), np.array(won.size), alpha=alpha)
        found.append(Evaluation(
            split, won.size, float(won.mean()), float(interval.low), float(interval.high), alpha, float(score.mean()),
            float(rollouts.length.mean()), float(rollouts.columns["valid"].mean()),
            {str(kind): (int(won[kinds == kind].sum()), int((kinds == kind).sum())) for kind in np.unique(kinds)},
            tuple(int(each) for each in won),
        ))  # fmt: skip
    return found


def gain(before: Sequence[int], after: Sequence[int], *, alpha: float = 0.05) -> Interval:
    """The change of success from one evaluation to another on the same tasks: a paired t interval at level `alpha`.

    Where all tasks changed alike, the spread seen is 0 and a t interval would claim certainty: then at most a share u
    changed otherwise, u the Clopper-Pearson bound for none of n, by at most 1 + |change| each.
    """
    if len(before) != len(after):
        raise InputError("evaluations", f"{len(before)} and {len(after)} tasks", "the same tasks in both")
    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    n, mean = np.array(change.size), change.mean()
    if change.size and np.ptp(change) == 0:
        most = float(proportion_interval(np.array(0), n, alpha=alpha).high) * (1.0 + abs(mean))
        low, high = np.array(max(mean - most, -1.0)), np.array(min(mean + most, 1.0))
        return Interval(np.array(mean), low, high, alpha, n, "Clopper-Pearson for other changes", "independent tasks")
    spread = change.var(ddof=1) if change.size > 1 else np.nan
    return t_interval(n, mean, np.asarray(spread), alpha=alpha)


@contextmanager
def _at(policy: Any, temperature: float | None):
    """The policy at another temperature for a while."""
    if temperature is None:
        yield
        return
    if not hasattr(policy, "temperature"):
        raise InputError("eval_temperature", temperature, "nothing for a policy without a temperature")
    own = policy.temperature
    policy.temperature = temperature
    try:
        yield
    finally:
        policy.temperature = own
