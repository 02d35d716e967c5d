"""Recordings of text agents that claims read: rollouts and learning curves, each with the command that made it.

The checksum stands here, in a source file, so that a recording made anew makes every result of it new, and a file that
was changed by accident is refused. To record one anew, run its command in the root of a checkout and put the checksum
that the error names here. Rollouts do not depend on the machine but for rounding in the language model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from creditsim.errors import CorruptFileError
from creditsim.rollouts_file import RolloutsFile, read_numbers
from creditsim.study.cells import CellResult
from creditsim.study.files import read_file

__all__ = ["FOLDER", "RECORDED", "Recording", "path_of", "recorded_curves", "recorded_rollouts"]

FOLDER = Path(__file__).parent
_ROLLOUT = "creditsim bridge rollout --group-size 8 --reward published --style compact --seed 1 --numbers-only"


@dataclass(frozen=True)
class Recording:
    """One file: how it was made, and the SHA-256 of its bytes."""

    command: str
    sha256: str


RECORDED: Mapping[str, Recording] = {
    "alfworld_random": Recording(
        f"{_ROLLOUT} --env alfworld --policy random --groups 24",
        "fc11a6e9041c7d72e65410c3fd78f0cfa99ccf47a1b7a30cc1697427f940e938",
    ),
    "alfworld_tiny": Recording(
        f"{_ROLLOUT} --env alfworld@easy --policy tiny --imitate 64 --imitate-epochs 6 --groups 16",
        "2bcccf1e6f536d5bba7abf1f192b70e92bc4d0f2a36cf8d935c8b337c5e50c0e",
    ),
    "webshop_random": Recording(
        f"{_ROLLOUT} --env webshop --policy random --groups 24",
        "7b446db5fdbd77837c1d4e60fb94cecf3e43ee9b8d21ef5603f5b36b590165b1",
    ),
    "webshop_tiny": Recording(
        f"{_ROLLOUT} --env webshop --policy tiny --imitate 64 --imitate-epochs 8 --groups 24",
        "a00476dad0c4b4e2011932642942a96b7205d0302bf914414a9db3f5e2682e0d",
    ),
    "bridge_learning": Recording(
        "creditsim bridge curves", "5304101dafeadf2028a6bcb18103e3725b3cd581bda0d8f6f09952cb744f1135"
    ),
}
"""Recordings by name; each command ends with --out theory/data/NAME.parquet."""


def path_of(name: str) -> Path:
    """The file of a recording, checked; CorruptFileError where it is not the one that `RECORDED` names."""
    path = FOLDER / f"{name}.parquet"
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no file"
    if found != RECORDED[name].sha256:
        raise CorruptFileError(str(path), found, f"SHA-256 {RECORDED[name].sha256}, as theory/data says")
    return path


@cache
def recorded_rollouts(name: str) -> RolloutsFile:
    """Rollouts by name."""
    return read_numbers(path_of(name))


@cache
def recorded_curves(name: str = "bridge_learning") -> CellResult:
    """Learning curves by name: the table, and in `meta` the settings and the version of torch."""
    return read_file(path_of(name))[0]
