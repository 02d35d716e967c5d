"""A-GRAE: how symmetric credit is, and how much of it each difficulty gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.shared import responses

__all__ = ["PAPER", "by_successes", "predicted_size"]

PAPER = "A-GRAE"
SIZES = (2, 4, 8, 16)


def by_successes(n: int, spec: str, **params: object) -> np.ndarray:
    """(n-1, n) credit of groups with k = 1..n-1 successes, the successes first; each group a batch."""
    won = [[1.0] * k + [0.0] * (n - k) for k in range(1, n)]
    return advantage(responses(won), spec, **params).reshape(n - 1, n)


@claim("agrae.balance", paper=PAPER, source="paper", kind="identity")
def balance(trial: Trial) -> Evidence:
    """Credit normalised inside a group with binary rewards is symmetric: the right answers together get as much as the
    wrong ones lose, sum_right |A| = sum_wrong |A| (eq. 5), in every mixed group, for divisor n and n - 1.
    """
    for n in SIZES:
        for spec in ("grpo@paper", "a_grae@paper"):
            value = by_successes(n, spec)
            right, wrong = np.maximum(value, 0.0).sum(axis=1), np.maximum(-value, 0.0).sum(axis=1)
            trial.table(rule=spec.split("@")[0], members=n, p=np.arange(1, n) / n, right=right, wrong=wrong)
    return _check_balance("grpo@paper")


@balance.broken("A-GRAE, which holds praise back")
def _(trial: Trial) -> Evidence:
    return _check_balance("a_grae@paper")


def _check_balance(spec: str) -> Evidence:
    off = []
    for n in SIZES:
        for ddof in (0, 1):
            value = by_successes(n, spec, ddof=ddof)
            off.append(np.abs(np.maximum(value, 0.0).sum(axis=1) - np.maximum(-value, 0.0).sum(axis=1)).max())
    return exact_equality(off, 0.0, tolerance=1e-12, detail={"members": SIZES})


@claim("agrae.update-size", paper=PAPER, source="paper", kind="identity")
def update_size(trial: Trial) -> Evidence:
    """The credit that a binary group hands out depends on its success rate symmetrically: sum |A| = 2 n sqrt(p(1-p)), p
    the empirical rate (theorem 2), with the population deviation.

    With divisor n - 1, as all the codes have it, it is sqrt((n-1)/n) of that: symmetric all the same.
    """
    return _check_size("grpo@paper")


@update_size.broken("Dr.GRPO, without a deviation")
def _(trial: Trial) -> Evidence:
    return _check_size("dr_grpo@paper")


def _check_size(spec: str) -> Evidence:
    parts = []
    for ddof in (0, 1):
        params = {"ddof": ddof} if spec.startswith("grpo") else {}
        found = [np.abs(by_successes(n, spec, **params)).sum(axis=1) / n for n in SIZES]
        aim = [2.0 * np.sqrt(k * (1.0 - k)) for k in (np.arange(1, n) / n for n in SIZES)]
        ratio = [float((f / a).mean()) for f, a in zip(found, aim, strict=True)]
        detail = {"members": SIZES, "ratio": ratio}
        parts.append(exact_equality(np.concatenate(found), np.concatenate(aim), tolerance=1e-12, detail=detail))
    return conditional(*parts, note="deviation with divisor n")


def _mixed(spec: str, wins: Sequence[int], n: int, **params: object) -> np.ndarray:
    """(G, n) credit of groups with so many successes that make one batch."""
    return advantage(responses([[1.0] * k + [0.0] * (n - k) for k in wins], one_batch=True), spec, **params).reshape(
        -1, n
    )


BATCHES = ((1, 2, 4, 6, 7), (1, 1, 2, 3, 5), (4, 6, 7, 7, 7))


FOCUSES = {
    "GRPO": ("grpo@paper", {}),
    "hard focus": ("a_grae@hard-focused", {}),
    "easy focus": ("a_grae@easy-focused", {}),
    "easy focus, code": ("a_grae@easy-focused", {"easy": "one-minus-root"}),
}


@claim("agrae.focus-size", paper=PAPER, source="paper", kind="identity", figure="agrae_credit")
def focus_size(trial: Trial) -> Evidence:
    """Hard focus hands out sum |A| = n sqrt(1-p), easy focus n sqrt(p) (table 1b), and eq. 12 omega times the one plus
    1 - omega times the other; what eq. 13 takes back is C = -(1/2) (1 - min(1, omega / alpha)) of that. Population
    deviation; batches of five groups of eight, alpha 1 and 0.5.
    """
    n = 8
    p = np.arange(1, n) / n
    for rule, (spec, params) in FOCUSES.items():
        value = np.abs(by_successes(n, spec, ddof=0, eps=0.0, **params)).sum(axis=1) / n
        trial.table(rule=rule, p=p, size=value, predicted=predicted_size(rule, p), drawn=True)
        smooth = np.linspace(0.0, 0.97, 98)
        trial.table(rule=rule, p=smooth, size=0.0, predicted=predicted_size(rule, smooth), drawn=False)
    return _check_focus("one-minus-p")


def predicted_size(rule: str, p: np.ndarray) -> np.ndarray:
    """Sum of |A| over n in closed form."""
    forms = {
        "GRPO": 2.0 * np.sqrt(p * (1.0 - p)),
        "hard focus": np.sqrt(1.0 - p),
        "easy focus": np.sqrt(p),
        "easy focus, code": np.sqrt(p * (1.0 - p)) / (1.0 - np.sqrt(p)),
    }
    return forms[rule]


@focus_size.broken("the code's easy factor, 1 / (1 - sqrt(p))")
def _(trial: Trial) -> Evidence:
    return _check_focus("one-minus-root")


def _check_focus(easy: str) -> Evidence:
    n, exact = 8, {"ddof": 0, "eps": 0.0, "easy": easy}
    p = np.arange(1, n) / n
    hard = np.abs(by_successes(n, "a_grae@hard-focused", **exact)).sum(axis=1) / n
    soft = np.abs(by_successes(n, "a_grae@easy-focused", **exact)).sum(axis=1) / n
    parts = {
        "hard": exact_equality(hard, np.sqrt(1.0 - p), tolerance=1e-12),
        "easy": exact_equality(soft, np.sqrt(p), tolerance=1e-12),
    }
    both, taken, sizes, totals = [], [], [], []
    for wins in BATCHES:
        rate = np.array(wins) / n
        omega = rate.mean()
        whole = omega * np.sqrt(1.0 - rate) + (1.0 - omega) * np.sqrt(rate)
        value = _mixed("a_grae@paper", wins, n, alpha=None, **exact)
        both.append(np.abs(value).sum(axis=1) / n)
        sizes.append(whole)
        for alpha in (1.0, 0.5):
            value = _mixed("a_grae@paper", wins, n, alpha=alpha, **exact)
            taken.append(value.sum(axis=1) / n)
            totals.append(-0.5 * (1.0 - min(1.0, omega / alpha)) * whole)
    parts["both"] = exact_equality(both, sizes, tolerance=1e-12)
    parts["taken back"] = exact_equality(taken, totals, tolerance=1e-12)
    return all_of(parts)
