"""Quick runs of the claims on A2TGPO, IGPO, DVAO and CANON, each done once per session."""

from __future__ import annotations

from functools import cache
from typing import Any

from figures.base import Data
from theory.claim import CLAIMS, Claim, Trial, facts

ALPHA, SEED = 1e-4, 0

VERDICTS = {
    "a2tgpo.positional-bias": "supported",
    "a2tgpo.root-rule": "conditional",
    "a2tgpo.clip-range": "supported",
    "a2tgpo.no-collapse": "supported",
    "igpo.shaping-invariance": "conditional",
    "igpo.normalised-gains": "conditional",
    "igpo.gain-is-advantage": "supported",
    "dvao.raw-sum": "supported",
    "dvao.mean-square": "conditional",
    "dvao.bounded": "supported",
    "dvao.sensitivity": "supported",
    "dvao.scale-free": "refuted",
    "dvao.gradient-variance": "supported",
    "dvao.signal-to-noise": "refuted",
    "dvao.weighs-signal": "conditional",
    "dvao.front": "conditional",
    "canon.half-is-dr-grpo": "conditional",
    "canon.amplification": "supported",
    "canon.equal-halves": "refuted",
    "canon.unrelated-condition": "supported",
    "canon.expected-gradient": "conditional",
    "canon.direction": "supported",
    "canon.variance": "supported",
    "canon.entropy-in-mu": "conditional",
}
SAMPLED = ("igpo.gain-is-advantage", "dvao.front", "canon.expected-gradient", "canon.variance")


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
