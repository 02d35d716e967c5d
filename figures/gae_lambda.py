"""What a wrong critic costs, over lambda."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import COLOURS, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIAS, BEST = "gae.bias", "gae.best-lambda"
LINES, MARKERS = ("-", "--", "-.", ":"), "os^D"


@figure("gae_lambda", title="GAE: bias and variance over lambda for a wrong critic", claims=(BIAS, BEST))
def gae_lambda(results: Mapping[str, Data]) -> Figure:
    """A slipping chain, a critic that is wrong by normal errors of the size given (root mean square, goal reward 1).
    Left: bias of the advantage of going right at the start, errors of 0.3, enumerated (markers) and formula (lines); at
    lambda = 1 it is the critic's own error there, which costs no gradient bias. Middle: length of the gradient's bias
    (lines) and its standard deviation over one trajectory (dotted, same colours), relative to the exact gradient.
    Right: squared error of the gradient of 64 trajectories, bias² + variance / 64, with its minimum marked: the worse
    the critic, the larger the best lambda; an exact one wants 0.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.6)
    data = results[BIAS]
    for i, gamma in enumerate(data.unique("gamma")):
        part = data.where(gamma=gamma)
        left.plot(part["lam"], part["formula"], color=COLOURS[i], linestyle=LINES[i])
        left.plot(
            part["lam"], part["measured"], linestyle="", marker=MARKERS[i], color=COLOURS[i], fillstyle="none",
            label=f"γ = {gamma:g}",
        )  # fmt: skip
    left.set(xlabel="λ", ylabel="bias of the advantage")
    left.legend()
    best = results[BEST]
    for i, error in enumerate(best.unique("error")):
        part = best.where(error=error)
        label = f"error {error:g}" if error else "exact critic"
        if error:
            keep = part["lam"] < 1.0
            middle.plot(part["lam"][keep], part["bias"][keep] ** 0.5, color=COLOURS[i], linestyle=LINES[i], label=label)
        middle.plot(part["lam"], part["variance"] ** 0.5, color=COLOURS[i], linestyle=(0, (1, 2)), linewidth=1.0)
        right.plot(part["lam"], part["error_64"], color=COLOURS[i], linestyle=LINES[i], label=label)
        low = int(part["error_64"].argmin())
        right.plot(part["lam"][low], part["error_64"][low], color=COLOURS[i], marker=MARKERS[i], linestyle="")
    middle.set_yscale("log")
    middle.set(xlabel="λ", ylabel="relative to |∇J|")
    middle.set_ylim(2e-4, None)
    middle.legend(title="bias (0 at λ = 1)", loc="lower left")
    right.set(xlabel="λ", ylabel="squared error / |∇J|², N = 64", ylim=(0.0, None))
    right.legend(loc="upper right")
    return sketch
