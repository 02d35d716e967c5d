"""What a written answer says: the command in its `<action>` tags, and whether the format was kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["TAIL", "Parsed", "parse", "tagged"]

TAIL = {"alfworld": 30, "webshop": 20}
"""Characters from the end that stand for the command where the tags are missing."""

_CHINESE = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Parsed:
    """A command read from an answer."""

    action: str
    """In lower case, without surrounding blanks; may mean nothing to the environment, which is asked afterwards."""
    well_formed: bool
    """Whether the format was kept. Says nothing of admissibility."""


def parse(text: str, *, tail: int = 30) -> Parsed:
    """Read the command of an answer: what stands between the first `<action>` and the first `</action>`.

    The text is taken in lower case. Without an `<action>` pair the last `tail` characters are the command and the
    answer is ill-formed. It is well-formed only if it also has `<think>` and `</think>` and no Chinese character; a
    command in its tags is still the command then. An `</action>` before the `<action>` is no pair (evidence for this
    case: inferred). Source: the action projections of verl-agent (evidence: code, read in forks).
    """
    lower = text.lower()
    start, end = lower.find("<action>"), lower.find("</action>")
    if start == -1 or end < start:
        return Parsed(lower[-tail:].strip(), False)
    thought = "<think>" in lower and "</think>" in lower
    return Parsed(lower[start + len("<action>") : end].strip(), thought and not _CHINESE.search(text))


def tagged(action: str, thought: str = "") -> str:
    """Write the well-formed answer that gives `action`."""
    return f"<think>{thought}</think><action>{action}</action>"
