"""One way to compile kernels: options in one place, and a disk cache that sees edits in every kernel module.

Numba's own cache looks only at the file of the function itself and serves stale code when a helper in another module has
changed. Kernels are therefore cached in a folder named by the hash of all sources that compile kernels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import config

__all__ = ["cache_folder", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])


@cache
def cache_folder() -> Path:
    """Folder of compiled kernels, named by the hash of every source file that uses this module and by Numba's version."""
    root = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        text = path.read_bytes()
        if b"creditsim.jit" in text or path.name == "rng.py":
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + text)
    base = os.environ.get("CREDITSIM_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "creditsim" / f"kernels-{digest.hexdigest()[:16]}"


def kernel(function: F | None = None, *, parallel: bool = False, inline: bool = False) -> Any:
    """Compile with `nopython`, released GIL, IEEE arithmetic (no fastmath) and the project's cache folder."""

    def compile_(f: F) -> Any:
        before = config.CACHE_DIR
        # The cache reads its folder once, when the function is decorated; other packages keep theirs.
        config.CACHE_DIR = str(cache_folder())
        try:
            return numba.njit(
                f, cache=True, nogil=True, parallel=parallel, error_model="numpy", inline="always" if inline else "never"
            )
        finally:
            config.CACHE_DIR = before

    return compile_ if function is None else compile_(function)
