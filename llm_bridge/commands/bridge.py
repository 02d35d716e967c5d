"""`creditsim bridge WHAT`: a table of sub-commands, each a module with `Config` and `run(config) -> exit code`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

_WHERE = {
    "curves": "llm_bridge.commands.curves",
    "eval": "llm_bridge.commands.eval",
    "make-data": "llm_bridge.commands.make_data",
    "play": "llm_bridge.commands.play",
    "rollout": "llm_bridge.commands.rollout",
    "train": "llm_bridge.commands.train",
    "twin": "llm_bridge.commands.twin",
}

Config: Mapping[str, type[Any]] = {name: importlib.import_module(module).Config for name, module in _WHERE.items()}


def run(config: Any) -> int:
    """Run the sub-command whose settings these are."""
    return int(sys.modules[type(config).__module__].run(config))
