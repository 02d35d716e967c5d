"""What safety costs: regret of conservative exploration against UCBVI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP, EPISODE, PRICE = "stepmix.regret-order", "epsmix.same-as-stepmix", "stepmix.price-of-slack"
NAMES = {"ucbvi": "UCBVI (no bar)", "stepmix": "StepMix", "epsmix": "EpsMix"}
SHOWN = 3


@figure(
    "stepmix_regret", title="Conservative exploration: regret and the price of safety", claims=(STEP, EPISODE, PRICE)
)
def stepmix_regret(results: Mapping[str, Data]) -> Figure:
    """First panels: regret over episodes in single tables, mean over runs with pointwise 95 % intervals (Student's t);
    the grey line is the baseline played for ever, the dotted one grows like sqrt(K). The conservative methods stay near
    the baseline until their bounds clear the bar, then run flat beside UCBVI: what they pay is a constant. UCBVI's
    jumps are late tries of actions that its bonus brings back; a try lasts for a plan, and plans are made anew when the
    number of episodes has grown by a tenth (less at larger sizes). Last panel: episodes not played by the optimistic
    policy alone over the slack, with the slopes of kappa^-1 and kappa^-2; a fall steeper than the second would break
    the claim.
    """
    curves, other, price = results[STEP], results[EPISODE], results[PRICE]
    shown = curves.unique("environment")[:SHOWN]
    sketch, axes = new(1, len(shown) + 1, height=2.8)
    styles = series_styles(list(NAMES))
    for axis, environment in zip(axes, shown, strict=False):
        parts = {"ucbvi": curves, "stepmix": curves, "epsmix": other}
        for method, data in parts.items():
            _curve(axis, data.where(environment=environment, method=method), styles[method], NAMES[method])
        _guides(axis, curves.where(environment=environment, method="ucbvi"))
        top = max(data.where(environment=environment, method=method)["high"].max() for method, data in parts.items())
        axis.set(title=environment, xlabel="episodes K", ylim=(0.0, 1.25 * top))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.locator_params(axis="x", nbins=3)
    axes[0].set_ylabel("regret")
    _price(axes[-1], price)
    handles, labels = axes[0].get_legend_handles_labels()
    sketch.legend(handles, labels, loc="outside lower center", ncols=5)
    return sketch


def _curve(axis: Any, part: Data, style: Mapping[str, Any], label: str) -> None:
    axis.fill_between(part["episode"], part["low"], part["high"], color=style["color"], alpha=0.2, linewidth=0)
    axis.plot(part["episode"], part["regret"], label=label, color=style["color"], linestyle=style["linestyle"])


def _guides(axis: Any, part: Data) -> None:
    episode = part["episode"].astype(float)
    axis.plot(episode, part["baseline_regret"], color=NEUTRAL, linewidth=0.8, label="baseline for ever")
    root = np.sqrt(episode / episode[-1]) * part["regret"][-1]
    axis.plot(episode, root, color=NEUTRAL, linewidth=0.8, linestyle=":", label="√K to UCBVI's end")


def _price(axis: Any, data: Data) -> None:
    styles = series_styles(data.unique("environment"))
    for environment, style in styles.items():
        part = data.where(environment=environment)
        share = 100.0 * part["share"]
        axis.errorbar(share, part["cautious"], yerr=1.96 * part["error"], **style, fillstyle="none", linewidth=1.0)
        axis.annotate(
            environment, (share[-1], part["cautious"][-1]), xytext=(0, -9), textcoords="offset points", fontsize=6,
            color=style["color"], ha="right",
        )  # fmt: skip
    first = data.where(environment=data.unique("environment")[0])
    share = 100.0 * first["share"]
    top = 1.3 * data["cautious"].max()
    for power, line in ((1.0, (0, (1, 1))), (2.0, (0, (3, 1, 1, 1)))):
        guide = top * (share / share[0]) ** -power
        keep = guide > 0.25 * data["cautious"].min()
        axis.plot(share[keep], guide[keep], color=NEUTRAL, linewidth=0.8, linestyle=line)
        axis.annotate(f"κ$^{{-{power:g}}}$", (share[keep][-1], guide[keep][-1]), fontsize=6, color=NEUTRAL, va="top")
    axis.set(
        title="price of slack", xlabel="slack κ, % of V$^b$", ylabel="cautious episodes", xscale="log", yscale="log"
    )
    shares = np.unique(100.0 * data["share"])
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    counts = [count for count in (500, 1000, 2000, 4000, 8000, 16000) if count < top]
    axis.set_yticks(counts, [f"{count}" for count in counts])
    axis.minorticks_off()
