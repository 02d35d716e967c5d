"""Games as alfworld stores them, folders with `game.tw-pddl` and `traj_data.json`: all checked before any is played.

A game file holds a domain and a grammar of its own, and the stock engine evaluates what stands in a grammar. Here both
must be the installed package's, the task sentence apart, and the package's are what is played.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditsim.errors import CorruptFileError, InputError, UnknownNameError, choose, nearest
from llm_bridge.envs.alfworld.domain import TASK_TYPES, UNKNOWN_GOAL, source
from llm_bridge.envs.alfworld.instances import Game

__all__ = ["SPLITS", "GameFile", "find_games", "read_game"]

SPLITS = ("train", "valid_seen", "valid_unseen")
_FIELDS = ("pddl_domain", "grammar", "pddl_problem", "solvable")
_SENTENCE = re.compile(r"Your task is to: (.+?)\.\"")
_UNSUPPORTED = ("movable", "Sliced")
"""Words in a folder's name of games that alfworld does not support in text."""


@dataclass(frozen=True)
class GameFile:
    """Where a game lies and of which type it is; its text is read when it is played."""

    path: Path
    kind: str
    other_versions: str


def find_games(folder: str | Path, other_versions: str = "refuse") -> dict[str, dict[str, GameFile]]:
    """Find the playable games below a folder: by split, by id (the folder below it), in order of id.

    The split is the last folder named `train`, `valid_seen` or `valid_unseen`, else `train`. Games of movable
    receptacles and sliced objects are left out, as alfworld leaves them out, and so are games that are not marked
    solvable. `other_versions`: "refuse" games whose domain or grammar is not the installed package's, or "retell" them
    with the package's. Errors: InputError for no folder, no game, a missing field, an unknown task type, another
    version; CorruptFileError for a file that is no JSON. Each names the file.
    """
    choose("other_versions", other_versions, ("refuse", "retell"))
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InputError("games", str(folder), "a folder with game.tw-pddl files below it")
    found: dict[str, dict[str, GameFile]] = {}
    seen = 0
    for path in sorted(root.rglob("game.tw-pddl")):
        if any(word in str(path.parent.relative_to(root)) for word in _UNSUPPORTED):
            continue
        seen += 1
        game = GameFile(path, _kind(path.parent / "traj_data.json"), other_versions)
        if _fields(path)["solvable"]:
            read_game(path.parent.name, game)
            split = next((part for part in reversed(path.parts) if part in SPLITS), "train")
            name, games = f"{split}/{_below(path, split, root)}", found.setdefault(split, {})
            if name in games:
                raise InputError(
                    "games", f"{name} below two folders", f"one of {path.parent}, {games[name].path.parent}"
                )
            games[name] = game
    if not found:
        what = f"{seen} games, none marked solvable" if seen else "no game.tw-pddl"
        raise InputError("games", f"{what} below {folder}", "at least one solvable game")
    return {split: found[split] for split in SPLITS if split in found}


def read_game(name: str, file: GameFile) -> Game:
    """Read one game; errors as in `find_games`."""
    fields, package = _fields(file.path), source()
    before, after = package.grammar.split(UNKNOWN_GOAL)
    grammar = fields["grammar"]
    walkthrough = tuple(fields.get("walkthrough") or ())
    if fields["pddl_domain"] == package.domain and grammar.startswith(before) and grammar.endswith(after):
        sentence = grammar[len(before) : len(grammar) - len(after)]
    elif file.other_versions == "retell" and (match := _SENTENCE.search(grammar)):
        sentence, walkthrough = match[1], ()  # its commands may be worded as that version words them
    else:
        raise InputError(f"{file.path} domain and grammar", "another version's", f"those of alfworld {package.version}")
    return Game(name, file.kind, sentence, fields["pddl_problem"], walkthrough)


def _below(path: Path, split: str, root: Path) -> str:
    parts = path.parent.relative_to(root).parts
    return "/".join(parts[parts.index(split) + 1 :] if split in parts else parts) or path.parent.name


def _kind(path: Path) -> str:
    kind = _json(path).get("task_type")
    if kind not in TASK_TYPES:
        near = nearest(str(kind), TASK_TYPES)
        raise UnknownNameError(f"{path} task_type", repr(kind), " | ".join(TASK_TYPES), near)
    return kind


def _fields(path: Path) -> Mapping[str, Any]:
    data = _json(path)
    for name in _FIELDS:
        if name not in data:
            raise InputError(f"{path} field {name}", "nothing", f"the fields {', '.join(_FIELDS)}")
        if name != "solvable" and not isinstance(data[name], str):
            raise InputError(f"{path} field {name}", type(data[name]).__name__, "text")
    plan = data.get("walkthrough") or []
    if not (isinstance(plan, list) and all(isinstance(command, str) for command in plan)):
        raise InputError(f"{path} field walkthrough", type(plan).__name__, "a list of commands, or nothing")
    return data


def _json(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        if "\\ud" in text.lower():  # half an escaped character is JSON, and no text that can be shown or stored
            json.dumps(data, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise InputError(str(path), "no such file", "the file beside each game") from None
    except (ValueError, OSError) as error:
        raise CorruptFileError(str(path), type(error).__name__, "JSON text") from None
    if not isinstance(data, dict):
        raise CorruptFileError(str(path), type(data).__name__, "a JSON object")
    return data
