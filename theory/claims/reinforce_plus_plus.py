"""REINFORCE++: whitening over the batch, against baselines of the group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.mixes import CREDITS, MIX, Credit, enumerated_factors, mix_degrees, mix_factors


@claim("reinforce-pp.common-scale", paper="REINFORCE++", source="notes", kind="gradient", figure="whitening")
def common_scale(trial: Trial) -> Evidence:
    """Whitening over the batch is one common scale: it keeps the direction of the gradient up to O(1/batch).

    Over a mix of tasks the angle between E[g] and dJ/dtheta falls at least as fast as (number of answers)^-0.9 over the
    last doubling of the batch, for n = 1, 2, 4, 8 answers per task.
    """
    return _check_scale(trial, "whiten")


@common_scale.broken("standardise inside the group (GRPO): the angle stays, however large the batch")
def _(trial: Trial) -> Evidence:
    return _check_scale(trial, "group")


def _check_scale(trial: Trial, scale: str) -> Evidence:
    copies = trial.pick((1, 2, 4, 8, 16), (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16, 32, 64))
    rates = []
    # The group's form needs groups: n = 1 is tried where the batch is all that counts.
    for n in (1, 2, 4, 8) if scale == "whiten" else (4, 8):
        degrees = np.array([mix_degrees(n, c, scale) for c in copies])
        rates.append(float(np.log2(degrees[-2] / degrees[-1])))
        for name in ("whiten", "centre, then whiten", "group") if n > 1 else ("whiten",):
            trial.table(
                scale=name,
                n=n,
                answers=n * len(MIX) * np.array(copies),
                degrees=np.array([mix_degrees(n, c, name) for c in copies]),
            )
    chance, n = (0.1, 0.4, 0.8), 3
    same = exact_equality(
        enumerated_factors(CREDITS[scale], chance, n), mix_factors(chance, n, 1, scale), tolerance=1e-12
    )
    rate = exact_inequality(
        np.array(rates), ">=", 0.9, detail={"rates": rates, "degrees at 5 answers": mix_degrees(1, 1, "whiten")}
    )
    return all_of({"rate": rate, "estimator": same}, note=f"Tasks of p = {', '.join(map(str, MIX))}.")


SETTINGS = {
    "even": (((0.05, 0.15), (0.85, 0.95)), ((0.5, 0.5), (0.5, 0.5))),
    "own": (((0.0, 1.0), (0.0, 1.0)), ((0.9, 0.1), (0.1, 0.9))),
}
"""Two tasks, one hard and one easy (p = 0.1 and 0.9): success chances of the answers, and the policy.

"even": both answers equally likely, and chance decides, so that all scores have one length. "own": the policy's own
choice decides, so that rare answers have long scores.
"""


@claim("reinforce-pp.between-task-variance", paper="REINFORCE++", source="notes", kind="variance", figure="whitening")
def between_task_variance(trial: Trial) -> Evidence:
    """The batch mean leaves the variance between tasks in: centring inside the group has the better signal-to-noise.

    |E[g]| / sqrt(tr Cov g) of group-centred >= that of batch-centred advantages, both whitened; two tasks, p = 0.1 and
    0.9. The regime is scores whose length does not depend on the reward; outside it the policy's own choice decides:
    the best constant baseline of a task is then 1 - p, not p, and the batch mean is closer to it.
    """
    return _check_variance(trial, lambda r: advantage(r, "reinforce_plus_plus_baseline@paper"))


@between_task_variance.broken("groups mixed up: members of different tasks are centred together")
def _(trial: Trial) -> Evidence:
    return _check_variance(trial, _mixed_up)


def _mixed_up(rollouts: Rollouts) -> np.ndarray:
    """Centre among every other trajectory of the batch instead of the group."""
    members = rollouts.length.size // rollouts.n_batches
    place = np.arange(rollouts.length.size) % members
    other = Rollouts.flat(
        offsets=rollouts.offsets,
        group=2 * rollouts.batch + place % 2,
        batch=rollouts.batch,
        reward=rollouts.reward,
    )
    return advantage(other, "reinforce_plus_plus_baseline@paper")


def _check_variance(trial: Trial, centred: Callable[[Rollouts], np.ndarray]) -> Evidence:
    group_size, groups = trial.pick((4, 2), (2, 3), (4, 3))
    credits: dict[str, Credit] = {
        "batch": lambda r: advantage(r, "reinforce_plus_plus@paper"),
        "nothing": lambda r: advantage(r, "reinforce"),
        "group": centred,
    }
    found = {}
    for setting, (chance, table) in SETTINGS.items():
        mdp = make("answers", p=chance)
        policy = SoftmaxPolicy.from_probabilities(mdp, np.array([*table, (0.5, 0.5)]))
        ratio = {
            name: exact_moments(
                credit, mdp, policy, group_size=group_size, groups=groups, covariance=False
            ).gradient.signal_to_noise
            for name, credit in credits.items()
        }
        trial.table(setting=setting, centred_by=list(ratio), signal_to_noise=list(ratio.values()))
        found[setting] = exact_inequality(ratio["group"], ">=", ratio["batch"], detail=ratio)
    return conditional(
        found["even"],
        found["own"],
        note=f"Scores of one length inside, own choice outside; {groups} groups of {group_size}.",
    )
