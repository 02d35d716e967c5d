"""From names to parts: tasks, wording and policy, as commands and training ask for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditsim.configs import load, parse_value
from creditsim.errors import InputError, UnknownNameError, choose, nearest
from llm_bridge.envs.base import TextTasks
from llm_bridge.policies.tiny import SIZES
from llm_bridge.prompts import DOMAINS, Wording, make_prompt

if TYPE_CHECKING:
    from llm_bridge.collect.walk import Prompter
    from llm_bridge.policies.plain import Acts

__all__ = ["KINDS", "PLAIN", "make_wording", "open_policy", "part_params", "prompter"]

KINDS = ("scoring", "generate")
PLAIN = ("random", "oracle")
"""Policies without a model."""


def make_wording(tasks: TextTasks, kind: str, *, history: int = 2, style: str = "full") -> Wording:
    """The wording of a family's prompts, for a policy that chooses among commands (scoring) or writes (generate)."""
    domain = tasks.name if tasks.name in DOMAINS else "plain"
    answer = "tags" if choose("kind", kind, KINDS) == "generate" else "command"
    return Wording(domain=domain, style=style, history=history, answer=answer)


def prompter(wording: Wording) -> Prompter:
    """How collection words a step."""
    return partial(make_prompt, wording)


def open_policy(name: str, tasks: TextTasks, wording: Wording, **options: Any) -> Acts:
    """The policy of that name: random, oracle, a size (a model made here), or the local folder of a model.

    `options` are fields of `PolicyConfig`. A model made here has a tokenizer trained on walks of the oracle and of a
    random policy through the environment. Errors: UnknownNameError for another name or option, InputError for an
    option of another type, and those of `policies.make.make_policy`.
    """
    from llm_bridge.policies import plain
    from llm_bridge.policies.config import PolicyConfig

    known = [field.name for field in dataclasses.fields(PolicyConfig)]
    wrong = next((option for option in options if option not in known), None)
    if wrong is not None:
        raise UnknownNameError("policy parameter", repr(wrong), " | ".join(known), nearest(wrong, known))
    if name in PLAIN:
        return plain.RandomPolicy() if name == "random" else plain.OraclePolicy()
    if name not in SIZES and not Path(name).is_dir():
        allowed = (*PLAIN, *SIZES)
        raise UnknownNameError(
            "policy", repr(name), f"{' | '.join(allowed)} | the local folder of a model", nearest(name, allowed)
        )
    from llm_bridge.collect.transcripts import transcripts
    from llm_bridge.policies.make import make_policy

    config = load(PolicyConfig, {"model": name, **options})
    return make_policy(config, transcripts(tasks, wording, seed=config.seed) if name in SIZES else ())


def part_params(texts: Iterable[str], parts: Iterable[str]) -> Mapping[str, dict[str, Any]]:
    """Read `part.name=value` strings into parameters by part; every part named has an entry."""
    out: dict[str, dict[str, Any]] = {part: {} for part in parts}
    for text in texts:
        left, equals, right = text.partition("=")
        part, dot, name = left.strip().partition(".")
        if not (equals and dot and name and right.strip()):
            raise InputError("params", repr(text), "part.name=value, as in design.group_size=4")
        if part not in out:
            raise UnknownNameError("params", repr(text), " | ".join(f"{p}.name=value" for p in out), nearest(part, out))
        out[part][name] = parse_value(right.strip(), f"params {part}.{name}")
    return out
