"""Quick runs of GiGPO's claims, each done once per session, for the tests of claims and of questions."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "gigpo.episode-leave-one-out": "supported",
    "gigpo.std-reweighting": "conditional",
    "gigpo.row-weighting-offset": "supported",
    "gigpo.code-weighting-leave-one-out": "refuted",
    "gigpo.row-weighting-vanishes": "supported",
    "gigpo.singleton-rules-agree": "refuted",
    "gigpo.singleton-group-gradient": "conditional",
    "gigpo.singleton-step-zero": "conditional",
    "gigpo.anchor-advantage": "supported",
    "gigpo.anchor-revisit-bias": "conditional",
    "gigpo.anchor-revisit-decay": "supported",
    "gigpo.step-level-edge": "conditional",
    "gigpo.step-level-edge-fatal": "refuted",
    "gigpo.float32-equal-groups": "refuted",
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
