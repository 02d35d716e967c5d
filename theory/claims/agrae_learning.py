"""A-GRAE: what its asymmetries do to learning, from sampled groups on prompts from easy to hard."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from creditsim.rng import derive_seed
from creditsim.stats.intervals import mean_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.claims.agrae import PAPER
from theory.prompt_learning import RULES, Learning, Prompts, pass_at_k

PROMPTS, ANSWERS, MEMBERS, UPDATES, RATE = 8, 32, 8, 48, 1.0
EARLY = UPDATES // 6
MANY = 256
"""Answers of the largest pass@k, as in the paper."""
MARGIN = 0.01
"""A hundredth of a pass rate does not matter."""
KS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])


@cache
def prompts() -> Prompts:
    """Eight prompts of 32 answers, a quarter of which are right for the easiest and one for the hardest."""
    return Prompts.of(prompts=PROMPTS, answers=ANSWERS, easiest=0.25)


@cache
def learnt(rule: str, sharing: float, replicates: int, seed: int, match: bool = True) -> Learning:
    """Runs of a rule, the same draws for all rules."""
    return prompts().learn(
        RULES[rule], members=MEMBERS, updates=UPDATES, rate=RATE, replicates=replicates,
        seed=derive_seed(seed, "prompt learning"), sharing=sharing, match=match,
    )  # fmt: skip


def _runs(trial: Trial, rule: str, sharing: float, match: bool = True) -> Learning:
    # Runs differ more where prompts share parameters: luck on one moves all.
    replicates = trial.pick(128, 512, 2048) if sharing else trial.pick(32, 128, 512)
    return learnt(rule, sharing, replicates, trial.seed, match)


def _at_least(trial: Trial, above: np.ndarray, below: np.ndarray, margin: float = 0.0) -> Evidence:
    """The mean of `above` (R,) is no smaller than that of `below`, up to a margin, from paired runs."""
    summary = Moments().add(above - below, 0).summary()
    detail = {"above": float(np.mean(above)), "below": float(np.mean(below))}
    at = {"margin": margin, "alpha": trial.alpha, "detail": detail}
    return inequality(lambda a: mean_interval(summary, alpha=a), ">=", 0.0, **at)


@claim("agrae.pass-at-k", paper=PAPER, source="paper", kind="convergence", figure="agrae_passk")
def pass_at_many(trial: Trial) -> Evidence:
    """Credit that leans to the negative keeps breadth: after training pass@256 of A-GRAE and of negative-dominant
    credit is no lower than GRPO's, to within 0.01.

    Inside, each prompt has a table of its own: nothing is lost then by any rule, GRPO included. Outside, prompts share
    half of their logits, which is what lets GRPO's pass@256 fall below the initial policy's, as reported; but there the
    others fall further: what raises all unsampled answers in proportion to their probability lets answers win that are
    wrong for the hard prompts. Eight prompts, credit of equal size.
    """
    initial = pass_at_k(prompts().right.mean(axis=1), KS)
    trial.table(rule="initial", k=KS, passed=initial, error=0.0, ahead=0.0, ahead_error=0.0)
    plain = pass_at_k(_runs(trial, "GRPO", 1.0).success[-1], KS)
    for rule in RULES:
        passed = pass_at_k(_runs(trial, rule, 1.0).success[-1], KS)
        trial.table(
            rule=rule, k=KS, passed=passed.mean(axis=1), error=_error(passed), ahead=(passed - plain).mean(axis=1),
            ahead_error=_error(passed - plain),
        )  # fmt: skip
    return _check_passk(trial, MANY)


@pass_at_many.broken("ask for pass@1 in place of pass@256")
def _(trial: Trial) -> Evidence:
    return _check_passk(trial, 1)


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over replicates, the last axis."""
    return values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])


