"""Quick runs of the claims about turns and plateaus, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "seeupo.grae-gradient": "supported",
    "seeupo.group-std-order": "conditional",
    "seeupo.grae-loses-monotonicity": "conditional",
    "seeupo.backbones": "refuted",
    "seeupo.batch-normalisation": "conditional",
    "seeupo.reverse-optimal": "supported",
    "seeupo.other-orders-stuck": "conditional",
    "seeupo.soft-updates-arrive": "conditional",
    "seeupo.sequential-monotone": "conditional",
    "seeupo.simultaneous-monotone": "conditional",
    "seeupo.product-variance": "supported",
    "seeupo.product-clip": "conditional",
    "stagnation.plateau-closed-form": "supported",
    "stagnation.resumes": "conditional",
    "stagnation.best-step-grows": "supported",
    "stagnation.noise-vanishes": "conditional",
    "stagnation.scaled-minibatch": "supported",
}


def entry(name: str) -> Claim:
    return CLAIMS[name]


@cache
def result(name: str) -> Data:
    """Table and evidence of a claim at quick size."""
    trial = Trial("quick", ALPHA, SEED)
    evidence = entry(name).function(trial)
    return Data(trial.data, facts(evidence))


@cache
def variant(name: str, kind: str) -> dict[str, Any]:
    """Evidence of a claim's twin or control at quick size."""
    return facts(entry(name).variants[kind].check(Trial("quick", ALPHA, SEED)))


def detail(name: str) -> dict[str, Any]:
    return result(name).meta["detail"]
