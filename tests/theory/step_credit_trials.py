"""Quick runs of the claims on SCPO and StepPO, each done once per session, for the tests of claims and of questions."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "scpo.conflict-mass": "supported",
    "scpo.sign-agreement": "supported",
    "scpo.fallback": "supported",
    "scpo.matcher-noise": "supported",
    "scpo.bounded-credit": "supported",
    "scpo.gain-over-horizon": "refuted",
    "scpo.bonus-direction": "conditional",
    "scpo.bonus-scale": "conditional",
    "steppo.ratio-variance": "conditional",
    "steppo.correlated-tokens": "conditional",
    "steppo.length-weight": "conditional",
    "steppo.step-gae-unbiased": "conditional",
    "steppo.signal-at-start": "supported",
    "steppo.matched-discount": "refuted",
    "steppo.decision-place": "supported",
    "steppo.ablation": "conditional",
    "steppo.gamma-robustness": "conditional",
    "steppo.boundary-critic": "conditional",
}
SAMPLED = {"steppo.ablation", "steppo.gamma-robustness"}


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