def _check_passk(trial: Trial, k: int) -> Evidence:
    initial = float(pass_at_k(prompts().right.mean(axis=1), np.array([k]))[0])
    parts = []
    for sharing in (0.0, 1.0):
        passed = {rule: pass_at_k(_runs(trial, rule, sharing).success[-1], np.array([k]))[0] for rule in RULES}
        keeps = {
            rule: _at_least(trial, passed[rule], passed["GRPO"], MARGIN) for rule in ("A-GRAE", "negative-dominant")
        }
        means = {rule: float(values.mean()) for rule, values in passed.items()}
        found = all_of(keeps, alpha=trial.alpha)
        parts.append(replace(found, detail={**found.detail, "initial": initial, "after": means}))
    return conditional(*parts, note="prompts that share no parameters")


@claim("agrae.focus-by-stage", paper=PAPER, source="paper", kind="convergence", figure="agrae_learning")
def focus_by_stage(trial: Trial) -> Evidence:
    """Easy focus helps early and hard focus late: for the mean success J, J(easy) >= J(hard) after 8 of 48 updates, and
    J(hard) >= J(easy) after all of them.

    Inside, prompts share half of their logits; outside, each has a table of its own: then nothing competes, hard focus
    only makes the last steps of what is nearly solved smaller, and easy focus ends higher too.
    """
    for sharing in (0.0, 1.0):
        for rule in RULES:
            success = _runs(trial, rule, sharing).success
            solved = (success > 0.5).sum(axis=-1)
            trial.table(
                sharing=sharing, rule=rule, update=np.arange(UPDATES + 1), solved=solved.mean(axis=1),
                error=_error(solved), success=success.mean(axis=(1, 2)),
            )  # fmt: skip
    return _check_stage(trial, "easy-focused", "hard-focused")


@focus_by_stage.broken("the names exchanged")
def _(trial: Trial) -> Evidence:
    return _check_stage(trial, "hard-focused", "easy-focused")


def _check_stage(trial: Trial, first: str, last: str) -> Evidence:
    parts = []
    for sharing in (1.0, 0.0):
        early, late = (
            [_runs(trial, rule, sharing).success[at].mean(axis=-1) for rule in (first, last)] for at in (EARLY, UPDATES)
        )
        stages = {"early": _at_least(trial, early[0], early[1]), "late": _at_least(trial, late[1], late[0])}
        parts.append(all_of(stages, alpha=trial.alpha))
    return conditional(*parts, note="prompts compete for shared parameters")


@claim("agrae.entropy-order", paper=PAPER, source="paper", kind="convergence", figure="agrae_learning")
def entropy_order(trial: Trial) -> Evidence:
    """Positive-dominant credit loses entropy fastest and negative-dominant slowest: H(positive) <= H(GRPO) <=
    H(negative) after a third of the updates.

    As published, with praise times 10 and over 10: inside. Outside, credit of equal size: positive-dominant then keeps
    more entropy than GRPO; it was the size of its steps that lost it. Negative-dominant is slowest in both.
    """
    for match in (False, True):
        for rule in ("positive-dominant", "GRPO", "negative-dominant"):
            found = _runs(trial, rule, 0.0, match).entropy
            trial.table(match=match, rule=rule, update=np.arange(UPDATES + 1), entropy=found.mean(axis=1))
    return _check_entropy(trial, "positive-dominant", "negative-dominant")


@entropy_order.broken("the names exchanged")
def _(trial: Trial) -> Evidence:
    return _check_entropy(trial, "negative-dominant", "positive-dominant")


def _check_entropy(trial: Trial, fast: str, slow: str) -> Evidence:
    parts = []
    for match in (False, True):
        low, middle, high = (_runs(trial, rule, 0.0, match).entropy[UPDATES // 3] for rule in (fast, "GRPO", slow))
        orders = {"fastest": _at_least(trial, middle, low), "slowest": _at_least(trial, high, middle)}
        parts.append(all_of(orders, alpha=trial.alpha))
    return conditional(*parts, note="praise times 10 and over 10, as published")
