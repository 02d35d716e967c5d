"""PPO with every turn a sequence of its own, paid the whole episode's return: unbiased, and louder by the past."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments, solve
from creditsim.exact.moments import Moments
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.laws import ScoredLaw

ROUNDING = 1e-11
Turnwise = Callable[[Rollouts], np.ndarray]


def _separate(r: Rollouts) -> np.ndarray:
    return advantage(r, "gae@verl-agent", whiten=False)


def _joined(r: Rollouts) -> np.ndarray:
    return advantage(r, "gae@verl", whiten=False)


def _own_reward(r: Rollouts) -> np.ndarray:
    return r.reward - r.columns["value"]


def _tasks(trial: Trial) -> list[tuple[TabularMDP, Policy]]:
    stop = make("stopping", turns=5, stop=0.6, go=0.3, last=0.5, noise=0.4)
    others = [make("random@tiny", seed=seed) for seed in range(trial.pick(3, 20, 100))]
    return [(stop, SoftmaxPolicy.uniform(stop)), *((mdp, SoftmaxPolicy.random(mdp, 0)) for mdp in others)]


def _moments(turnwise: Turnwise, mdp: TabularMDP, policy: Policy) -> Moments:
    """Per (step, state, action), with the exact value as critic."""
    solution = solve(mdp, policy.probabilities(mdp))

    def credit(r: Rollouts) -> np.ndarray:
        return turnwise(r.with_columns(value=solution.row_value(r)))

    return exact_moments(credit, mdp, policy, group_size=1, by="time")


def _check(trial: Trial, form: Turnwise) -> Evidence:
    gradient, mean, variance = [], [], []
    for i, (mdp, policy) in enumerate(_tasks(trial)):
        separate, joined = _moments(form, mdp, policy), _moments(_joined, mdp, policy)
        past_mean, past_variance = _past(mdp, policy, joined.keys)
        gradient.append(separate.gradient.bias)
        mean.append(separate.mean - joined.mean - past_mean)
        variance.append(separate.variance - joined.variance - past_variance)
        if i == 0:
            going = joined.keys[:, 2] == 0
            trial.table(
                turn=joined.keys[going, 0] + 1, separate=separate.variance[going], joined=joined.variance[going],
                past=past_variance[going],
            )  # fmt: skip
    parts = {
        name: exact_equality(np.concatenate(values), 0.0, tolerance=ROUNDING)
        for name, values in (("gradient", gradient), ("mean", mean), ("variance", variance))
    }
    return all_of(parts, alpha=trial.alpha)


def _past(mdp: TabularMDP, policy: Policy, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the reward before the turn, per (step, state, action) in `keys` (K, 3)."""
    law = ScoredLaw.of(mdp, policy)
    r = law.rollouts
    before = law.total[r.trajectory] - law.to_go
    axes = (mdp.horizon, mdp.n_states, mdp.n_actions)
    entry = np.ravel_multi_index((r.step, r.columns["state"], r.action), axes)
    size = int(np.prod(axes))
    chance = np.bincount(entry, law.row_chance, size)
    at = np.ravel_multi_index(tuple(keys.T), axes)
    mean = np.bincount(entry, law.row_chance * before, size)[at] / chance[at]
    return mean, np.bincount(entry, law.row_chance * before**2, size)[at] / chance[at] - mean**2


@claim("ppo.separate-turns", paper="PPO", source="code", kind="variance", figure="per_turn")
def separate_turns(trial: Trial) -> Evidence:
    """Paying every turn the whole episode's return keeps the gradient, and adds the variance of the past to each turn.

    A_t = R - V(s_t), verl-agent's PPO: E[g] = dJ/dtheta for gamma = 1, and per (t, s, a) mean and variance exceed those
    of one sequence per episode, G_t - V(s_t), by E[R - G_t | t, s] and Var[R - G_t | t, s] exactly: what was earned
    before t does not depend on the action, yet it is in the sample.
    """
    return _check(trial, _separate)


@separate_turns.broken("pay every turn its own reward only")
def _(trial: Trial) -> Evidence:
    return _check(trial, _own_reward)
