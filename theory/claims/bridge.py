"""Text rollouts under the estimators of tables: the same credit to the last bit, and which groups give none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim import advantage
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_max, segment_min
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.data import RECORDED, recorded_rollouts

PAPER = "bridge"
ROLLOUTS = tuple(name for name in RECORDED if name != "bridge_learning")
CREDIT = (
    "grpo", "grpo@verl", "rloo", "gigpo", "gigpo@verl-agent", "hgpo", "hgpo@verl-agent-webshop",
    "scpo(similarity=1)", "reinforce_plus_plus",
)  # fmt: skip
Label = Callable[[Rollouts], list[str]]


def anchor_labels(rollouts: Rollouts) -> list[str]:
    """What an outsider would hand over: any text that is equal where anchors are equal."""
    return [f"seen {i}" for i in rollouts.observation.tolist()]


def dated_labels(rollouts: Rollouts) -> list[str]:
    """Anchors with the number of the step in their text."""
    return [f"step {t}: seen {i}" for t, i in zip(rollouts.step.tolist(), rollouts.observation.tolist(), strict=True)]


def through_the_door(rollouts: Rollouts, order: np.ndarray, label: Label) -> Rollouts:
    """The rows as loose records with string labels, in any order, interned anew by `Rollouts.from_steps`."""
    seen = label(rollouts)
    done = {f"walk {i}": bool(end) for i, end in enumerate(rollouts.terminated)}
    loose = ("value", "log_prob", "entropy", "valid")
    return Rollouts.from_steps(
        traj=[f"walk {i}" for i in rollouts.trajectory[order]],
        group=[f"task {i}" for i in rollouts.group_rows[order]],
        step=rollouts.step[order],
        observation=[seen[i] for i in order],
        action=[f"said {i}" for i in rollouts.action[order]],
        reward=rollouts.reward[order],
        terminated=done,
        columns={name: rollouts.columns[name][order] for name in loose if name in rollouts.columns},
    )
