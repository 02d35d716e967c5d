"""REINFORCE++: what whitening over the batch keeps and what it leaves in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, DOUBLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALE, VARIANCE = "reinforce-pp.common-scale", "reinforce-pp.between-task-variance"
SETTINGS = {"even": "chance decides\n(scores of one length)", "own": "own choice decides\n(rare answers, long scores)"}
SCALES = {
    "whiten": "whiten (REINFORCE++)",
    "centre, then whiten": "centre in group, whiten (-baseline)",
    "group": "standardise in group (GRPO)",
}
CENTRES = {"nothing": "no baseline", "batch": "batch mean (REINFORCE++)", "group": "group mean"}


@figure("whitening", title="Whitening over the batch", claims=(SCALE, VARIANCE))
def whitening(results: Mapping[str, Data]) -> Figure:
    """Left: angle between the expected gradient over five tasks and the exact one, over the answers in a batch (n = 4
    per group): whitening is a common scale up to O(1/batch), standardising inside the group is not. Right: exact
    signal-to-noise of the gradient on a hard and an easy task, by what the returns are centred with. Group means win
    where chance decides; where the policy's own choice decides, the batch mean does.
    """
    sketch, (left, right) = new(1, 2, width=DOUBLE, height=2.6)
    data = results[SCALE].where(n=4)
    names = data.unique("scale")
    styles = series_styles(names)
    for name in names:
        rows = data.where(scale=name)
        left.plot(rows["answers"], rows["degrees"], label=SCALES[name], **styles[name])
    left.set(xscale="log", yscale="log", xlabel="answers per batch", ylabel="angle to the exact gradient (°)")
    left.set_xticks(ticks := data.unique("answers"), [str(n) for n in ticks])
    left.minorticks_off()
    left.set_ylim(bottom=1e-3)
    left.legend(loc="lower left")
    bars = results[VARIANCE]
    for i, (centre, label) in enumerate(CENTRES.items()):
        heights = np.array([bars.where(setting=s, centred_by=centre)["signal_to_noise"][0] for s in SETTINGS])
        at = np.arange(len(SETTINGS)) + 0.27 * (i - 1)
        right.bar(at, heights, 0.25, color=COLOURS[i], hatch=("", "//", "..")[i], edgecolor="white", label=label)
        for x, height in zip(at, heights, strict=True):
            right.annotate(f"{height:.2f}", (x, height), ha="center", va="bottom", fontsize=6)
    right.set_xticks(range(len(SETTINGS)), list(SETTINGS.values()))
    right.set(ylabel="|E g| / √(tr Cov g)", ylim=(0, 1.15))
    right.set_axisbelow(True)
    right.legend(loc="upper left")
    return sketch
