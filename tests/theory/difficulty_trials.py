"""Quick runs of the claims on COPO and A-GRAE, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "copo.silent-prompts": "supported",
    "copo.between-prompt-variance": "supported",
    "copo.blend-follows-entropy": "conditional",
    "copo.soft-gate": "conditional",
    "copo.zero-gate": "conditional",
    "copo.expected-global-gradient": "conditional",
    "copo.shared-parameters": "supported",
    "agrae.balance": "supported",
    "agrae.update-size": "conditional",
    "agrae.focus-size": "supported",
    "agrae.unsampled-logits": "supported",
    "agrae.unsampled-probability": "refuted",
    "agrae.unsampled-falls": "conditional",
    "agrae.negative-raises": "conditional",
    "agrae.pass-at-k": "conditional",
    "agrae.focus-by-stage": "conditional",
    "agrae.entropy-order": "conditional",
}
SAMPLED = ("agrae.pass-at-k", "agrae.focus-by-stage", "agrae.entropy-order")


def entry(name: str) -> Claim:
    """The claim."""
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
    """Numbers beside the verdict."""
    return result(name).meta["detail"]
