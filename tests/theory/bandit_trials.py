"""Quick runs of the per-state bandit claims, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "3spo.concentration": "conditional",
    "3spo.score-separation": "supported",
    "3spo.non-worst-share": "supported",
    "3spo.share-exponent": "supported",
    "3spo.log-regret": "conditional",
    "3spo.regret-border": "supported",
    "3spo.lock-in": "supported",
    "3spo.forced-exploration": "supported",
    "3spo.ceil-is-linear": "supported",
    "3spo.below-lai-robbins": "supported",
    "3spo.identification": "supported",
    "3spo.identification-rate": "supported",
    "3spo.score-distinguishable": "conditional",
    "3spo.filter-stability": "supported",
    "ucb1.regret-bound": "supported",
    "kl-ucb.regret-bound": "supported",
    "kl-ucb.lai-robbins": "supported",
    "boltzmann.linear-regret": "supported",
}

SAMPLED = {
    "3spo.lock-in", "3spo.forced-exploration", "3spo.below-lai-robbins", "ucb1.regret-bound", "kl-ucb.regret-bound",
    "kl-ucb.lai-robbins", "boltzmann.linear-regret",
}  # fmt: skip


@cache
def result(name: str) -> Data:
    """Table and evidence of a claim at quick size."""
    trial = Trial("quick", ALPHA, SEED)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


@cache
def variant(name: str, kind: str) -> dict[str, Any]:
    """Evidence of a claim's twin at quick size."""
    return facts(CLAIMS[name].variants[kind].check(Trial("quick", ALPHA, SEED)))


def detail(name: str) -> dict[str, Any]:
    """Numbers beside the verdict."""
    return result(name).meta["detail"]
