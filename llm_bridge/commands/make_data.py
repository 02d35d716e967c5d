"""`creditsim bridge make-data`: generate the games of text environments, count them, write them to files."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_bridge.commands.common import SHIPPED, CommonOptions, bar, game_count

if TYPE_CHECKING:
    from llm_bridge.envs.base import Exports


@dataclass(frozen=True)
class Config(CommonOptions):
    """Make the games of text environments, count them by split and kind, and write them to files where asked."""

    env: tuple[str, ...] = SHIPPED
    """Environments, `name` or `name@preset`."""
    out: str | None = None
    """Write the games below this folder, one folder for each environment, in the formats of the published data."""


def run(config: Config) -> int:
    """Make everything once, start one game of each split, write what was asked for, print the counts; exit code 0."""
    from creditsim.errors import InputError
    from llm_bridge.assemble import part_params
    from llm_bridge.envs.base import Exports, make_tasks

    if not config.env:
        raise InputError("env", "nothing", "at least one environment")
    settings = part_params(config.params, ("env",))["env"]
    told = []
    with bar(len(config.env), "environments", "env") as done:
        for spec in config.env:
            began = time.perf_counter()
            tasks = make_tasks(spec, **settings)
            if config.out is not None and not isinstance(tasks, Exports):
                raise InputError("out", repr(spec), "an environment whose games are files: alfworld | webshop")
            counts = game_count(tasks)
            kinds: dict[str, int] = {}
            for ids in tasks.splits().values():
                for task in ids:
                    kinds[tasks.kind(task)] = kinds.get(tasks.kind(task), 0) + 1
            env = tasks.make()
            try:
                for ids in tasks.splits().values():
                    env.reset(ids[0])
            finally:
                env.close()
            files = 0
            if config.out is not None and isinstance(tasks, Exports):
                files = _written(tasks, _folder(Path(config.out), spec), spec)
            seconds = round(time.perf_counter() - began, 3)
            told.append({"env": spec, "games": counts, "kinds": kinds, "files": files, "seconds": seconds})
            done(1)
    if config.json:
        print(json.dumps(told, indent=2))
        return 0
    for each in told:
        counts = ", ".join(f"{split} {n}" for split, n in each["games"].items())
        written = f"; {each['files']} files" if each["files"] else ""
        print(f"{each['env']}: {counts}; {len(each['kinds'])} kinds{written}; {each['seconds']:.1f} s")
    return 0


def _folder(out: Path, spec: str) -> Path:
    from creditsim.errors import InputError

    place = out / spec.replace("@", "-")
    if out.exists() and not out.is_dir():
        raise InputError("out", repr(str(out)), "a folder; this is a file")
    if place.exists() and any(place.iterdir()):
        raise InputError("out", repr(str(place)), "a new or empty folder: nothing is overwritten")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("out", f"{str(place)!r} ({error.strerror})", "a folder that can be made") from None
    return place


def _written(tasks: Exports, place: Path, spec: str) -> int:
    count = 0
    with bar(None, f"{spec} files", "file") as done:
        for _ in tasks.export(place):
            count += 1
            done(1)
    return count
