"""Where allocation regret is bounded, logarithmic or polynomial under full information."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BORDER = "3spo.regret-border"


@figure("alpha_delta_phase", title="Bounded, logarithmic, polynomial: the border is alpha gap = 1", claims=(BORDER,))
def alpha_delta_phase(results: Mapping[str, Data]) -> Figure:
    """Two arms with success 1/2 - gap/2 and 1/2 + gap/2, every arm observed in every iteration, exact. Left: growth
    exponent of the waste, 1 plus the exponent of the waste per iteration over iterations 10^4 to 10^5, cut at 0 and 1;
    0 means that waste stays bounded. White lines: alpha gap = 1, where the exponent reaches 0 and waste grows like
    ln I, and alpha gap = 2, from which on the bound of the concentration argument says so (dashed). Small gaps are not
    resolved yet at these iterations. Right: the same exponents over alpha gap with the prediction 1 - alpha gap
    (solid) and the bound's 1 - alpha gap/2 (dashed), by gap.
    """
    sketch, (left, right) = new(1, 2, height=2.8)
    data = results[BORDER]
    alpha, gap = np.unique(data["alpha"]), np.unique(data["gap"])
    table = {(a, g): e for a, g, e in zip(data["alpha"], data["gap"], data["exponent"], strict=True)}
    grid = np.array([[table[a, g] for a in alpha] for g in gap])
    shown = left.pcolormesh(
        alpha, gap, np.clip(grid, 0.0, 1.0), cmap="viridis", vmin=0.0, vmax=1.0, shading="nearest", rasterized=True
    )
    sketch.colorbar(shown, ax=left, label="growth exponent of the waste")
    for product, line in ((1.0, "-"), (2.0, "--")):
        left.plot(alpha, product / alpha, color="white", linestyle=line)
        at = alpha[len(alpha) // 3]
        left.annotate(f"αΔ = {product:g}", (1.08 * at, product / at), color="white", fontsize=7)
    left.set(xscale="log", yscale="log", xlabel="α", ylabel="gap Δ", ylim=(gap[0] / 1.2, gap[-1] * 1.2))
    left.grid(False)
    x = np.linspace(0.0, 2.5, 50)
    right.plot(x, np.maximum(1.0 - x, 0.0), color="black", label="1 − αΔ")
    right.plot(x, np.maximum(1.0 - x / 2.0, 0.0), color="black", linestyle="--", label="bound: 1 − αΔ/2")
    chosen = gap[np.unique(np.linspace(0, gap.size - 1, min(4, gap.size)).round().astype(int))]
    for i, g in enumerate(chosen.tolist()):
        part = data.where(gap=g)
        near = part["alpha"] * g <= 2.5
        right.plot(
            part["alpha"][near] * g, np.clip(part["exponent"][near], 0.0, None), color=COLOURS[i],
            marker="os^D"[i % 4], linestyle="", label=f"Δ = {g:.2g}",
        )  # fmt: skip
    right.set(xlabel="αΔ", ylabel="growth exponent", xlim=(0.0, 2.5), ylim=(-0.03, 1.05))
    right.legend(fontsize=6)
    return sketch
