"""Every registered estimator: its Monte Carlo mean agrees with its enumerated one, and a broken twin's does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from math import log, sqrt

import numpy as np
import pytest
from exact_cases import random_policy

from creditsim.estimators.base import ESTIMATORS, EstimatorPart, advantage, resolve
from creditsim.exact.compositions import compositions
from creditsim.exact.dp import solve
from creditsim.exact.moments import exact_moments, moments_of
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts
from creditsim.sampling.enumerate import enumerate_design
from creditsim.sampling.table import TableSampler

BATCHES = 20_000
ALPHA = 1e-6
TEXTS = ("go to drawer 1", "go to drawer 2", "open the red box", "examine shelf", "you are done", "nothing")

SPECS = [
    f"{part.name}@{preset}" if preset else part.name
    for part in ESTIMATORS
    if part.name != "no_credit"  # it is 0 everywhere, so no twin of it could be told apart
    for preset in (None, *part.presets)
]


@dataclass(frozen=True)
class Case:
    """An environment and policy, and how many groups of how many trajectories make up a batch."""

    mdp: TabularMDP
    policy: SoftmaxPolicy
    group_size: int
    groups: int


@cache
def case(name: str) -> Case:
    spec, n, groups = {"stopping": ("stopping@tiny", 3, 1), "answers": ("answers@tiny", 2, 2)}[name]
    mdp = make(spec)
    return Case(mdp, random_policy(mdp, 11, spread=0.7), n, groups)


def with_columns(at: Case) -> Callable[[Rollouts], Rollouts]:
    """Add every column that some estimator needs, as a function of state and action."""
    pi = at.policy.probabilities(at.mdp)
    value = solve(at.mdp, pi).value
    error = np.linspace(-0.2, 0.3, at.mdp.n_states)
    squares = (pi**2).sum(axis=1)

    def add(r: Rollouts) -> Rollouts:
        state = r.columns["state"]
        labelled = replace(r, labels={"observation": np.asarray(TEXTS, object)})
        return labelled.with_columns(
            value=value[at.mdp.horizon - r.step, state] + error[state],
            sum_pi_squared=squares[state],
            valid=(r.action + state) % 2 == 0,
            step_reward=r.reward + 0.1 * state + 0.2 * r.action,
            information_gain=0.1 * state + 0.3 * r.action,
            metric=0.5 * state + r.action,
            answer=r.action,
        ).with_trajectory_columns(greedy_score=np.full(r.n_trajectories, 0.4))

    return add


def simulate(at: Case, batches: int, seed: int) -> Rollouts:
    """Independent groups drawn step by step with NumPy's generator: nothing is shared with the enumeration."""
    mdp, rng = at.mdp, np.random.default_rng(seed)
    pi, n = at.policy.probabilities(mdp), batches * at.groups * at.group_size
    state = np.repeat(rng.choice(mdp.n_states, size=batches * at.groups, p=mdp.start), at.group_size)
    who, step = np.arange(n), np.zeros(n, np.int64)
    rows = []
    while who.size:
        action = (rng.random((who.size, 1)) > np.cumsum(pi[state], axis=1)).sum(axis=1)
        branch = (rng.random((who.size, 1)) > np.cumsum(mdp.probability[state, action], axis=1)).sum(axis=1)
        ahead = mdp.successor[state, action, branch]
        rows.append((who, state, action, mdp.scalar_reward[state, action, branch], step, np.log(pi[state, action])))
        step = step + mdp.tick[ahead]
        going = ~mdp.terminal[ahead] & (step < mdp.horizon)
        who, state, step = who[going], ahead[going], step[going]
    owner, state, action, reward, step, log_prob = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(owner, kind="stable")
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owner))]),
        group=np.arange(n) // at.group_size,
        batch=np.arange(n) // (at.group_size * at.groups),
        observation=mdp.observation[state[order]],
        action=action[order],
        reward=reward[order],
        step=step[order],
        columns={"state": state[order], "context": mdp.context[state[order]], "log_prob": log_prob[order]},
    )


def sums(at: Case, rollouts: Rollouts, value: np.ndarray) -> np.ndarray:
    """(B, S*A) sum of advantages of each batch's rows at each state and action."""
    width = at.mdp.n_states * at.mdp.n_actions
    entry = rollouts.columns["state"] * at.mdp.n_actions + rollouts.action
    flat = np.bincount(rollouts.batch_rows * width + entry, value, rollouts.n_batches * width)
    return flat.reshape(rollouts.n_batches, width)


@cache
def sampled(name: str, source: str) -> Rollouts:
    """BATCHES batches from the library's sampler, or from the plain simulation above."""
    at = case(name)
    if source == "simulate":
        return with_columns(at)(simulate(at, BATCHES, seed=20_261_001))
    sampler = TableSampler(at.mdp, seed=20_261_001, batches=BATCHES, groups=at.groups)
    return with_columns(at)(sampler.extend(copies=at.group_size, policy=at.policy))


