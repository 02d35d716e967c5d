"""Quick runs of the StepMix claims, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Trial, facts

ALPHA, SEED = 1e-5, 0

VERDICTS = {
    "stepmix.safe-in-every-episode": "supported",
    "stepmix.regret-order": "supported",
    "stepmix.price-of-slack": "supported",
    "stepmix.linear-in-weight": "supported",
    "stepmix.offline-baseline": "conditional",
    "epsmix.same-as-stepmix": "supported",
}


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
