"""Quick runs of the claims on text recordings, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-5, 0

VERDICTS = {
    "bridge.same-credit": "supported",
    "bridge.silent-groups": "supported",
    "hgpo.context-inconsistency": "supported",
    "hgpo.inconsistency-falls": "supported",
    "gigpo.anchors-are-states": "refuted",
    "gigpo.most-steps-have-company": "supported",
    "bridge.learns": "inconclusive",
    "3spo.learns-on-text": "refuted",
}
EXACT = ("bridge.same-credit", "bridge.silent-groups")


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
