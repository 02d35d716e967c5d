"""One way to compile kernels: options in one place, and a disk cache that sees edits in every kernel module.

Numba's own cache looks only at the file of the function itself and serves stale code when a helper in another module
has changed. Kernels are therefore cached in a folder named by the hash of all sources that compile kernels.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import config

__all__ = ["cache_folder", "kernel"]

_SETTINGS: Any = config  # it declares no names


@cache
def cache_folder() -> Path:
    """Folder of compiled kernels, named by the hash of every source file that uses this module and by Numba's version.

    It lies in `CREDITSIM_CACHE`, else the user's cache folder, else, where that cannot be written, the temporary one.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        text = path.read_bytes()
        if b"creditsim.jit" in text or path.name == "rng.py":
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + text)
    base = os.environ.get("CREDITSIM_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = f"kernels-{digest.hexdigest()[:16]}"
    folder = Path(base) / "creditsim" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    return _temporary(name)


def _temporary(name: str) -> Path:
    # Compiled kernels are code that will run: a folder that another user has laid ready is not used.
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"creditsim-{user}-{name}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    return Path(tempfile.mkdtemp(prefix="creditsim-"))


def kernel(function: Callable[..., Any] | None = None, *, parallel: bool = False, inline: bool = False) -> Any:
    """Compile with `nopython`, released GIL, IEEE arithmetic (no fastmath) and the project's cache folder."""

    def compile_(f: Callable[..., Any]) -> Any:
        before = _SETTINGS.CACHE_DIR
        # The cache reads its folder once, when the function is decorated; other packages keep theirs.
        _SETTINGS.CACHE_DIR = str(cache_folder())
        try:
            return numba.njit(
                f,
                cache=True,
                nogil=True,
                parallel=parallel,
                error_model="numpy",
                inline="always" if inline else "never",
            )
        finally:
            _SETTINGS.CACHE_DIR = before

    return compile_ if function is None else compile_(function)
