"""CANON's expected gradient taken apart, and how much it varies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRADIENT, VARIANCE = "canon.expected-gradient", "canon.variance"


@figure("canon_gradient", title="CANON's gradient, taken apart", claims=(GRADIENT, VARIANCE))
def canon_gradient(results: Mapping[str, Data]) -> Figure:
    """Left: how fast the better half of the metric gains probability along the expected gradient, over the weight μ of
    inter, as a multiple of the exact gradient's; above 1 it is sought, below 1 spared, and only at 1/2 is there no
    push. Black: the prediction; coloured: groups split at their own median. Middle: projection of the expected gradient
    on the predicted one, 1 where they agree; lines are exact, markers sampled with two standard errors (filled: split
    at the sample's median, open: at a threshold fixed in advance). Right: trace of the covariance, with two standard
    errors.
    """
    sketch, axes = new(1, 3, height=2.6)
    data, spread = results[GRADIENT], results[VARIANCE]
    sizes = data.unique("members")
    largest = data.where(split="fixed", members=sizes[-1])
    ends = largest.where(mu=1.0)["push"][0]
    axes[0].plot([0.0, 1.0], [2.0 - ends, ends], color="black", linewidth=0.9, label="predicted")
    for n, look in series_styles([str(n) for n in sizes]).items():
        part = data.where(split="median", members=int(n))
        axes[0].plot(part["mu"], part["push"], **look, label=f"n = {n}")
    axes[0].set(xlabel="weight μ of inter", ylabel="gain of the better half (exact: 1)", xticks=[0.0, 0.5, 1.0])
    axes[0].set_ylim(bottom=0.0)
    axes[0].legend(loc="lower right")
    names = {1.0: "inter", 0.5: "half of each", 0.0: "intra"}
    for (mu, name), look in zip(names.items(), series_styles(list(names.values())).values(), strict=True):
        for split, fill, line in (("median", "full", look["linestyle"]), ("fixed", "none", "")):
            part = data.where(split=split, mu=mu)
            if split == "fixed" and mu == 0.5:
                continue
            if line:
                axes[1].plot(part["members"], part["slope"], color=look["color"], linestyle=line)
            axes[1].errorbar(
                part["members"], part["sampled"], yerr=2.0 * part["sampled_se"], color=look["color"],
                marker=look["marker"], linestyle="", fillstyle=fill, elinewidth=0.8, label=name if line else None,
            )  # fmt: skip
        rule = {1.0: "inter", 0.5: "Dr.GRPO", 0.0: "intra"}[mu]
        part = spread.where(rule=rule)
        axes[2].errorbar(part["members"], part["trace"], yerr=2.0 * part["error"], **look, elinewidth=0.8)
    for axis in axes[1:]:
        axis.set_xscale("log", base=2)
        axis.set(xlabel="members of a group", xticks=sizes, xticklabels=[f"{n:g}" for n in np.asarray(sizes)])
    axes[1].axhline(1.0, color="black", linewidth=0.8)
    axes[1].set(ylabel="projection on the prediction", ylim=(0.4, 1.1))
    axes[1].legend(loc="lower right")
    axes[2].set_yscale("log")
    axes[2].set_ylabel("variance of the gradient")
    return sketch
