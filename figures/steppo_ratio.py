"""Variance of a step's ratio, and the signal that reaches the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATIO, CORRELATED, SIGNAL = "steppo.ratio-variance", "steppo.correlated-tokens", "steppo.signal-at-start"


@figure(
    "steppo_ratio",
    title="StepPO: ratio and discount, per step or per token",
    claims=(RATIO, CORRELATED, SIGNAL),
)
def steppo_ratio(results: Mapping[str, Data]) -> Figure:
    """Over the tokens of a step, all exact. Left: variance of the product of token ratios and of their geometric mean;
    lines are log-normal tokens, markers two-token ratios taken from the step loss, the thin line is L s², what a
    linear rise would be. Middle: variance of the log of the geometric mean where neighbouring tokens' log-ratios
    correlate by rho: with a long memory the fall begins late. Right: what is left at the first of ten steps of a
    reward at the end, by step-level GAE (solid, whatever the tokens) and by token-level GAE (markers, with
    its formula as lines).
    """
    sketch, (left, middle, right) = new(1, 3, height=2.6)
    data = results[RATIO]
    for name, look in series_styles(["product", "mean"]).items():
        label = {"product": "product", "mean": "geometric mean"}[name]
        left.plot(data["tokens"], data[f"lognormal_{name}"], color=look["color"], linestyle=look["linestyle"])
        left.plot(
            data["tokens"], data[name], linestyle="", color=look["color"], marker=look["marker"], fillstyle="none",
            label=label,
        )  # fmt: skip
    left.plot(data["tokens"], data["log_product"], color="black", linewidth=0.6)
    left.set_xscale("log", base=2)
    left.set_yscale("log")
    left.set(xlabel="tokens per step", ylabel="variance of the step's ratio")
    left.legend(loc="upper left")
    correlated = results[CORRELATED]
    for rho, look in series_styles(correlated.unique("correlation")).items():
        part = correlated.where(correlation=rho)
        middle.plot(part["tokens"], part["variance"], **look, label=f"ρ = {float(rho):g}")
    middle.set_xscale("log", base=2)
    middle.set_yscale("log")
    middle.set(xlabel="tokens per step", ylabel="variance of its logarithm")
    middle.legend(loc="lower left")
    signal = results[SIGNAL]
    for gamma, look in series_styles(signal.unique("gamma")).items():
        part = signal.where(gamma=gamma)
        keep = part["token"] > 1e-13
        right.plot(part["tokens"], part["step"], color=look["color"], linewidth=1.0)
        right.plot(part["tokens"][keep], part["token_formula"][keep], color=look["color"], linestyle=look["linestyle"])
        right.plot(
            part["tokens"][keep], part["token"][keep], color=look["color"], marker=look["marker"], linestyle="",
            fillstyle="none", label=f"by token, γ = {float(gamma):g}",
        )  # fmt: skip
    right.text(200, 1.6, "by step", ha="right", va="bottom", fontsize=7)
    right.set_xscale("log", base=2)
    right.set_yscale("log")
    right.set(xlabel="tokens per step", ylabel="signal at the first step", ylim=(1e-16, 1e2))
    right.legend(loc="lower left")
    return sketch
