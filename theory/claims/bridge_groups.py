"""What the step groups of GiGPO and HGPO hold on text: other histories, other hidden states, company or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler
from creditsim.stats.intervals import Interval
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.data import recorded_rollouts
from theory.text_groups import grouped_share, history_ids, mixed_share, over_tasks

EXPLORING = ("alfworld_random", "webshop_random")
WARM = ("alfworld_tiny", "webshop_tiny")
TABLES = ("loop@small", "grid@small", "aliased@small")
WINDOW = 2
"""HGPO's default: the last K + 1 = 3 observations."""
MOST = 0.5
FEW = 0.05
"""A twentieth of the rows compared with other states would not matter beside the spread of returns."""
WHOLE = 60
"""Longer than any episode recorded: the whole history."""
DEPTHS = (0, 1, 2, 3, WHOLE)
Key = Callable[[Rollouts], np.ndarray]


def anchors(rollouts: Rollouts) -> np.ndarray:
    """GiGPO's key."""
    return history_ids(rollouts, 0)


@cache
def table_rollouts(env: str) -> Rollouts:
    """24 groups of 8 episodes of the uniform policy on a table, to be seen beside the texts."""
    mdp = make(env)
    return TableSampler(mdp, batches=1, groups=24, seed=0).extend(copies=8, policy=SoftmaxPolicy.uniform(mdp))


def all_rollouts() -> dict[str, Rollouts]:
    """Recordings and tables by name."""
    texts = {name: recorded_rollouts(name).rollouts for name in (*EXPLORING, *WARM)}
    return {**texts, **{f"table {env}": table_rollouts(env) for env in TABLES}}


def _by_depth(trial: Trial, share: Callable[[Rollouts, int], np.ndarray]) -> None:
    """Keep the mean over tasks of a share at every depth, with its interval, for the figure."""
    for name, rollouts in all_rollouts().items():
        for k in DEPTHS:
            found = share(rollouts, k)
            if np.isnan(found).all():
                continue
            interval = over_tasks(found, trial.alpha)
            trial.table(
                rollouts=name, depth=k, share=float(interval.estimate), low=max(0.0, float(interval.low)),
                high=min(1.0, float(interval.high)), tasks=int(interval.n),
            )  # fmt: skip


def _bounded(trial: Trial, shares: Mapping[str, np.ndarray], relation: str, bound: float) -> Evidence:
    parts = {
        name: inequality(
            _interval_of(share), relation, bound, alpha=trial.alpha, detail={"share": float(np.nanmean(share))}
        )
        for name, share in shares.items()
    }
    return all_of(parts, alpha=trial.alpha)


def _interval_of(share: np.ndarray) -> Callable[[float], Interval]:
    return lambda alpha: over_tasks(share, alpha)


# --- Other histories ---------------------------------------------------------------------------------------------


@claim("hgpo.context-inconsistency", paper="HGPO", source="paper", kind="estimate", figure="text_groups")
def context_inconsistency(trial: Trial) -> Evidence:
    """HGPO's premise, that steps pooled by their observation mostly followed different histories: of the rows that
    GiGPO compares with others, E[share whose step group holds another window of K + 1 = 3 observations] >= 1/2. Under a
    random policy, on ALFWorld and WebShop alike; means over tasks. That it is most of them is our reading (inferred);
    the paper says that it occurs.
    """
    _by_depth(trial, lambda r, k: mixed_share(r, anchors(r), history_ids(r, k)))
    return _inconsistent(trial, WINDOW)


@context_inconsistency.broken("a window of one observation, in which all histories are alike")
def _(trial: Trial) -> Evidence:
    return _inconsistent(trial, 0)


def _inconsistent(trial: Trial, window: int) -> Evidence:
    shares = {}
    for name in EXPLORING:
        rollouts = recorded_rollouts(name).rollouts
        shares[name] = mixed_share(rollouts, anchors(rollouts), history_ids(rollouts, window))
    return _bounded(trial, shares, ">=", MOST)


