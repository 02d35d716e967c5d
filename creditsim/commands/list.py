"""`creditsim list KIND`: the names of one kind of part, with what each is in a line."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """List estimators, environments, methods, designs, signals, updates, losses or bandit rules."""

    kind: str
    """estimators | environments | methods | designs | signals | updates | losses | rules"""
    json: bool = False
    """Print JSON, for scripts."""


def run(config: Config) -> int:
    """Print the list; exit code 0."""
    from creditsim.inventory import entries

    found = entries(config.kind)
    if config.json:
        print(json.dumps([entry.as_dict() for entry in found], indent=2))
        return 0
    width = max((len(entry.name) for entry in found), default=0)
    for entry in found:
        presets = f"  [{', '.join(entry.presets)}]" if entry.presets else ""
        print(f"{entry.name:<{width}}  {entry.summary}{presets}")
    return 0
