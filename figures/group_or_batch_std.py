"""Which normalisation turns the gradient over a mix of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.base import Data, figure
from figures.style import DOUBLE, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ANGLES, DOUBLED = "grpo.batch-std-direction", "grpo.double-normalisation"
SHOWN = {
    "group": "group (GRPO)",
    "group, then batch": "group, then batch",
    "centre, then whiten": "centred in the group, whitened (REINFORCE++-baseline)",
    "batch": "batch, centred in the group (TRL)",
    "whiten": "batch, centred there too (REINFORCE++)",
}


@figure("group_or_batch_std", title="Deviation of the group or of the batch", claims=(ANGLES, DOUBLED))
def group_or_batch_std(results: Mapping[str, Data]) -> Figure:
    """Angle between the expected gradient over five tasks of different difficulty and the exact one, computed exactly.
    Left: over the group size, in the largest batch of the run. Right: over the number of groups at n = 8. Dividing by
    the deviation of the group (GRPO) turns the gradient however large the batch is, and more so in larger groups; any
    deviation of the whole batch falls out as the batch grows; a second pass over the batch undoes nothing.
    """
    sketch, (left, right) = new(1, 2, width=DOUBLE, height=2.8, sharey=True)
    data = results[ANGLES]
    most = max(data.unique("groups"))
    styles = series_styles(list(SHOWN))
    for name in SHOWN:
        rows = data.where(scale=name, groups=most)
        # At n = 2 all mixed groups have one deviation: the angle is 0 and has no place on a logarithmic axis.
        keep = rows["degrees"] > 1e-9
        left.plot(rows["n"][keep], rows["degrees"][keep], label=SHOWN[name], **styles[name])
        rows = data.where(scale=name, n=8)
        right.plot(rows["groups"], rows["degrees"], **styles[name])
    for axis in (left, right):
        axis.set(xscale="log", yscale="log")
    left.set(xlabel=f"group size n ({most} groups per batch)", ylabel="angle to the exact gradient (°)")
    left.set_xticks(sizes := data.unique("n"), [str(n) for n in sizes])
    right.set(xlabel="groups per batch (n = 8)")
    right.set_xticks(groups := data.unique("groups"), [str(n) for n in groups])
    for axis in (left, right):
        axis.minorticks_off()
    sketch.legend(loc="outside upper center", ncols=2)
    return sketch
