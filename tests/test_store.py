"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from creditsim.errors import InputError
from creditsim.store import check_writable, replace_file, write_parquet


def test_parquet_holds_columns_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, {"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]}, {"schema": "1"})
    table = pq.ParquetFile(path).read(use_threads=False)
    assert table.to_pydict() == {"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]}
    assert table.schema.metadata[b"schema"] == b"1"
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(type(error)):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_in_place_writing_would_fail_the_same_check(tmp_path: Path) -> None:
    # Broken twin of the test above: writing in place loses the old content.
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError), path.open("w") as file:
        file.write("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() != "old"


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out: got .*a file name; this is a folder"):
        check_writable(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        check_writable(tmp_path / "missing" / "a.parquet")
    assert check_writable(tmp_path / "a.parquet") == tmp_path / "a.parquet"
