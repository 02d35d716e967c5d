"""RLOO: leave-one-out baselines are unbiased; groups of one; rejected answers in the baseline."""

from __future__ import annotations

import numpy as np

from creditsim.estimators import advantage
from creditsim.estimators.base import resolve
from creditsim.exact import enumerate_trajectories, exact_moments, policy_gradient
from creditsim.exact.compositions import compositions
from creditsim.exact.moments import moments_of
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler
from creditsim.stats.intervals import mean_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.verdict import Evidence, equality, exact_equality
from theory.claim import Trial, claim
from theory.shared import angle, binomial

ROUNDING = 1e-11
"""Sums of up to some 10^5 products of probabilities; what is compared is of order 0.1."""


@claim("rloo.unbiased", paper="RLOO", source="notes", kind="gradient")
def unbiased(trial: Trial) -> Evidence:
    """RLOO is unbiased at every group size.

    With one answer per episode E[A_i | a_i = a] = Q(a) - V for n = 2..16, and the expected gradient is dJ/dtheta; over
    episodes of several steps at gamma = 1 the expected gradient is dJ/dtheta (n = 2, 3). All groups enumerated.
    """
    return _check_unbiased(trial, "rloo@paper")


@unbiased.broken("the baseline contains the answer it judges (group mean), so both fall short by 1/n")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, "dr_grpo@paper")


def _check_unbiased(trial: Trial, estimator: str) -> Evidence:
    bound = resolve(estimator)
    prompts = make("answers", prompts=2, answers=trial.pick(2, 3, 3), seed=1)
    episodes = make("tree@tiny")
    parts: dict[str, Evidence] = {}
    for name, mdp, sizes in (("answers", prompts, range(2, 17)), ("episodes", episodes, (2, 3))):
        policy = SoftmaxPolicy.random(mdp, 2)
        for n in sizes:
            law = exact_moments(lambda r: advantage(r, bound), mdp, policy, group_size=n)
            trial.table(
                environment=name,
                n=n,
                advantage_error=np.abs(law.bias).max() if name == "answers" else np.nan,
                gradient_error=np.linalg.norm(law.gradient.bias) / np.linalg.norm(law.gradient.exact),
            )
            parts[f"{name} gradient n={n}"] = exact_equality(law.gradient.mean, law.gradient.exact, tolerance=ROUNDING)
            if name == "answers":
                parts[f"{name} n={n}"] = exact_equality(law.mean, law.target, tolerance=ROUNDING)
    return all_of(parts, note="Exact: every group composition, two prompts and a tree of three-step episodes.")


@claim("rloo.unbiased-sampled", paper="RLOO", source="notes", kind="gradient")
def unbiased_sampled(trial: Trial) -> Evidence:
    """The mean of sampled RLOO gradients lies within 5 % of |dJ/dtheta| of dJ/dtheta, in every coordinate (n = 4).

    The Monte Carlo twin of the enumeration: the same statement through the sampler.
    """
    return _check_sampled(trial, "rloo@paper")


@unbiased_sampled.broken("the baseline contains the answer it judges: a quarter of the gradient is missing at n = 4")
def _(trial: Trial) -> Evidence:
    return _check_sampled(trial, "dr_grpo@paper")


def _check_sampled(trial: Trial, estimator: str) -> Evidence:
    n, batches = 4, trial.pick(40_000, 200_000, 1_000_000)
    mdp = make("answers@tiny")
    policy = SoftmaxPolicy.random(mdp, 2)
    exact = policy_gradient(mdp, policy)
    moments = Moments(shape=exact.shape)
    chunk = 20_000
    for first in range(0, batches, chunk):
        rollouts = TableSampler(mdp, seed=trial.seed, batches=chunk, first_batch=first).extend(copies=n, policy=policy)
        moments = moments.add(_gradients(mdp, policy, rollouts, advantage(rollouts, estimator)) / n, first=first)
    summary = moments.summary()
    trial.table(coordinate=np.arange(exact.size), sampled=summary.mean, exact=exact)
    # A margin of 5 %: a fifth of the bias that the group mean has at n = 4, five times the smallest standard error.
    return equality(
        lambda alpha: mean_interval(summary, alpha=alpha),
        exact,
        margin=0.05 * float(np.linalg.norm(exact)),
        alpha=trial.alpha,
        note=f"{batches} groups of {n}.",
    )


def _gradients(mdp: TabularMDP, policy: SoftmaxPolicy, rollouts: Rollouts, value: np.ndarray) -> np.ndarray:
    """(B,P) sum over the rows of each batch of value * dlog pi/dtheta."""
    cells = mdp.n_states * mdp.n_actions
    key = (rollouts.batch_rows * mdp.n_states + rollouts.columns["state"]) * mdp.n_actions + rollouts.action
    weight = np.bincount(key, weights=value, minlength=rollouts.n_batches * cells)
    return policy.pullback(mdp, weight.reshape(rollouts.n_batches, mdp.n_states, mdp.n_actions))


@claim("rloo.group-of-one", paper="RLOO", source="code", kind="gradient")
def group_of_one(trial: Trial) -> Evidence:
    """With one answer per prompt verl's loop form of RLOO is REINFORCE: the raw score, and E[g] = dJ/dtheta.

    Its vectorised form gives such groups 0, so the same configuration learns nothing, silently.
    """
    return _check_group_of_one(trial, "rloo@verl")


