"""Fenced blocks of the documentation, so that tests run what is printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block, and the text block that follows it directly (what it prints)."""

    language: str
    text: str
    printed: str | None


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    out = []
    for block, after in zip(found, [*found[1:], None], strict=True):
        follows = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
        out.append(Block(block[1], block[2], after[2] if after is not None and follows else None))
    return out


def write_modules(page: str, folder: Path) -> None:
    """Write every Python block that begins with `# name.py` as that file."""
    for block in blocks(page):
        named = re.match(r"# (\w+\.py)\n", block.text)
        if block.language == "python" and named:
            (folder / named[1]).write_text(block.text, encoding="utf-8")


def scripts(page: str) -> Iterator[Block]:
    """Python blocks that are to be run."""
    return (b for b in blocks(page) if b.language == "python" and not re.match(r"# \w+\.py\n", b.text))


def commands(page: str) -> list[list[str]]:
    """Argument lists of the `creditsim` commands of shell blocks, comments left out."""
    import shlex

    lines = [line for b in blocks(page) if b.language == "bash" for line in b.text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("creditsim ")]


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments in a folder whose modules can be imported, warnings being errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
