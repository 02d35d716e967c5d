"""Which games there are: generated ones by name, or those of a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

from creditsim.errors import CorruptFileError, InputError, UnknownNameError, nearest
from llm_bridge.envs.alfworld.domain import TASK_TYPES, digest, source
from llm_bridge.envs.alfworld.export import export_games
from llm_bridge.envs.alfworld.games import SPLITS, GameFile, find_games, read_game
from llm_bridge.envs.alfworld.instances import Game, Size, generate
from llm_bridge.envs.base import TextEnv

__all__ = ["AlfworldTasks", "made_games", "stored_games", "walkthroughs"]

_SHIPPED = "walkthroughs.json"


@dataclass(frozen=True)
class AlfworldTasks:
    """ALFWorld's games by split. Holds no text: a game is generated, or read, where it is played."""

    ids: Mapping[str, tuple[str, ...]]
    """Task ids by split."""
    max_steps: int
    seed: int = 0
    size: Size = field(default_factory=Size)
    files: Mapping[str, GameFile] = field(default_factory=dict)
    """Where a stored game lies; empty: games are generated."""
    plans: str = ""
    """A file of walkthroughs besides the shipped ones."""
    name: str = "alfworld"
    reward_unit: float = 10.0

    def splits(self) -> Mapping[str, Sequence[str]]:
        """Task ids by split."""
        return self.ids

    def kind(self, task: str) -> str:
        """Task type of a game."""
        if self.files:
            return self._file(task).kind
        return _parts(task, self.ids)[1]

    def make(self) -> TextEnv:
        """A new environment; its engine is loaded at the first episode."""
        source()
        from llm_bridge.envs.alfworld.engine import AlfworldEnv

        return AlfworldEnv(self.game)

    def export(self, folder: Path) -> Iterator[Path]:
        """Write all games as the package stores its own; see `export_games`."""
        return export_games(self, folder)

    def game(self, task: str) -> Game:
        """The game of that id, with a walkthrough where one is known."""
        if self.files:
            return read_game(task, self._file(task))
        split, kind, index = _parts(task, self.ids)
        made = _made(self.seed, split, kind, index, self.size)
        return replace(made, walkthrough=walkthroughs(self.plans).get(digest(made.problem), ()))

    def _file(self, task: str) -> GameFile:
        if task not in self.files:
            raise UnknownNameError("task", repr(task), f"one of {len(self.files)} games", nearest(task, self.files))
        return self.files[task]


def made_games(
    seed: int, train: int, valid: int, kinds: Sequence[str], size: Size, max_steps: int, plans: str
) -> AlfworldTasks:
    """Generated games: `train` of each type in the train rooms, `valid` in the same and in rooms not trained on."""
    walkthroughs(plans)  # a bad file is told now, not at the first game
    counts = dict(zip(SPLITS, (train, valid, valid), strict=True))
    ids = {split: tuple(f"{split}/{k}/{i}" for i in range(n) for k in kinds) for split, n in counts.items() if n}
    if not any(ids.values()):
        raise InputError("games", "none", "at least one of train, valid above 0 and a task type")
    return AlfworldTasks(ids, max_steps, seed, size, plans=plans)


def stored_games(folder: str, other_versions: str, max_steps: int) -> AlfworldTasks:
    """Games of a folder; see `find_games` for what is left out and what is an error."""
    found = find_games(folder, other_versions)
    files = {task: file for games in found.values() for task, file in games.items()}
    return AlfworldTasks({split: tuple(games) for split, games in found.items()}, max_steps, files=files)


@cache
def walkthroughs(plans: str = "") -> Mapping[str, tuple[str, ...]]:
    """Commands that win, by the hash of the game's problem: shipped, and those of a file of the same form."""
    shipped = resources.files("llm_bridge.envs.alfworld") / _SHIPPED
    texts = [shipped.read_text(encoding="utf-8")] if shipped.is_file() else []
    try:
        texts += [Path(plans).read_text(encoding="utf-8")] if plans else []
        return {key: tuple(plan) for text in texts for key, plan in json.loads(text).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorruptFileError(
            "plans", f"{plans} ({type(error).__name__})", "a JSON object: hash to commands"
        ) from None


@lru_cache(maxsize=1024)
def _made(seed: int, split: str, kind: str, index: int, size: Size) -> Game:
    return generate(seed, split, kind, index, size)


def _parts(task: str, ids: Mapping[str, Sequence[str]]) -> tuple[str, str, int]:
    split, _, rest = task.partition("/")
    kind, _, index = rest.partition("/")
    if split not in ids or kind not in TASK_TYPES or not index.isdecimal():
        every = [name for names in ids.values() for name in names]
        raise UnknownNameError("task", repr(task), f"one of {len(every)} games", nearest(task, every))
    return split, kind, int(index)
