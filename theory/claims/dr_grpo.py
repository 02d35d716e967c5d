"""Dr.GRPO: the group mean is a shrunken leave-one-out baseline, and without a deviation tasks keep their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from creditsim.mdp import SoftmaxPolicy
from creditsim.mdp.families import make
from creditsim.rollouts import Rollouts
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.mixes import MIX
from theory.shared import angle


@claim("dr-grpo.leave-one-out-identity", paper="Dr.GRPO", source="notes", kind="identity")
def leave_one_out_identity(trial: Trial) -> Evidence:
    """Subtracting the group mean is leave-one-out times (n-1)/n, row by row: S_i - mean = (n-1)/n (S_i - mean_{-i}).

    On episodes of unequal length with real-valued scores, n = 2..16; mean_{-i} is computed here from its definition.
    """
    return _check_identity(trial, "dr_grpo@paper")


@leave_one_out_identity.broken("each step counts as a group member, so that long episodes weigh more")
def _(trial: Trial) -> Evidence:
    return _check_identity(trial, "dr_grpo@verl-agent")


def _check_identity(trial: Trial, estimator: str) -> Evidence:
    rng = np.random.Generator(np.random.Philox(key=trial.seed))
    got, want, sizes = [], [], []
    for n in range(2, 17):
        score, length = rng.normal(3.0, 1.0, n), rng.integers(1, 20, n)
        offsets = np.append(0, np.cumsum(length))
        reward = np.zeros(offsets[-1])
        reward[offsets[1:] - 1] = score
        rollouts = Rollouts.flat(offsets=offsets, group=np.zeros(n, np.int64), reward=reward)
        others = np.array([np.delete(score, i).mean() for i in range(n)])
        got.append(advantage(rollouts, estimator))
        want.append(np.repeat((n - 1) / n * (score - others), length))
        sizes.append(np.full(offsets[-1], n))
    computed, predicted = np.concatenate(got), np.concatenate(want)
    trial.table(n=np.concatenate(sizes), advantage=computed, leave_one_out=predicted)
    # Scores of order 10 and means of up to 16 of them: some ten roundings of 2^-53 times 10.
    return exact_equality(computed, predicted, tolerance=1e-13)


@claim("dr-grpo.keeps-task-weights", paper="Dr.GRPO", source="paper", kind="gradient")
def keeps_task_weights(trial: Trial) -> Evidence:
    """Without the deviation the expected gradient over a mix of tasks points along dJ/dtheta: angle = 0 for n = 2..8.

    Its length is (n-1)/n of the exact one. Dividing by the group's deviation turns it, because tasks of different
    difficulty are scaled by different numbers (Dr.GRPO's question-level difficulty bias).
    """
    return _check_angle(trial, lambda r: advantage(r, "dr_grpo@paper"))


@keeps_task_weights.broken("divide by the group's deviation (GRPO)")
def _(trial: Trial) -> Evidence:
    return _check_angle(trial, lambda r: advantage(r, "grpo@paper"))


def _check_angle(trial: Trial, credit: Callable[[Rollouts], np.ndarray]) -> Evidence:
    mdp = make("answers", p=((0.0, 1.0),) * len(MIX))
    chance = np.array([*MIX, 0.5])
    policy = SoftmaxPolicy.from_probabilities(mdp, np.stack([1.0 - chance, chance], axis=-1))
    degrees = []
    for n in (sizes := range(2, 9)):
        law = exact_moments(credit, mdp, policy, group_size=n).gradient
        degrees.append(np.degrees(angle(law.mean, law.exact)))
    trial.table(n=np.array(sizes), degrees=np.array(degrees))
    # 1e-9 degrees is the rounding of an angle between vectors known to 1e-13.
    return exact_equality(
        np.array(degrees), 0.0, tolerance=1e-9, detail={"degrees": dict(zip(sizes, degrees, strict=True))}
    )