def enumerated(name: str, symmetric: bool) -> tuple[Rollouts, np.ndarray]:
    at = case(name)
    law = enumerate_trajectories(at.mdp, at.policy.probabilities(at.mdp))
    parts = compositions(law, group_size=at.group_size, groups=at.groups, symmetric=symmetric)
    ((index, probability),) = parts
    return with_columns(at)(law.compose(index, at.groups)), probability


def bound(variance: np.ndarray, reach: np.ndarray, n: int) -> np.ndarray:
    """Bernstein's inequality for each entry, at level ALPHA: sqrt(2 v L / n) + b L / (3 n).

    v is the exact variance of one batch, b the exact largest distance of a batch from the mean, L = log(2 / ALPHA).
    """
    tail = log(2 / ALPHA)
    return np.sqrt(2 * variance * tail / n) + reach * tail / (3 * n)


def agrees(mean: np.ndarray, exact: np.ndarray, variance: np.ndarray, reach: np.ndarray, n: int) -> bool:
    return bool((np.abs(mean - exact) <= bound(variance, reach, n) + 1e-12).all())


def exact_law(name: str, spec: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and reach of `sums`, enumerated in plain NumPy."""
    at = case(name)
    part = resolve(spec).part
    assert isinstance(part, EstimatorPart)
    rollouts, probability = enumerated(name, part.symmetric)
    table = sums(at, rollouts, advantage(rollouts, spec))
    mean = probability @ table
    return mean, probability @ (table - mean) ** 2, np.abs(table - mean).max(axis=0)


@pytest.mark.parametrize("name", ["stopping", "answers"])
@pytest.mark.parametrize("spec", SPECS)
def test_monte_carlo_agrees_with_enumeration(spec: str, name: str) -> None:
    at = case(name)
    part = resolve(spec).part
    assert isinstance(part, EstimatorPart)
    mean, variance, reach = exact_law(name, spec)
    add = with_columns(at)
    found = exact_moments(
        lambda r: advantage(add(r), spec),
        at.mdp,
        at.policy,
        group_size=at.group_size,
        groups=at.groups,
        symmetric=part.symmetric,
    )
    entry = found.keys[:, 0] * at.mdp.n_actions + found.keys[:, 1]
    np.testing.assert_allclose(mean[entry], found.rows * found.mean, atol=1e-13)
    for source in ("simulate", "sampler"):
        drawn = sums(at, sampled(name, source), advantage(sampled(name, source), spec)).mean(axis=0)
        assert agrees(drawn, mean, variance, reach, BATCHES), source
    # Broken twins that the same check rejects: a flipped sign, an advantage a row late, and a scale off by three times
    # what the bound can just tell at this n (15 % for most; a rare signal, such as pass@k over steps, needs more).
    limit = bound(variance, reach, BATCHES)
    slack = 3 / (np.abs(mean[limit > 0]) / limit[limit > 0]).max()
    assert slack < 1.5
    rollouts = sampled(name, "sampler")
    value = advantage(rollouts, spec)
    for broken in (-value, np.roll(value, 1), (1 + slack) * value):
        wrong = sums(at, rollouts, broken).mean(axis=0)
        assert not agrees(wrong, mean, variance, reach, BATCHES)


def test_the_check_finds_a_mean_off_by_a_twentieth_of_a_deviation() -> None:
    one = np.ones(1)
    assert agrees(np.zeros(1), 0.037 * one, one, 3 * one, BATCHES)
    assert not agrees(np.zeros(1), 0.05 * one, one, 3 * one, BATCHES)
    assert sqrt(2 * log(2 / ALPHA) / BATCHES) < 0.039


def test_a_stale_policy_is_found() -> None:
    at = case("stopping")
    stale = Case(at.mdp, random_policy(at.mdp, 12, spread=0.7), at.group_size, at.groups)
    rollouts = with_columns(at)(simulate(stale, BATCHES, seed=1))
    mean, variance, reach = exact_law("stopping", "dr_grpo")
    assert not agrees(sums(at, rollouts, advantage(rollouts, "dr_grpo")).mean(axis=0), mean, variance, reach, BATCHES)


@pytest.mark.parametrize("spec", ["grpo", "rloo@paper", "gigpo", "hgpo"])
def test_a_design_replayed_over_every_draw_has_the_moments_of_the_compositions(spec: str) -> None:
    at = case("stopping")
    rollouts, probability = enumerate_design("independent", at.mdp, at.policy, group_size=2)
    listed = moments_of(rollouts, probability, lambda r: advantage(r, spec), at.mdp, at.policy)
    found = exact_moments(lambda r: advantage(r, spec), at.mdp, at.policy, group_size=2)
    assert listed.batches > found.batches
    for name in ("keys", "rows", "mean", "variance", "target", "mse", "degenerate", "singleton_anchors"):
        np.testing.assert_allclose(getattr(listed, name), getattr(found, name), atol=1e-13, err_msg=name)
    for name in ("mean", "exact", "trace", "covariance"):
        np.testing.assert_allclose(
            getattr(listed.gradient, name), getattr(found.gradient, name), atol=1e-13, err_msg=name
        )
