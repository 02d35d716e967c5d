"""Quick runs of the baseline, PPO, pass@k, GSPO and per-turn claims, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "opo.best-constant-baseline": "supported",
    "opo.least-variance": "conditional",
    "opo.usually-better-than-mean": "refuted",
    "opo.self-inclusion-bias": "supported",
    "otb.score-identity": "supported",
    "otb.no-worse-than-any-constant": "conditional",
    "otb.best-by-position": "refuted",
    "remax.unbiased": "supported",
    "remax.less-variance": "conditional",
    "remax.border": "supported",
    "passk.unbiased": "supported",
    "passk.std-keeps-direction": "refuted",
    "gae.bias": "supported",
    "gae.unbiased-at-one": "supported",
    "gae.variance-rises": "conditional",
    "gae.gradient-variance-rises": "conditional",
    "gae.best-lambda": "supported",
    "gspo.unbiased": "refuted",
    "gspo.ratio-variance": "conditional",
    "gspo.gradient-variance": "refuted",
    "gspo.product-variance": "supported",
    "per-turn.expected-gradient": "supported",
    "per-turn.wrong-sign": "supported",
    "per-turn.blind-to-length": "supported",
    "per-turn.unbiased": "conditional",
    "per-turn.charge-to-the-end": "supported",
    "ppo.separate-turns": "supported",
}


@cache
def result(name: str) -> Data:
    """Table and evidence of a claim at quick size."""
    trial = Trial("quick", ALPHA, SEED)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


@cache
def variant(name: str, kind: str) -> dict[str, Any]:
    """Evidence of a claim's twin or control at quick size."""
    return facts(CLAIMS[name].variants[kind].check(Trial("quick", ALPHA, SEED)))


def detail(name: str) -> dict[str, Any]:
    """Numbers beside the verdict."""
    return result(name).meta["detail"]
