"""Quick runs of HGPO's claims, each done once per test session and shared by tests of claims, figures and questions."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "hgpo.level-bias": "supported",
    "hgpo.deepest-level-unbiased": "conditional",
    "hgpo.interpolation": "supported",
    "hgpo.jensen-bound": "conditional",
    "hgpo.baseline-noise": "supported",
    "hgpo.deep-levels-noisier": "conditional",
    "hgpo.alpha-minimum": "conditional",
    "hgpo.deeper-history-better": "conditional",
    "hgpo.markov-no-gain": "supported",
    "hgpo.raw-error-comparison": "refuted",
    "hgpo.aliasing-keeps-gradient": "supported",
    "hgpo.one-factor": "conditional",
    "hgpo.zero-drop-direction": "refuted",
    "hgpo.zero-drop-continuous": "refuted",
    "hgpo.std-rescales": "conditional",
    "hgpo.favourable-trade-off": "conditional",
    "hgpo.level-weights": "refuted",
    "hgpo.k0-is-gigpo": "refuted",
}


def hgpo_claim(name: str) -> Claim:
    return CLAIMS[name]


@cache
def hgpo_result(name: str) -> Data:
    """Table and evidence of a claim at quick size."""
    trial = Trial("quick", ALPHA, SEED)
    evidence = hgpo_claim(name).function(trial)
    return Data(trial.data, facts(evidence))


@cache
def hgpo_variant(name: str, kind: str) -> dict[str, Any]:
    """Evidence of a claim's twin or control at quick size."""
    return facts(hgpo_claim(name).variants[kind].check(Trial("quick", ALPHA, SEED)))


def hgpo_detail(name: str) -> dict[str, Any]:
    return hgpo_result(name).meta["detail"]
