"""How one step is put to a policy: role, task, steps so far, the last k turns, what is seen now, what may be done.

A prompt is built anew at every step from the present observation and a window of the past, as verl-agent does it; a
conversation never grows. The wording is our own, the fields are theirs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from creditsim.errors import InputError, choose
from llm_bridge.envs.base import Observation
from llm_bridge.policies.base import Prompt

__all__ = ["DOMAINS", "STYLES", "Turn", "Wording", "make_prompt", "query_of"]

DOMAINS = ("plain", "alfworld", "webshop")
STYLES = ("full", "compact")
ANSWERS = ("tags", "command")

_ROLES = {
    "plain": "You act step by step in an environment that is described in words.",
    "alfworld": "You are a household robot in the text world of ALFRED, and you act by short commands.",
    "webshop": "You are a careful shopper in the online store WebShop, and you act by searching and clicking.",
}
_ASK = {
    "tags": (
        "Decide on the next command. Think it through first, inside <think> </think>. "
        "Then give exactly one of the commands above, inside <action> </action>."
    ),
    "command": "Give the next command, exactly one of those above.",
}
_SEPARATOR = " [SEP] "
_QUERY = "<your query>"
_PRICE = re.compile(r",?\s*(?:and\s+)?price (?:lower|less) than [\d.,]+ dollars?", re.IGNORECASE)
_WORD = re.compile(r"[^\W_](?:[^\W_]|[.'/-])*")
_FILLERS = frozenset(
    "a an am and are can could find for get give have i i'd i'm i'll in instruction is it like looking me my need "
    "of on or please some that the to want which with would you".split()
)


@dataclass(frozen=True)
class Turn:
    """One step of the past as a prompt tells it."""

    observation: str
    """What was seen before the command, in the environment's own words."""
    action: str
    """The command as it was parsed."""


@dataclass(frozen=True)
class Wording:
    """The choices that fix a prompt's words."""

    domain: str = "plain"
    """plain | alfworld | webshop."""
    style: str = "full"
    """full: every field, for models that read English; compact: task and last turns only, for tiny models."""
    history: int = 2
    """Turns of the past that are told (k)."""
    answer: str = "tags"
    """tags: think, then a command in tags; command: the bare command, for policies that choose among commands."""
    longest: int = 13_000
    """Characters above which a WebShop prompt falls back to the form without history."""

    def __post_init__(self) -> None:
        choose("domain", self.domain, DOMAINS)
        choose("style", self.style, STYLES)
        choose("answer", self.answer, ANSWERS)
        if self.history < 0 or self.longest < 1:
            raise InputError("history, longest", (self.history, self.longest), "history >= 0 and longest >= 1")


def make_prompt(
    wording: Wording, observation: Observation, past: Sequence[Turn] = (), *, steps: int | None = None
) -> Prompt:
    """Word one step.

    `past` holds earlier turns in order, of which the last `wording.history` are told; `steps` is the number of steps
    taken where `past` does not hold them all. ALFWorld's `help` is dropped from the commands. With
    `answer="command"` a template such as search[<your query>] is filled from the task (see `query_of`), because a
    policy that chooses cannot write. Fields after verl-agent (evidence: code, read in forks); the words, the compact
    style and the filled query are ours.
    """
    taken = len(past) if steps is None else steps
    commands = _commands(wording, observation)
    turns = [Turn(_seen(wording, turn.observation, observation.task), turn.action) for turn in past]
    turns = turns[max(len(turns) - wording.history, 0) :]
    seen = _seen(wording, observation.text, observation.task)
    if wording.style == "compact":
        return Prompt(_compact(observation.task, seen, turns), commands)
    text = _full(wording, observation.task, seen, commands, turns, taken)
    if wording.domain == "webshop" and len(text) > wording.longest:
        text = _full(wording, observation.task, seen, commands, [], 0)
    return Prompt(text, commands)


@functools.lru_cache(maxsize=4096)
def query_of(task: str) -> str:
    """Return search words for a shopping task: its words without fillers, repetitions and the price clause."""
    words = [word.rstrip(".'/-") for word in _WORD.findall(_PRICE.sub("", task.lower()))]
    return " ".join(dict.fromkeys(word for word in words if word not in _FILLERS))


def _commands(wording: Wording, observation: Observation) -> tuple[str, ...]:
    commands = observation.admissible
    if wording.domain == "alfworld":
        commands = tuple(command for command in commands if command != "help")
    if wording.answer == "command":
        commands = tuple(command.replace(_QUERY, query_of(observation.task)) for command in commands)
    return commands


def _seen(wording: Wording, text: str, task: str) -> str:
    """Return an observation as the prompt shows it: on WebShop its parts after the instruction, quoted."""
    if wording.domain != "webshop":
        return text.strip()
    parts = text.split(_SEPARATOR)
    if task in parts:
        parts = parts[parts.index(task) + 1 :]
    if wording.style == "compact":
        return " | ".join(parts)
    return _SEPARATOR.join(f"'{part}'" for part in parts)


def _full(wording: Wording, task: str, seen: str, commands: Sequence[str], turns: Sequence[Turn], taken: int) -> str:
    lines = [_ROLES[wording.domain]]
    if turns or task not in seen:
        lines.append(f"Your task: {task}")
    if turns:
        first = taken - len(turns) + 1
        lines.append(f"Steps taken so far: {taken}. The last {len(turns)} of them, what you saw and what you did:")
        lines += [
            f"[Observation {first + i}: '{turn.observation}', Action {first + i}: '{turn.action}']"
            for i, turn in enumerate(turns)
        ]
        lines.append(f"This is step {taken + 1}. You now see: {seen}")
    else:
        lines.append(f"You now see: {seen}")
    lines.append("Commands you may give: [" + ", ".join(f"'{command}'" for command in commands) + "]")
    lines.append(_ASK[wording.answer])
    return "\n".join(lines) + "\n"


def _compact(task: str, seen: str, turns: Sequence[Turn]) -> str:
    told = "".join(f"{turn.observation}\n> {turn.action}\n" for turn in turns)
    return f"{task}\n{told}{seen}\n>"
