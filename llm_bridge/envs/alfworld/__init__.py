"""ALFWorld: household tasks in text, played by the package's own engine; generated games, or downloaded ones."""

from __future__ import annotations

from creditsim.errors import InputError, choose
from llm_bridge.envs.base import TextTasks, text_environment

__all__ = ["alfworld"]

_EASY = {
    "kinds": "pick_and_place_simple,look_at_obj_in_light",
    "train": 8,
    "valid": 8,
    "receptacles": 4,
    "objects": 3,
    "copies": 1,
    "closed": False,
    "max_steps": 15,
}


@text_environment("alfworld", paper="arXiv:2010.03768", presets={"default": {}, "easy": _EASY})
def alfworld(
    *,
    games: str = "",
    other_versions: str = "refuse",
    seed: int = 0,
    kinds: str = "all",
    train: int = 20,
    valid: int = 5,
    receptacles: int = 20,
    objects: int = 18,
    copies: int = 3,
    closed: bool = True,
    max_steps: int = 50,
    plans: str = "",
) -> TextTasks:
    """Six types of household tasks with a sparse reward: find things, clean, heat, cool or light them, put them down.

    `games` is a folder of downloaded games (`game.tw-pddl`); without it games are generated from `seed`: `train` of
    each type of `kinds` (names with commas between, or "all"), and `valid` of each type in the splits `valid_seen`
    (rooms of train, furnished otherwise) and `valid_unseen` (rooms that train never sees). A room has at most that many
    `receptacles` and `objects`, an object class at most that many `copies`; with `closed` off nothing that is wanted
    lies or belongs behind a door. `plans` names a file of walkthroughs besides the shipped ones. `other_versions`
    "retell" plays games of another alfworld version with the installed version's rules and words.

    Errors: InputError for no games, unknown task types, numbers below 1; ExtraMissingError without alfworld.
    """
    from llm_bridge.envs.alfworld.domain import TASK_TYPES
    from llm_bridge.envs.alfworld.instances import Size
    from llm_bridge.envs.alfworld.tasks import made_games, stored_games

    for name, value, least in (
        ("train", train, 0),
        ("valid", valid, 0),
        ("receptacles", receptacles, 3),
        ("objects", objects, 3),
        ("copies", copies, 1),
        ("max_steps", max_steps, 1),
    ):
        if value < least:
            raise InputError(name, value, f"a whole number from {least} on")
    if games:
        return stored_games(games, other_versions, max_steps)
    chosen = TASK_TYPES if kinds == "all" else [choose("kinds", kind.strip(), TASK_TYPES) for kind in kinds.split(",")]
    if len(set(chosen)) < len(chosen):
        raise InputError("kinds", repr(kinds), "every task type once")
    return made_games(seed, train, valid, chosen, Size(receptacles, objects, copies, closed), max_steps, plans)
