"""Text rollouts under the estimators of tables: the same credit to the last bit, and which groups give none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim import advantage
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_max, segment_min
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.data import RECORDED, recorded_rollouts

PAPER = "bridge"
ROLLOUTS = tuple(name for name in RECORDED if name != "bridge_learning")
CREDIT = (
    "grpo", "grpo@verl", "rloo", "gigpo", "gigpo@verl-agent", "hgpo", "hgpo@verl-agent-webshop",
    "scpo", "reinforce_plus_plus",
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


def in_first_order(again: Rollouts, rollouts: Rollouts) -> Rollouts:
    """Trajectories put back where they were: sums of floating-point numbers depend on their order."""
    place = {name: i for i, name in enumerate(again.labels["traj"])}
    return again.take(np.array([place[f"walk {i}"] for i in range(rollouts.n_trajectories)]))


@claim("bridge.same-credit", paper=PAPER, source="inferred", kind="identity")
def same_credit(trial: Trial) -> Evidence:
    """An estimator sees numbers only: on episodes of ALFWorld and WebShop it gives the same advantages, bit by bit,
    max |A_text - A_table| = 0 in float64, as on the same steps handed over as loose rows with labels of text in any
    order, once the trajectories are back in their order. GRPO, RLOO, GiGPO, HGPO, SCPO and REINFORCE++, in the forms of
    papers and code. (Other orders change sums of floating-point numbers in their last digits; `detail` says by how
    much.)
    """
    return _same(trial, anchor_labels)


@same_credit.broken("the number of the step stands in the text of the anchor")
def _(trial: Trial) -> Evidence:
    return _same(trial, dated_labels)


def _same(trial: Trial, label: Label) -> Evidence:
    rng = np.random.default_rng(trial.seed)
    for name in ROLLOUTS:
        rollouts = recorded_rollouts(name).rollouts
        order = rng.permutation(rollouts.n_rows)
        again = through_the_door(rollouts, order, label)
        back = in_first_order(again, rollouts)
        for spec in CREDIT:
            credit = np.asarray(advantage(rollouts, spec))
            sorted_again = np.abs(credit - np.asarray(advantage(back, spec))).max()
            as_given = np.abs(credit[order] - again.to_input_order(np.asarray(advantage(again, spec)))).max()
            trial.table(
                recording=name, estimator=spec, largest=np.abs(credit).max(), difference=sorted_again,
                in_any_order=as_given,
            )  # fmt: skip
    found = trial.data
    detail = {
        "runs": found["difference"].size,
        "rows": sum(recorded_rollouts(name).rollouts.n_rows for name in ROLLOUTS),
        "in_any_order": float(found["in_any_order"].max()),
    }
    return exact_equality(found["difference"], 0.0, tolerance=0.0, detail=detail)


# --- Groups without credit ---------------------------------------------------------------------------------------

SILENT = ("grpo", "rloo", "gigpo", "hgpo")
Spec = Callable[[str], str]


@claim("bridge.silent-groups", paper=PAPER, source="inferred", kind="identity", figure="text_groups")
def silent_groups(trial: Trial) -> Evidence:
    """With one reward at the end, a task that all episodes of its group lose gives no credit to anybody: max |A| = 0
    over its rows, for GRPO, RLOO, GiGPO and HGPO alike. A task that all win gives none to GRPO and RLOO, max |A| = 0,
    while GiGPO and HGPO still tell fast from slow wins. The share of such tasks is in `detail`.
    """
    return _silent(trial, lambda spec: spec)


@silent_groups.broken("compare with the whole batch instead of the group")
def _(trial: Trial) -> Evidence:
    return _silent(trial, lambda spec: "reinforce_plus_plus" if spec == "grpo" else spec)


def _silent(trial: Trial, used: Spec) -> Evidence:
    detail: dict[str, object] = {}
    zero = []
    for name in ROLLOUTS:
        rollouts = recorded_rollouts(name).rollouts
        won = np.asarray(rollouts.trajectory_columns["success"], np.float64)
        least = segment_min(won, rollouts.group, rollouts.n_groups)
        most = segment_max(won, rollouts.group, rollouts.n_groups)
        outcome = np.select([most == 0.0, least == 1.0], ["all lose", "all win"], "mixed")
        share = {kind: float((outcome == kind).mean()) for kind in ("all lose", "mixed", "all win")}
        row_kind = outcome[rollouts.group_rows]
        spoken = {}
        for spec in SILENT:
            size = np.abs(np.asarray(advantage(rollouts, used(spec))))
            spoken[spec] = float((size > 0).mean())
            silent = row_kind == "all lose"
            if spec in ("grpo", "rloo"):
                silent |= row_kind == "all win"
            zero.append(float(size[silent].max(initial=0.0)))
            trial.table(
                recording=name, estimator=spec, success=float(won.mean()), all_lose=share["all lose"],
                all_win=share["all win"], credited_rows=spoken[spec],
                all_win_credit=float(size[row_kind == "all win"].max(initial=0.0)), largest_where_silent=zero[-1],
            )  # fmt: skip
        pooled = float(won.mean())
        per_group = rollouts.n_trajectories // rollouts.n_groups
        detail[name] = {
            **share, "success": pooled, "if all tasks were alike": pooled**per_group + (1.0 - pooled) ** per_group,
            "rows with credit": spoken,
        }  # fmt: skip
    return exact_equality(zero, 0.0, tolerance=0.0, detail=detail)