@group_of_one.broken("the vectorised form, which gives a group of one the advantage 0")
def _(trial: Trial) -> Evidence:
    return _check_group_of_one(trial, "rloo@verl-vectorized")


def _check_group_of_one(trial: Trial, estimator: str) -> Evidence:
    mdp = make("answers@tiny")
    law = exact_moments(lambda r: advantage(r, estimator), mdp, SoftmaxPolicy.random(mdp, 2), group_size=1).gradient
    trial.table(coordinate=np.arange(law.exact.size), expected=law.mean, exact=law.exact)
    return exact_equality(law.mean, law.exact, tolerance=ROUNDING)


@claim("rloo.rejected-answers", paper="RLOO", source="code", kind="bias", figure="rejected_answers")
def rejected_answers(trial: Trial) -> Evidence:
    """Rejected answers (weight 0, reward 0) left in the baseline do not bias the gradient of the accepted ones.

    With m accepted of n = 4: E[g] = P(some baseline exists) d E[r | accepted]/dtheta. Inside the regime rejection is
    blind to the answer; outside it depends on the answer, and the baseline is too low by E[r | accepted] - E[r], which
    adds that much times d log P(accepted)/dtheta.
    """
    return _check_rejected(trial, "rloo@verl", "include")


@rejected_answers.broken("rejected answers keep their rows in the loss as well")
def _(trial: Trial) -> Evidence:
    return _check_rejected(trial, "rloo@verl", "loss")


@rejected_answers.control("leave rejected answers out of the baseline: unbiased whatever rejection looks at")
def _(trial: Trial) -> Evidence:
    return _check_rejected(trial, "rloo@paper", "exclude")


SUCCESS = (0.9, 0.5, 0.2)
BLIND, LONG = (1.0, 1.0, 1.0), (0.0, 1.0, 0.0)
"""Which answers are rejected: any, or the second only (say, one that runs over the length limit)."""


def _check_rejected(trial: Trial, estimator: str, convention: str) -> Evidence:
    n, shares = 4, (0.1, 0.3, 0.5, 0.7, 0.9)
    found: dict[str, Evidence] = {}
    degrees: dict[str, float] = {}
    for regime, pattern in (("blind", BLIND), ("long", LONG)):
        means, targets = [], []
        for share in shares:
            chance = share * np.array(pattern)
            # Both conventions are tabled, so that the figure compares them, whichever is judged here.
            for mode, name in (("include", "rloo@verl"), ("exclude", "rloo@paper")):
                mean, target, _ = _rejected(n, chance, name, mode)
                off = float(np.degrees(angle(mean, target)))
                trial.table(
                    regime=regime,
                    share=share,
                    convention=mode,
                    degrees=off,
                    relative_error=np.linalg.norm(mean - target) / np.linalg.norm(target),
                )
                degrees[f"{regime} {mode} {share}"] = off
            mean, target, accepted = _rejected(n, chance, estimator, convention)
            baseline_exists = 1.0 - binomial(n, accepted)[: 2 if convention == "exclude" else 1].sum()
            means.append(mean)
            targets.append(baseline_exists * target)
        found[regime] = exact_equality(
            np.array(means), np.array(targets), tolerance=ROUNDING, detail={"degrees": degrees}
        )
    return conditional(found["blind"], found["long"], note="Blind rejection inside, rejection of one answer outside.")


def _rejected(n: int, chance: np.ndarray, estimator: str, mode: str) -> tuple[np.ndarray, np.ndarray, float]:
    """E[g] over accepted rows, d E[r | accepted]/dtheta, and P(accepted)."""
    success = np.array(SUCCESS)
    mdp = _rejecting_prompt(success, chance)
    policy = SoftmaxPolicy.random(mdp, 3, scale=0.5)
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    index, probability = next(compositions(law, group_size=n))
    rollouts = law.compose(index)
    if mode != "loss":
        accepted = (rollouts.columns["next_state"] == 1).astype(np.float64)
        rollouts = rollouts.with_columns(weight=accepted)
    mean = moments_of(rollouts, probability, lambda r: advantage(r, estimator), mdp, policy).gradient.mean
    share = policy.probabilities(mdp)[0] * (1.0 - chance)
    value = float(share @ success / share.sum())
    weight = np.zeros((mdp.n_states, mdp.n_actions))
    weight[0] = share * (success - value) / share.sum()
    return mean, policy.pullback(mdp, weight), float(share.sum())


def _rejecting_prompt(success: np.ndarray, rejected: np.ndarray) -> TabularMDP:
    """One prompt; answer a is rejected with chance `rejected[a]` (state 2, reward 0), else pays 1 with `success[a]`."""
    branches = np.stack([(1 - rejected) * success, (1 - rejected) * (1 - success), rejected], axis=-1)
    return TabularMDP.build(
        successor=np.broadcast_to([1, 1, 2], (3, success.size, 3)),
        probability=np.broadcast_to(branches, (3, success.size, 3)),
        reward=np.broadcast_to([1.0, 0.0, 0.0], (3, success.size, 3)),
        terminal=np.array([False, True, True]),
        horizon=1,
    )
