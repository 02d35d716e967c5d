"""Draw figures into a folder: PDF, SVG, PNG and the data beside them, the same bytes for the same results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creditsim.errors import CreditsimError, InputError
from creditsim.store import replace_file, write_parquet
from creditsim.study.cells import canonical, source_hash
from figures.base import FIGURES, Data, FigurePart
from figures.results import Results

__all__ = ["FORMATS", "NAME", "Drawn", "Job", "draw_job", "jobs", "publish", "read_index", "stale"]

NAME = "figures.json"
SCHEMA = 1
FORMATS = ("pdf", "svg", "png")


@dataclass(frozen=True)
class Drawn:
    """One entry of figures.json: what a figure says, its files with their hashes, and what it was drawn from."""

    name: str
    title: str
    caption: str
    claims: tuple[str, ...]
    files: Mapping[str, str]
    """File name beside figures.json -> SHA-256."""
    drawn_from: str
    """Hash of results, source and drawing library: equal where drawing again would change nothing."""

    def data_files(self) -> list[str]:
        """The Parquet files beside the figure."""
        return [name for name in self.files if name.endswith(".parquet")]


@dataclass(frozen=True)
class Job:
    """All that drawing one figure needs, so that another process can do it."""

    name: str
    data: Mapping[str, Data]
    folder: str
    drawn_from: str


def jobs(figures: Sequence[FigurePart], results: Results, folder: Path) -> tuple[list[Job], dict[str, list[str]]]:
    """Return a job per figure whose results are there, and for the others what is missing."""
    ready, lacking = [], {}
    for part in figures:
        if missing := results.missing(part):
            lacking[part.name] = missing
            continue
        data = results.load(part.claims) or {}
        ready.append(Job(part.name, data, str(folder), _drawn_from(part, data)))
    return ready, lacking


def _drawn_from(part: FigurePart, data: Mapping[str, Data]) -> str:
    from matplotlib import __version__ as matplotlib

    digest = hashlib.sha256(f"matplotlib {matplotlib} {part.title} {part.caption}".encode())
    digest.update(source_hash(("figures.base", "figures.style", "figures.publish", part.function.__module__)).encode())
    for name, result in data.items():
        digest.update(canonical([name, _lasting(result.meta)]).encode())
        for column, values in result.table.items():
            digest.update(f"{column}:{values.dtype}".encode() + _bytes(values))
    return digest.hexdigest()[:20]


def _bytes(values: np.ndarray) -> bytes:
    return json.dumps(values.tolist()).encode() if values.dtype.kind in "UO" else np.ascontiguousarray(values).tobytes()


def _lasting(meta: Any) -> Any:
    """Facts without how long they took: time is no result and never the same twice."""
    if isinstance(meta, Mapping):
        return {k: _lasting(v) for k, v in meta.items() if k not in ("seconds", "provenance")}
    return [_lasting(v) for v in meta] if isinstance(meta, (list, tuple)) else meta


def draw_job(job: Job) -> Drawn:
    """Draw one figure and write its files, each whole or not at all."""
    from figures.style import look, render

    part, folder = FIGURES[job.name], Path(job.folder)
    contents: dict[str, bytes] = {}
    with look():
        figure = part.function(job.data)
        for kind in FORMATS:
            contents[f"{job.name}.{kind}"] = render(figure, kind)
    for name, content in contents.items():
        replace_file(folder / name, lambda temporary, content=content: temporary.write_bytes(content))
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for source, data in job.data.items():
        name = f"{job.name}.{source.replace(':', '-')}.parquet"
        columns = {
            column: values.tolist() if values.dtype.kind in "UO" else values for column, values in data.table.items()
        }
        write_parquet(
            folder / name, columns, {"creditsim": canonical({"source": source, "facts": _lasting(data.meta)})}
        )
        files[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return Drawn(part.name, part.title, part.caption, part.claims, files, job.drawn_from)


def publish(
    ready: Sequence[Job],
    folder: Path,
    *,
    executor: Executor | None = None,
    on_done: Callable[[str], object] | None = None,
) -> tuple[list[Drawn], dict[str, str], int]:
    """Draw what is not drawn yet from equal results; return entries, failures by name, and how many were drawn.

    A figure that fails does not stop the others. figures.json keeps entries of figures outside this call.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("output folder", f"{folder} ({error.strerror})", "a folder that can be written") from None
    known = read_index(folder)
    done = {job.name: known[job.name] for job in ready if _is_current(known.get(job.name), job, folder)}
    if on_done is not None:
        for name in done:
            on_done(name)
    todo, failed = [job for job in ready if job.name not in done], {}
    for name, outcome in _outcomes(todo, executor):
        if isinstance(outcome, Drawn):
            done[name] = outcome
        else:
            failed[name] = outcome
        if on_done is not None:
            on_done(name)
    entries = {name: entry for name, entry in {**known, **done}.items() if name in FIGURES and name not in failed}
    _write_index(folder, [entries[name] for name in sorted(entries)])
    return [done[job.name] for job in ready if job.name in done], failed, len(todo) - len(failed)


def stale(ready: Sequence[Job], folder: Path) -> int:
    """How many of the jobs would be drawn."""
    known = read_index(folder)
    return sum(not _is_current(known.get(job.name), job, folder) for job in ready)


def _outcomes(todo: Sequence[Job], executor: Executor | None) -> Any:
    if executor is None:
        for job in todo:
            yield job.name, _told(lambda job=job: draw_job(job))
        return
    futures = {executor.submit(draw_job, job): job.name for job in todo}
    for future in as_completed(futures):
        yield futures[future], _told(future.result)


def _told(draw: Callable[[], Drawn]) -> Drawn | str:
    try:
        return draw()
    except (MemoryError, OSError):
        raise
    except CreditsimError as error:
        return str(error)
    except Exception as error:  # a defect in one figure must not lose the others
        return f"{type(error).__name__}: {error}"


def _is_current(entry: Drawn | None, job: Job, folder: Path) -> bool:
    if entry is None or entry.drawn_from != job.drawn_from:
        return False
    return all(_hash(folder / name) == digest for name, digest in entry.files.items())


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def read_index(folder: Path) -> dict[str, Drawn]:
    """Entries of figures.json by name; none where it is not there or cannot be read, since drawing makes it again."""
    path = folder / NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] > SCHEMA:
            raise InputError(
                str(path), f"results of schema {data['schema']}", f"schema {SCHEMA} or older; update creditsim"
            )
        return {e["name"]: Drawn(**{**e, "claims": tuple(e["claims"])}) for e in data["figures"]}
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_index(folder: Path, entries: Sequence[Drawn]) -> None:
    text = json.dumps({"schema": SCHEMA, "figures": [asdict(e) for e in entries]}, indent=1) + "\n"
    replace_file(folder / NAME, lambda temporary: temporary.write_text(text, encoding="utf-8"))
