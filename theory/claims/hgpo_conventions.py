"""HGPO's paper against its code: the weights of the levels, and what K = 0 is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.estimators.base import credit
from creditsim.exact.compositions import compositions
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.rollouts import Rollouts
from creditsim.segments import reverse_scan, segment_normalise
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.claims.hgpo import PAPER, TOLERANCE, WEIGHT_EPS
from theory.context_groups import Task, level_weights, spread_task, window_ids


def all_groups(task: Task, n: int) -> Rollouts:
    """Every group of n trajectories, once."""
    law = enumerate_trajectories(task.mdp, task.policy.probabilities(task.mdp))
    return law.compose(np.concatenate([index for index, _ in compositions(law, group_size=n)]))


@claim("hgpo.level-weights", paper=PAPER, source="notes", kind="identity")
def paper_weights(trial: Trial) -> Evidence:
    """The level with k+1 shared observations has weight (k+1)^alpha / sum over k of (k+1)^alpha (the paper's formula,
    read in notes): 1/6, 2/6, 3/6 for K = 2, alpha = 1. The released code counts from 2: 2/9, 3/9, 4/9. Measured by
    regression of HGPO's advantage on the three levels' advantages.
    """
    return _weights(trial, {"weights": "code"})


@paper_weights.broken("alpha = 0, equal weights")
def _(trial: Trial) -> Evidence:
    return _weights(trial, {"weights": "paper", "alpha": 0.0})


@paper_weights.control("the preset with the paper's weights")
def _(trial: Trial) -> Evidence:
    return _weights(trial, {"weights": "paper"})


def _weights(trial: Trial, params: Mapping[str, Any]) -> Evidence:
    r = all_groups(spread_task(1.0, noise=0.3), trial.pick(3, 4, 4))
    to_go = reverse_scan(r.reward, 1.0, r.offsets)
    ids = [window_ids(r, k) for k in range(3)]
    levels = np.stack([segment_normalise(to_go, i, int(i.max()) + 1, scale=False) for i in ids])
    present = (np.abs(levels) > 1e-9).all(axis=0)
    columns = credit(r, "hgpo", K=2, gamma=1.0, normalize="mean", **params)
    assert isinstance(columns, dict)  # noqa: S101 # hgpo makes columns
    measured = np.linalg.lstsq(levels[:, present].T, columns["advantage"][present], rcond=None)[0]
    aim = level_weights(2, 1.0, "paper") / 6.0
    trial.table(k=np.arange(3), measured=measured, paper=aim)
    return exact_equality(measured, aim, tolerance=WEIGHT_EPS, detail={"measured": measured.tolist()})


@claim("hgpo.k0-is-gigpo", paper=PAPER, source="notes", kind="identity")
def k0_is_gigpo(trial: Trial) -> Evidence:
    """With K = 0 HGPO is GiGPO (read in notes): equal advantages on every row, max |A_HGPO - A_GiGPO| = 0. Not in the
    code: there is no episode advantage, the deviation has divisor n instead of n - 1, and 1e-6 is added to the weights.
    """
    return _k0(trial, {}, "advantage")


@k0_is_gigpo.broken("add GiGPO's episode advantage as a level, which is averaged in instead of added")
def _(trial: Trial) -> Evidence:
    return _k0(trial, {"base_group": True, "ddof": 1}, "advantage")


@k0_is_gigpo.control("with divisor n - 1 and weights that sum to 1, it is GiGPO's step advantage alone")
def _(trial: Trial) -> Evidence:
    return _k0(trial, {"weights": "paper", "ddof": 1}, "step_advantage")


def _k0(trial: Trial, params: Mapping[str, Any], column: str) -> Evidence:
    r = all_groups(spread_task(1.0, noise=0.3), trial.pick(3, 4, 4))
    found = credit(r, "hgpo@verl-agent", **{"K": 0, **params})
    aim = credit(r, "gigpo@verl-agent-alfworld", penalty=0.0)
    assert isinstance(found, dict) and isinstance(aim, dict)  # noqa: S101 # both make columns
    apart = np.abs(found["advantage"] - aim[column])
    trial.table(rows=apart.size, apart=float((apart > TOLERANCE).mean()), largest=float(apart.max()))
    return exact_equality(float(apart.max()), 0.0, tolerance=TOLERANCE, detail={"share": float((apart > 1e-9).mean())})
