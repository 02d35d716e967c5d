"""Tree: every history is a state of its own."""

from __future__ import annotations

import numpy as np

from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["tree"]


@family(
    "tree",
    tiny={"depth": 3, "branching": 2},
    small={"depth": 5, "branching": 3},
    large={"depth": 8, "branching": 4},
)
def tree(
    *,
    depth: int = 5,
    branching: int = 3,
    good: float | None = None,
    slip: float = 0.0,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Choose one of `branching` ways at each of `depth` levels; only the leaf reached pays.

    Regime: no revisits and no sharing, each history is its own state, so anchor groups are siblings of one prefix.

    Leaf rewards are uniform on [0, 1) by `seed`; with `good`, that fraction of the leaves (at least one) pays 1 and the
    rest 0. With probability `slip` the next way round is taken instead of the one chosen. Nodes are numbered level by
    level from the root 0; leaves end the episode. Errors: InputError for depth < 1, branching < 2, fractions outside
    [0, 1], more than 2 million nodes.
    """
    whole("branching", branching, 2, 64)
    nodes = (branching ** (whole("depth", depth, 1, 20) + 1) - 1) // (branching - 1)
    whole("nodes of depth and branching", nodes, 1, 2_000_000)
    leaves = branching**depth
    rng = generator(seed)
    payoff = rng.random(leaves)
    if good is not None:
        winners = max(1, round(fraction("good", good) * leaves))
        payoff = (np.argsort(np.argsort(payoff)) < winners).astype(float)
    here = np.arange(nodes)
    child = np.minimum(here[:, None] * branching + 1 + np.arange(branching), nodes - 1)
    branches = np.stack([child, np.roll(child, -1, axis=1)], axis=-1)[..., : 1 if slip == 0 else 2]
    chance = np.array([1.0 - fraction("slip", slip), slip])[: branches.shape[-1]]
    value = np.concatenate([np.zeros(nodes - leaves), payoff])
    return TabularMDP.build(
        successor=branches,
        probability=np.broadcast_to(chance, branches.shape),
        reward=value[branches],
        terminal=here >= nodes - leaves,
        horizon=depth,
        gamma=gamma,
        name=f"tree(depth={depth}, branching={branching}, seed={seed})",
    )
