"""What sub-commands share: the options of every one, and a bar that is off when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_bridge.envs.base import TextTasks

SHIPPED = ("alfworld", "webshop")
"""Environments that a command without names is about."""


@dataclass(frozen=True)
class CommonOptions:
    """Options of every sub-command."""

    params: tuple[str, ...] = ()
    """Parameters as part.name=value: env.n_goals=50 design.copies=4 policy.dtype=bfloat16."""
    seed: int = 0
    """Seed of all random numbers."""
    workers: int = 0
    """Processes that hold the environments; 0: this one."""
    config: str | None = None
    """A TOML file of these options; options on the command line win."""
    json: bool = False
    """Print JSON, for scripts."""


@contextmanager
def bar(total: int | None, what: str, unit: str) -> Iterator[Callable[[int], object]]:
    """A progress bar on a terminal; gives the function that moves it."""
    from tqdm import tqdm

    # `disable=None` is tqdm's "off when not a terminal"; what is over in two seconds shows none.
    with tqdm(total=total, desc=what, unit=unit, disable=None, file=sys.stderr, leave=False, delay=2.0) as shown:
        yield shown.update


def game_count(tasks: TextTasks) -> dict[str, int]:
    """Games of each split."""
    return {split: len(ids) for split, ids in tasks.splits().items()}
