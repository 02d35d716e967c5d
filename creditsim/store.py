"""Files that are whole or absent: written beside their place, synced, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from creditsim.errors import InputError

__all__ = ["check_writable", "replace_file", "write_parquet"]


def check_writable(path: str | Path, field: str = "out") -> Path:
    """Return the path if a file can be put there; call it before hours of work, not after."""
    target = Path(path)
    if target.is_dir():
        raise InputError(field, repr(str(path)), "a file name; this is a folder")
    if not target.parent.is_dir():
        raise InputError(field, repr(str(path)), f"a file in a folder that is there; no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise InputError(field, repr(str(path)), f"a folder that can be written; {target.parent} cannot")
    return target


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it and its folder, and put it in place in one move.

    Whatever happens, `path` holds the old content or the new, never a part; a failed write leaves no temporary file.
    """
    target = check_writable(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        _sync(temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def write_parquet(path: str | Path, columns: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Write equally long columns as one Parquet file (zstd), with text metadata, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns)).replace_schema_metadata(dict(metadata))
    replace_file(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
