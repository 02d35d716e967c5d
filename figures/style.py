"""The look of every figure: colour-blind-safe, never by colour alone, fixed widths, stable bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DOUBLE",
    "NEUTRAL",
    "SINGLE",
    "VERDICT_COLOURS",
    "look",
    "new",
    "render",
    "save",
    "series_styles",
]

SINGLE, DOUBLE = 3.25, 6.75
"""Column widths in inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A6F00")
"""Okabe and Ito's palette, its yellow darkened so that thin lines are seen on white."""
NEUTRAL = "#6E6E6E"
VERDICT_COLOURS = {"supported": "#009E73", "refuted": "#D55E00", "conditional": "#E69F00", "inconclusive": "#6E6E6E"}
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (6, 2)), (0, (3, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_RC: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.8,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "creditsim",
    "figure.constrained_layout.use": True,
}


@contextmanager
def look() -> Iterator[None]:
    """Draw inside this context; nothing is set at import, so a user's own settings and backend stay theirs."""
    with rc_context(_RC):
        yield


def new(
    rows: int = 1, columns: int = 1, *, width: float = DOUBLE, height: float = 2.4, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure of a fixed width (inches) and its axes, as an array where there are several."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, **options)


def series_styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Give each series a colour, a line style and a marker, so that no series is told apart by colour alone."""
    looks = zip(names, cycle(COLOURS), cycle(_LINES), cycle(_MARKERS), strict=False)
    return {name: {"color": c, "linestyle": line, "marker": marker} for name, c, line, marker in looks}


_NO_DATES: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}


def render(figure: Figure, kind: str, dpi: float = 300.0) -> bytes:
    """Bytes of a figure as pdf, svg or png, without dates: equal data give equal bytes. Call it inside `look`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=_NO_DATES[kind], dpi=dpi)
    return buffer.getvalue()


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.pdf, .svg and .png."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in _NO_DATES]
    for path in paths:
        path.write_bytes(render(figure, path.suffix[1:]))
    return paths
