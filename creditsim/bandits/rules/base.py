"""What an allocation rule is: a scalar function of what has been seen, its kernel, and what it asks for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from creditsim.errors import InputError, choose
from creditsim.registry import Bound, Evidence, Part, Registry

__all__ = ["FEEDBACK", "RULES", "Rule", "at_least", "check_feedback", "positive", "rule"]

FEEDBACK = ("bandit", "full")
RULES: Registry[Rule] = Registry("rule", "creditsim.bandits.rules")


@dataclass(frozen=True)
class Rule(Part):
    """A registered rule. Its function `rule(bandit, **params) -> tuple of floats` checks the parameters and packs them.

    `run` is the kernel over replications. `walk` says which loop it is made from: "index" (`step` is then the pair
    (terms, growth)), "choice" (the arm), "shares" (weights of the arms), "batch" (rollouts of every arm, per
    iteration). `feedback` it can work with, `binary`: rewards 0 and 1 only, `initial`: pulls of each arm it cannot do
    without. `memory(K)` floats and `words(K)` random words are its own.
    """

    run: Callable[..., None] = lambda *_: None
    walk: str = "choice"
    step: Any = None
    feedback: tuple[str, ...] = ("bandit",)
    binary: bool = False
    initial: int = 1
    memory: Callable[[int], int] = lambda arms: 0
    words: Callable[[int], int] = lambda arms: 0


Pack = Callable[..., tuple[float, ...]]


def rule(
    name: str, *, paper: str, evidence: Evidence, run: Callable[..., None], walk: str, step: Any, **traits: Any
) -> Callable[[Pack], Pack]:
    """Register a rule; its docstring gives the formula, `traits` are the other fields of `Rule`."""

    def register(pack: Pack) -> Pack:
        RULES.add(Rule("rule", name, pack, paper=paper, evidence=evidence, run=run, walk=walk, step=step, **traits))
        return pack

    return register


def check_feedback(bound: Bound, feedback: str) -> Rule:
    """Return the rule if it works with this feedback; InputError naming the rule otherwise."""
    choose("feedback", feedback, FEEDBACK)
    part = bound.part
    if not isinstance(part, Rule):
        raise InputError("rule", repr(bound), "one of creditsim.bandits.RULES")
    if feedback not in part.feedback:
        raise InputError("feedback", f"{feedback!r} for {part.name}", " | ".join(part.feedback))
    return part


def positive(name: str, value: float) -> float:
    """Return a finite number > 0; InputError otherwise."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(name, value, "a number > 0")
    return float(value)


def at_least(name: str, value: float, low: float, high: float = math.inf) -> float:
    """Return a number in [low, high]; InputError otherwise."""
    if not low <= value <= high:
        raise InputError(
            name, value, f"a number >= {low:g}" if high == math.inf else f"a number in [{low:g}, {high:g}]"
        )
    return float(value)
