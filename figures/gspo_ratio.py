"""Token ratios, the sequence ratio and the full product off policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GRADIENT, RATIO = "gspo.unbiased", "gspo.ratio-variance"
DRIFT = 1.0


@figure("gspo_ratio", title="Off policy: token ratios, the sequence ratio, the full product", claims=(GRADIENT, RATIO))
def gspo_ratio(results: Mapping[str, Data]) -> Figure:
    """One response of L binary tokens, right or wrong as a whole; the policy's logits drifted by normal steps of
    deviation 1 from the sampler's; exact for each of several random tasks, and averaged over them. Variance of the
    weight: the sequence ratio has the least, the full product grows without bound. Cosine of the expected gradient with
    the exact one: only the full product is unbiased. Gradient variance over that with token ratios: the quiet ratio
    does not make a quieter gradient. Last: variance of the sequence ratio over that of token ratios where the policy
    makes a token of probability 0.02 rarer by a factor; above 1 the sequence ratio is the louder one.
    """
    sketch, axes = new(1, 4, height=2.5)
    data = results[GRADIENT].where(drift=DRIFT)
    columns = (
        ("ratio_variance", "variance of the weight"),
        ("cosine", "cosine with ∇J"),
        ("gradient_variance_ratio", "tr Cov[g] / that of tokens"),
    )
    for ax, (column, label) in zip(axes, columns, strict=False):
        for weight, style in series_styles(data.unique("weight")).items():
            part = data.where(weight=weight)
            ax.plot(part["length"], part[column], **style, label=weight)
        ax.set(xlabel="tokens L", ylabel=label, xticks=data.unique("length"))
    axes[0].set_yscale("log")
    axes[1].set_ylim(None, 1.03)
    rare = results[RATIO]
    for i, length in enumerate(rare.unique("length")):
        part = rare.where(length=length)
        axes[3].plot(
            part["factor"], part["ratio"], color=COLOURS[i % 8], marker="os^DvPX"[i % 7],
            linestyle=("-", "--", "-.", ":")[i % 4], label=f"{length}",
        )  # fmt: skip
    axes[3].axhline(1.0, color="black", linewidth=0.6)
    axes[3].set_xscale("log")
    axes[3].invert_xaxis()
    axes[3].set(xlabel="rare token's factor", ylabel="variance: sequence / token")
    axes[3].legend(title="L", fontsize=6)
    sketch.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return sketch
