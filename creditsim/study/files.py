"""Result files: Parquet that any tool reads, sealed by a checksum of all its bytes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from creditsim.errors import CorruptFileError, InputError
from creditsim.study.cells import SCHEMA, CellResult, canonical, table_hash
from creditsim.study.owners import owner

__all__ = ["FULL", "read_file", "read_sealed", "write_bytes", "write_file", "write_sealed"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a file system without room."""

_KEY = b"creditsim"
_SEAL_KEY = b"creditsim-seal"
_OPEN = b"sha256-of-this-file-with-64-zeros-here:"
_ZEROS = b"0" * 64


def write_file(path: Path, result: CellResult, facts: dict[str, Any]) -> None:
    """Write a table and its facts to `path` so that a reader sees the whole file or none; see `write_bytes`.

    Errors: InputError for columns of different lengths, OSError from the file system.
    """
    columns = {name: np.asarray(values) for name, values in result.table.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("table", f"columns of lengths {lengths}", "columns of one length")
    table = pa.Table.from_arrays([_to_arrow(values) for values in columns.values()], names=list(columns))
    write_sealed(path, table, {**facts, "schema": SCHEMA, "table": table_hash(columns), "meta": dict(result.meta)})


def write_sealed(path: Path, table: pa.Table, facts: Mapping[str, Any]) -> None:
    """Write any Arrow table, sealed, with JSON facts, `schema` among them; whole or not at all, see `write_bytes`."""
    header = {_KEY: canonical({**facts, "rows": table.num_rows}).encode(), _SEAL_KEY: _OPEN + _ZEROS}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(header), sink, compression="zstd")
    write_bytes(path, _sealed(sink.getvalue().to_pybytes()))


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path` by a temporary file of the same folder, flushed to disk and renamed; the folder too.

    A failed write leaves neither the file nor the temporary one. The temporary's name says who writes, so that
    `Store.sweep` can tell the leftovers of the dead from the work of the living.
    """
    me = owner()
    temporary = path.with_name(f".{path.name}~{me.host}~{me.pid}~{me.started}~{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        # On a full or vanished file system removing may fail too; the error that matters is the first.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_file(path: Path) -> tuple[CellResult, dict[str, Any]]:
    """Read a table of plain columns and its facts; errors as `read_sealed`."""
    table, facts = read_sealed(path)
    columns = {name: _to_numpy(table.column(name).combine_chunks()) for name in table.column_names}
    return CellResult(columns, facts["meta"]), facts


def read_sealed(path: Path, newest: int = SCHEMA) -> tuple[pa.Table, dict[str, Any]]:
    """Read a table and its facts.

    The seal is checked before any byte reaches the Parquet reader, so that no damage can be mistaken for numbers or
    bring the reader down. Errors: FileNotFoundError; CorruptFileError where the file is damaged; InputError where it
    cannot be read or its schema is newer than `newest`.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(str(path), error.strerror or "an unreadable file", "a readable result file") from None
    if not _seal_holds(content):
        raise CorruptFileError(str(path), "a checksum that does not match", "a whole result file")
    try:
        # Not `read_table`: its threads may outlive the call and abort the interpreter at its exit (apache/arrow 34314).
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        facts = json.loads((table.schema.metadata or {})[_KEY])
        schema = int(facts["schema"])
    except (pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise CorruptFileError(str(path), type(error).__name__, "a result file of creditsim") from None
    if schema > newest:
        raise InputError(str(path), f"results of schema {schema}", f"schema {newest} or older; update creditsim")
    return table, facts


# Arrow's own conversions import pandas where it is installed, half a second in every process; these do not.
def _to_arrow(values: np.ndarray) -> pa.Array:
    if values.dtype.kind in "UO":
        texts = [str(text).encode() for text in values.tolist()]
        offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        return pa.Array.from_buffers(
            pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
        )
    if values.dtype.kind == "b":
        packed = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), values.size, [None, pa.py_buffer(packed)])
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(np.ascontiguousarray(values))])


def _to_numpy(array: pa.Array) -> np.ndarray:
    if pa.types.is_string(array.type):
        return np.array(array.to_pylist(), object)
    data = array.buffers()[1]
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[array.offset : array.offset + len(array)].astype(bool)
    dtype = array.type.to_pandas_dtype()
    values = np.frombuffer(data, dtype) if data is not None else np.zeros(0, dtype)
    return values[array.offset : array.offset + len(array)]


def _sealed(content: bytes) -> bytes:
    at = content.rindex(_OPEN + _ZEROS) + len(_OPEN)
    return content[:at] + hashlib.sha256(content).hexdigest().encode() + content[at + len(_ZEROS) :]


def _seal_holds(content: bytes) -> bool:
    at = content.rfind(_OPEN) + len(_OPEN)
    if at < len(_OPEN):
        return False
    seal, blank = content[at : at + len(_ZEROS)], content[:at] + _ZEROS + content[at + len(_ZEROS) :]
    return hashlib.sha256(blank).hexdigest().encode() == seal
