"""Credit of failed trajectories' steps beside their exact advantage, over every group a policy can draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from creditsim.exact import solve
from creditsim.exact.compositions import compositions
from creditsim.exact.moments import Credit
from creditsim.exact.trajectories import TrajectoryLaw, enumerate_trajectories
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.segments import factorize, segment_max, segment_sum

__all__ = ["FailedSteps", "conflicting", "failed_steps", "fatal_chain", "won_trajectories"]

_POSITIVE = 1e-12


@dataclass(frozen=True)
class FailedSteps:
    """Expectations over the steps of failed trajectories in groups with a success.

    `correlation` of the credit with the exact advantage (0 where one of them is constant); `agreement`, share of the
    steps with exact advantage > 0 whose credit is > 0; `punished`, share of all failed steps that are such and whose
    credit is < 0; `conflict`, share of all failed steps whose observation and action have credit < 0 here and > 0 in
    some sibling.
    """

    correlation: float
    agreement: float
    punished: float
    conflict: float


def fatal_chain(length: int, right: float, reward: float = 1.0) -> tuple[TabularMDP, SoftmaxPolicy]:
    """`length` choices, each right with probability `right`; the first wrong one ends the episode."""
    mdp = make("trap", length=length, horizon=length, pit="end", goal_reward=reward)
    return mdp, SoftmaxPolicy.from_probabilities(mdp, np.tile([right, 1.0 - right], (mdp.n_contexts, 1)))


def won_trajectories(rollouts: Rollouts) -> np.ndarray:
    """(N,) bool: trajectories with a positive return."""
    return segment_sum(rollouts.reward, rollouts.trajectory, rollouts.n_trajectories) > 0


def conflicting(rollouts: Rollouts, value: np.ndarray) -> np.ndarray:
    """(M,) bool: credit below 0 although the same observation and action have credit above 0 in the group."""
    pair, n = factorize(rollouts.group_rows, rollouts.observation, rollouts.action)
    return (value < 0) & (segment_max(value, pair, n)[pair] > 0)


def failed_steps(
    credits: Mapping[str, Credit],
    mdp: TabularMDP,
    policy: Policy,
    group_size: int,
    law: TrajectoryLaw | None = None,
) -> dict[str, FailedSteps]:
    """Exact statistics of several credits by enumeration of groups; the credits do not look at the order of members.

    `law` replaces the trajectories of the policy, e.g. by ones that carry marks of chance.
    """
    pi = policy.probabilities(mdp)
    law = enumerate_trajectories(mdp, pi) if law is None else law
    exact_of = solve(mdp, pi).row_advantage
    sums = {name: np.zeros(10) for name in credits}
    for index, probability in compositions(law, group_size=group_size):
        rollouts = law.compose(index)
        exact, won = exact_of(rollouts), won_trajectories(rollouts)
        mixed = segment_max(won.astype(float), rollouts.group, rollouts.n_groups) > 0
        chosen = ~won[rollouts.trajectory] & mixed[rollouts.group_rows]
        weight = probability[rollouts.batch_rows] * chosen
        good = weight * (exact > _POSITIVE)
        for name, credit in credits.items():
            value = credit(rollouts)
            sums[name] += [
                weight.sum(), weight @ value, weight @ exact, weight @ value**2, weight @ exact**2,
                weight @ (value * exact), good @ (value > _POSITIVE), good @ (value < -_POSITIVE),
                weight @ conflicting(rollouts, value), good.sum(),
            ]  # fmt: skip
    return {name: _statistics(s) for name, s in sums.items()}


def _statistics(sums: np.ndarray) -> FailedSteps:
    total = sums[0]
    x, y, xx, yy, xy = sums[1:6] / total
    spread = (xx - x * x) * (yy - y * y)
    correlation = (xy - x * y) / np.sqrt(spread) if spread > _POSITIVE else 0.0
    return FailedSteps(float(correlation), float(sums[6] / sums[9]), float(sums[7] / total), float(sums[8] / total))
