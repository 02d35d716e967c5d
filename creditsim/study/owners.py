"""Who holds a claim or writes a file: host, process, and when the process began; and whether it still lives."""

from __future__ import annotations

import os
import re
import socket
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["LEASE_SECONDS", "Owner", "abandoned", "owner"]

LEASE_SECONDS = 6 * 3600.0
"""How long the claim of a process on another host counts, since nobody here can see whether it lives."""


class Owner(NamedTuple):
    """A process on a host; `started` tells it from a later process under the same number (0: the system does not)."""

    host: str
    pid: int
    started: int


def owner() -> Owner:
    """Return this process."""
    pid = os.getpid()
    return Owner(_host(), pid, _started(pid))


def abandoned(who: Owner, since: float) -> bool:
    """Whether `who`, last heard of at the time `since`, cannot be at work any more."""
    if who.host != _host():
        return time.time() - since > LEASE_SECONDS
    if not _alive(who.pid):
        return True
    return who.started != _started(who.pid) and who.started != 0


@cache
def _host() -> str:
    # It becomes part of file names.
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "host"


def _started(pid: int) -> int:
    """Start of a process in clock ticks since boot, where the system tells (Linux); else 0."""
    try:
        # The second field is the command in brackets and may itself hold blanks and brackets.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
