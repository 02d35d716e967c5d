"""COPO's global credit as a policy gradient: its factor, its noise, and its direction with shared parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACTOR, NOISE, SHARED = "copo.expected-global-gradient", "copo.between-prompt-variance", "copo.shared-parameters"


@figure("copo_global", title="COPO's global credit as a gradient", claims=(FACTOR, NOISE, SHARED))
def copo_global(results: Mapping[str, Data]) -> Figure:
    """Left: expected gradient of a prompt from the global credit, as a multiple of grad p / (n E[s]), over the prompts
    of a batch; black is the centred credit's exact factor 1 - 1/B, which the published one approaches more slowly.
    Middle: variance of the gradient of a prompt with p = 1/2 over how far the batch's mean is from it; line closed
    form, markers the estimator on every outcome; dashed, its value at 0 plus gap^2 / (n p (1-p)). Right: angle between
    the expected and the exact gradient by two parameters that all prompts share.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.6)
    data = results[FACTOR]
    for (name, look), p in zip(series_styles([f"{p:g}" for p in data.unique("p")]).items(), data.unique("p")):  # noqa: B905
        part = data.where(p=p)
        left.plot(part["prompts"], part["slope"], **look, label=f"p = {name}")
    part = data.where(p=data.unique("p")[0])
    left.plot(part["prompts"], part["centred"], color="black", linewidth=0.9, label="centred")
    left.set(ylabel="factor, 1 = policy gradient / n", ylim=(0.0, 1.05))
    left.legend(loc="lower right")
    noise = results[NOISE]
    middle.plot(noise["gap"], noise["predicted"], color="#0072B2", label="global, closed form")
    middle.plot(noise["gap"], noise["whole"], color="#0072B2", marker="o", linestyle="", label="global, enumerated")
    middle.plot(noise["gap"], noise["predicted"][0] + noise["term"], color="black", linestyle="--", linewidth=0.9)
    middle.plot(noise["gap"], noise["local"], color="#D55E00", marker="s", linestyle="-.", label="local (GRPO)")
    middle.set(xlabel="batch mean less p", ylabel="variance of the factor", ylim=(0.0, None))
    middle.legend(loc="upper left", bbox_to_anchor=(0.0, 0.88))
    shared = results[SHARED]
    names = {"global": "global (COPO)", "local": "local (GRPO)"}
    for rule, look in series_styles(list(names)).items():
        part = shared.where(rule=rule)
        right.plot(part["prompts"], part["angle"], **look, label=names[rule])
    start = shared.where(rule="global")
    rate = start["angle"][-1] * start["prompts"][-1] / start["prompts"]
    right.plot(start["prompts"][1:], rate[1:], color="black", linewidth=0.9, linestyle=":", label="1 / B")
    right.set_yscale("log")
    right.set(ylabel="angle to the exact gradient (°)")
    ticks = [0.25, 0.5, 1.0, 2.0]
    right.set_yticks(ticks, [f"{t:g}" for t in ticks])
    right.set_yticks([], minor=True)
    right.legend(loc="lower left")
    for axis, prompts in ((left, data), (right, shared)):
        axis.set_xscale("log", base=2)
        ticks = np.unique(prompts["prompts"])
        axis.set(xlabel="prompts of a batch", xticks=ticks, xticklabels=[f"{t:g}" for t in ticks])
    return sketch
