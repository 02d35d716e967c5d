"""Step or token, for the advantage and for the ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from figures.base import Data, figure
from figures.style import new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = "steppo.ablation"
CELLS = [("step", "step"), ("step", "token"), ("token", "step"), ("token", "token")]


@figure("steppo_ablation", title="StepPO: advantage and ratio by step or by token", claims=(CLAIM,))
def steppo_ablation(results: Mapping[str, Data]) -> Figure:
    """Exact return J averaged over 15 updates, in a corridor of five steps that a mistake ends, where a step's first
    token decides and the others are filler; bars are intervals over replicates at the ledger's level. Left and middle:
    the four ways to train, which share clip and optimiser and differ in the level of the advantage, with its critic,
    and of the ratio; points are shifted sideways to be told apart. Right: main effects of the step level over the token
    level, over the same replicates, so with narrower bars. At gamma = 0.95 a discount per token fades over the 80
    tokens of an episode and token-level advantages fall behind; at 0.99 their level makes no difference that matters.
    """
    sketch, axes = new(1, 3, height=2.8)
    data = results[CLAIM]
    cells, effects = data.where(kind="cell"), data.where(kind="effect")
    looks = series_styles([f"{advantage} GAE, {ratio} ratio" for advantage, ratio in CELLS])
    for axis, gamma in zip(axes, data.unique("gamma"), strict=False):
        for i, ((advantage, ratio), (label, look)) in enumerate(zip(CELLS, looks.items(), strict=True)):
            part = cells.where(gamma=gamma, advantage=advantage, ratio=ratio)
            _bars(axis, part, 0.2 * (i - 1.5), **look, label=label)
        axis.set(title=f"γ = {float(gamma):g}", ylabel="mean exact return J", ylim=(0.0, 0.8))
    axes[0].legend(loc="lower left")
    right = axes[2]
    right.axhline(0.0, color="black", linewidth=0.8)
    names = [(gamma, factor) for factor in ("advantage", "ratio") for gamma in data.unique("gamma")]
    styles = series_styles([f"{factor}, γ = {float(gamma):g}" for gamma, factor in names])
    for i, ((gamma, factor), (label, look)) in enumerate(zip(names, styles.items(), strict=True)):
        _bars(right, effects.where(gamma=gamma, advantage=factor), 0.2 * (i - 1.5), **look, label=label)
    right.set(title="step less token", ylabel="main effect on J")
    right.legend(loc="upper left")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set(xlabel="tokens per step")
    return sketch


def _bars(axis: Any, part: Data, shift: float, **look: Any) -> None:
    bars = [part["j"] - part["low"], part["high"] - part["j"]]
    axis.errorbar(part["tokens"] * 2.0**shift, part["j"], yerr=bars, elinewidth=0.8, **look)
