"""Generated games as the package stores its own, so that other programs can play the very same ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llm_bridge.envs.alfworld.domain import UNKNOWN_GOAL, source

if TYPE_CHECKING:
    from llm_bridge.envs.alfworld.tasks import AlfworldTasks

__all__ = ["export_games"]


def export_games(tasks: AlfworldTasks, folder: Path) -> Iterator[Path]:
    """Write each game as `SPLIT/KIND/INDEX/game.tw-pddl` and `traj_data.json`, and yield the game files.

    A game file holds domain, grammar with the task sentence, problem, walkthrough and `solvable`, the fields that the
    package reads. A game without a known walkthrough is planned first.
    """
    package = source()
    for ids in tasks.splits().values():
        for task in ids:
            game = tasks.game(task)
            plan = game.walkthrough or _planned(tasks, task)
            place = folder / task
            place.mkdir(parents=True, exist_ok=True)
            fields = {
                "pddl_domain": package.domain,
                "grammar": package.grammar.replace(UNKNOWN_GOAL, game.sentence),
                "pddl_problem": game.problem,
                "walkthrough": list(plan),
                "solvable": True,
            }
            (place / "traj_data.json").write_text(json.dumps({"task_type": game.kind}) + "\n", encoding="utf-8")
            (place / "game.tw-pddl").write_text(json.dumps(fields) + "\n", encoding="utf-8")
            yield place / "game.tw-pddl"


def _planned(tasks: AlfworldTasks, task: str) -> tuple[str, ...]:
    from llm_bridge.envs.alfworld.solve import solve

    return next(iter(solve(tasks, [task])))[1]
