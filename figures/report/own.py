"""Rows of variance studies in a results folder that ran an estimator of the user's own, beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from creditsim.errors import CorruptFileError, InputError
from creditsim.study.files import read_file

__all__ = ["OwnStudy", "own_studies"]

_FUNCTION = "creditsim.study.variance:run_cell"
_LABELS = ("estimator", "environment", "policy", "horizon", "group_size", "groups")
_QUANTITIES = {
    "bias_rms": "bias (rms)",
    "variance": "variance",
    "mse": "mse",
    "gradient_cosine": "gradient cosine",
    "gradient_snr": "gradient signal/noise",
    "sign_agreement": "sign agreement",
}
_MOST = 200


@dataclass(frozen=True)
class OwnStudy:
    """A folder of cells as table: values are text, or (value, low, high)."""

    title: str
    columns: tuple[str, ...] = (*_LABELS, "replicates", *_QUANTITIES.values())
    lines: list[tuple[Any, ...]] = field(default_factory=list)
    more: int = 0


def own_studies(out: Path) -> list[OwnStudy]:
    """Studies right in `out` and in folders one level below that hold an estimator named `module:function`.

    Of cells with equal settings the newest counts; files that cannot be read are left out.
    """
    folders = [out, *sorted(p for p in out.iterdir() if p.is_dir() and p.name not in ("cells", "figures"))]
    return [study for folder in folders if (study := _study(folder)) is not None]


def _study(folder: Path) -> OwnStudy | None:
    cells: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in sorted(folder.glob("*.parquet"), key=lambda p: p.stat().st_mtime):
        try:
            result, facts = read_file(path)
        except (CorruptFileError, InputError):
            continue
        if facts.get("function") == _FUNCTION:
            spec = facts["spec"]
            key = tuple(spec.get(name) for name in _LABELS)
            cells[key] = (*key, result.meta.get("replicates"), *_numbers(result.table))
    if not any(":" in str(line[0]) for line in cells.values()):
        return None
    lines = sorted(cells.values(), key=lambda line: (*map(str, line[1:6]), ":" not in str(line[0]), str(line[0])))
    return OwnStudy(folder.name, lines=lines[:_MOST], more=max(0, len(lines) - _MOST))


def _numbers(table: Mapping[str, np.ndarray]) -> list[tuple[float, float, float] | None]:
    at = {str(table["quantity"][i]): i for i in np.flatnonzero(table["scope"] == "all")}
    value, low, high = (np.asarray(table[name], np.float64) for name in ("value", "low", "high"))
    found = [at.get(name) for name in _QUANTITIES]
    return [None if i is None else (float(value[i]), float(low[i]), float(high[i])) for i in found]