@claim("hgpo.inconsistency-falls", paper="HGPO", source="inferred", kind="estimate", figure="text_groups")
def inconsistency_falls(trial: Trial) -> Evidence:
    """A policy that has learnt something walks fewer ways to one observation: on WebShop the share of compared rows
    whose step group holds another window of three observations is smaller after a warm start than under a random
    policy, E[share warm] - E[share random] <= 0, on the same tasks, paired.
    """
    return _falls(trial, "webshop_tiny", "webshop_random")


@inconsistency_falls.broken("take the random policy for the one that has learnt")
def _(trial: Trial) -> Evidence:
    return _falls(trial, "webshop_random", "webshop_tiny")


def _falls(trial: Trial, later: str, earlier: str) -> Evidence:
    by_task = [_share_of_tasks(name) for name in (later, earlier)]
    both = sorted(set(by_task[0]) & set(by_task[1]))
    change = np.array([by_task[0][task] - by_task[1][task] for task in both])
    detail = {name: float(np.mean(list(each.values()))) for name, each in zip((later, earlier), by_task, strict=True)}
    for name, each in zip((later, earlier), by_task, strict=True):
        trial.table(recording=name, task=both, share=[each[task] for task in both])
    return inequality(_interval_of(change), "<=", 0.0, alpha=trial.alpha, detail={**detail, "tasks": len(both)})


def _share_of_tasks(name: str) -> dict[str, float]:
    """Share by the name of the task."""
    stored = recorded_rollouts(name)
    rollouts, names = stored.rollouts, stored.facts["names"]["task"]
    share = mixed_share(rollouts, anchors(rollouts), history_ids(rollouts, WINDOW))
    first = np.unique(rollouts.group, return_index=True)[1]
    tasks = rollouts.trajectory_columns["task"][first]
    return {names[task]: float(s) for task, s in zip(tasks, share, strict=True) if not np.isnan(s)}


# --- Other states ------------------------------------------------------------------------------------------------


@claim("gigpo.anchors-are-states", paper="GiGPO", source="notes", kind="estimate", figure="text_groups")
def anchors_are_states(trial: Trial) -> Evidence:
    """Steps from one observation start from one state of the environment, which is what makes their returns
    comparable: of the rows compared, E[share whose step group holds another hidden state] <= 1/20 on ALFWorld and
    WebShop, random and warm-started policies. ALFWorld's observations do not tell where things are, WebShop's page does
    not show which options were chosen.
    """
    _by_depth(trial, lambda r, k: mixed_share(r, history_ids(r, k), _state(r)))
    return _impure(trial, anchors)


@anchors_are_states.broken("group by the number of the step")
def _(trial: Trial) -> Evidence:
    return _impure(trial, lambda r: np.asarray(r.step))


@anchors_are_states.control("group by the hidden state itself")
def _(trial: Trial) -> Evidence:
    return _impure(trial, _state)


def _state(rollouts: Rollouts) -> np.ndarray:
    return np.asarray(rollouts.columns["state"])


def _impure(trial: Trial, key: Key) -> Evidence:
    shares = {}
    for name in (*EXPLORING, *WARM):
        rollouts = recorded_rollouts(name).rollouts
        shares[name] = mixed_share(rollouts, key(rollouts), _state(rollouts))
    return _bounded(trial, shares, "<=", FEW)


# --- Company -----------------------------------------------------------------------------------------------------


@claim("gigpo.most-steps-have-company", paper="GiGPO", source="notes", kind="estimate", figure="text_groups")
def most_steps_have_company(trial: Trial) -> Evidence:
    """Most steps meet their observation again in the group of 8 episodes, so that the step level says something:
    E[share of rows in step groups of two or more] >= 1/2 on ALFWorld and WebShop, before and after a warm start.
    """
    _by_depth(trial, lambda r, k: grouped_share(r, history_ids(r, k)))
    return _company(trial, 0)


@most_steps_have_company.broken("group by the whole history, as oracle groups do")
def _(trial: Trial) -> Evidence:
    return _company(trial, WHOLE)


def _company(trial: Trial, depth: int) -> Evidence:
    shares = {}
    for name in (*EXPLORING, *WARM):
        rollouts = recorded_rollouts(name).rollouts
        shares[name] = grouped_share(rollouts, history_ids(rollouts, depth))
    return _bounded(trial, shares, ">=", MOST)
