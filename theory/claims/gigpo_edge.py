"""Whether GiGPO's step level helps the gradient, and where its anchors stop to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from creditsim.estimators.base import credit
from creditsim.exact.gradient import policy_gradient
from creditsim.mdp.families import make
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.sampling import TableSampler
from creditsim.stats.intervals import Interval, delta_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.sums import Summary
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.claims.gigpo import PAPER

MIXES = {"w = 0": (1.0, 0.0), "w = 0.5": (1.0, 0.5), "w = 1": (1.0, 1.0), "w = 2": (1.0, 2.0), "step only": (0.0, 1.0)}
"""Weights of (A^E, A^S)."""
GAMMA = 0.95
"""Discount of the step returns in every published script; the objective is the undiscounted return."""
TAGS = (1, 4, 16, 64)
FEW, MANY = TAGS[0], TAGS[-1]


@cache
def environments() -> dict[str, TabularMDP]:
    """Tasks with a late reward: a wrong digit is repaired, transitions are random, a wrong digit ends the episode."""
    return {
        "lock, restart": make("lock", length=3, actions=2, horizon=12),
        "layered": make("layered", layers=4, width=3, actions=2),
        "lock, fatal": make("lock", length=4, actions=2, wrong="end", horizon=4),
    }


def tagged(mdp: TabularMDP, tags: int) -> TabularMDP:
    """Give every state one of `tags` irrelevant marks, drawn evenly on entering; what the policy sees stays the same.

    State s with mark d is state s * tags + d, an observation of its own; the start carries mark 0. The policy's context
    is that of s, so neither the task nor the gradient changes: only anchors do.
    """
    s, a, b = mdp.successor.shape
    mark = np.arange(tags)

    def spread(table: np.ndarray) -> np.ndarray:
        wide = np.broadcast_to(table[:, None, :, :, None], (s, tags, a, b, tags))
        return wide.reshape(s * tags, a, b * tags)

    wide = np.broadcast_to((mdp.successor[..., None] * tags + mark)[:, None], (s, tags, a, b, tags))
    return TabularMDP.build(
        successor=wide.reshape(s * tags, a, b * tags),
        probability=spread(mdp.probability) / tags,
        reward=spread(mdp.scalar_reward),
        start=np.repeat(mdp.start, tags) * (np.tile(mark, s) == 0),
        terminal=np.repeat(mdp.terminal, tags),
        mask=np.repeat(mdp.mask, tags, axis=0),
        context=np.repeat(mdp.context, tags),
        horizon=mdp.horizon,
        gamma=mdp.gamma,
        name=f"{mdp.name}, {tags} marks",
    )


@dataclass(frozen=True, eq=False)
class Cell:
    """Sampled gradients of one environment: per mix the moments of (g . u, |g|^2), and those of A^E alone beside."""

    summaries: dict[str, Summary]
    """Mix -> summary (4,): g . u and |g|^2 of A^E alone, then of the mix; u is the direction of the exact gradient."""
    singletons: float
    """Share of rows that are alone in their anchor group."""

    def alignment(self, mix: str, alpha: float) -> Interval:
        """E[g . u] / sqrt(E|g|^2) of a mix."""
        _, _, signal, square = (float(v) for v in self.summaries[mix].mean)
        slope = np.array([0.0, 0.0, square**-0.5, -0.5 * signal * square**-1.5])
        return delta_interval(self.summaries[mix], lambda m: float(m[2] / np.sqrt(m[3])), slope, alpha=alpha)

    def edge(self, mix: str, alpha: float) -> Interval:
        """Alignment of a mix less that of A^E alone, on the same rollouts."""
        first, first_square, signal, square = (float(v) for v in self.summaries[mix].mean)
        slope = np.array(
            [-(first_square**-0.5), 0.5 * first * first_square**-1.5, square**-0.5, -0.5 * signal * square**-1.5]
        )
        return delta_interval(
            self.summaries[mix], lambda m: float(m[2] / np.sqrt(m[3]) - m[0] / np.sqrt(m[1])), slope, alpha=alpha
        )


def sample(
    mdp: TabularMDP, tags: int, n: int, batches: int, seed: int, *, gamma: float = GAMMA, strangers: bool = False
) -> Cell:
    """Sample `batches` groups of n under the uniform policy; `strangers` gives each row another group's A^S."""
    marked = tagged(mdp, tags) if tags > 1 else mdp
    policy = SoftmaxPolicy.uniform(marked)
    rollouts = TableSampler(marked, seed=seed, batches=batches).extend(copies=n, policy=policy)
    columns = credit(rollouts, "gigpo@paper", normalize="mean", gamma=gamma)
    assert isinstance(columns, dict)  # noqa: S101 # GiGPO makes columns
    contexts, actions = marked.n_contexts, marked.n_actions
    place = (rollouts.batch_rows * contexts + rollouts.columns["context"]) * actions + rollouts.action
    chance = np.zeros((contexts, actions))
    chance[marked.context] = policy.probabilities(marked)

    def gradient(values: np.ndarray) -> np.ndarray:
        table = np.bincount(place, values, batches * contexts * actions).reshape(batches, contexts, actions)
        return (table - chance * table.sum(axis=-1, keepdims=True)).reshape(batches, -1) / n

    step_advantage = columns["step_advantage"]
    if strangers:
        step_advantage = np.roll(step_advantage, rollouts.n_rows // 2)
    episode, step = gradient(columns["episode_advantage"]), gradient(step_advantage)
    exact = policy_gradient(mdp, SoftmaxPolicy.uniform(mdp))
    unit = exact / np.linalg.norm(exact)
    summaries = {}
    for name, (first, second) in MIXES.items():
        g = first * episode + second * step
        values = np.stack([episode @ unit, np.square(episode).sum(-1), g @ unit, np.square(g).sum(-1)], axis=1)
        summaries[name] = Moments((4,), cross=True).add(values, 0).summary()
    alone = np.bincount(columns["step_group"])[columns["step_group"]] == 1
    return Cell(summaries, float(alone.mean()))


@claim("gigpo.step-level-edge", paper=PAPER, source="notes", kind="variance", figure="gigpo_edge")
def step_level_edge(trial: Trial) -> Evidence:
    """At equal rollouts the gradient of A^E + A^S points more nearly along the exact one than that of A^E alone:
    alignment(w = 1) >= alignment(w = 0), alignment = E[g . u] / sqrt(E|g|^2). The paper's claim is qualitative (better
    credit, lower variance); it is checked on two tasks where a mistake can be repaired or chance decides: with one
    observation per state, and, outside, when each state appears under 64 irrelevant observations that only the anchors
    tell apart (N = 8, uniform policy, step discount 0.95).
    """
    return _edge(trial, strangers=False)


@step_level_edge.broken("give each row the step advantage of a row of another group")
def _(trial: Trial) -> Evidence:
    return _edge(trial, strangers=True)


def _edge(trial: Trial, *, strangers: bool) -> Evidence:
    batches = trial.pick(2_000, 20_000, 100_000)
    cells: dict[tuple[str, int], Cell] = {}
    names = ["lock, restart", "layered"]
    for name, tags in product(names, (FEW, MANY) if strangers else TAGS):
        cells[name, tags] = sample(environments()[name], tags, 8, batches, trial.seed, strangers=strangers)
        _rows(trial, name, tags, 8, cells[name, tags])
    detail: dict[str, object] = {}
    for (name, tags), cell in cells.items():
        found = {mix: float(cell.alignment(mix, trial.alpha).estimate) for mix in MIXES}
        detail[f"{name}, {tags} marks"] = {**found, "rows_alone": cell.singletons}

    def better(tags: int, note: str) -> Evidence:
        parts = {
            name: inequality(
                lambda a, c=cells[name, tags]: c.edge("w = 1", a), ">=", 0.0, alpha=trial.alpha, detail=detail
            )
            for name in names
        }
        return all_of(parts, alpha=trial.alpha, note=note)

    found = conditional(better(FEW, "one observation per state"), better(MANY, "64 observations per state"))
    return replace(
        found, detail=detail, note="the step level costs signal once most rows are alone in their anchor group"
    )


def _rows(trial: Trial, name: str, tags: int, n: int, cell: Cell) -> None:
    for mix in MIXES:
        edge = cell.edge(mix, trial.alpha)
        trial.table(
            environment=name, marks=tags, n=n, mix=mix, singletons=cell.singletons,
            alignment=cell.alignment(mix, trial.alpha).estimate,
            edge=edge.estimate, edge_low=edge.low, edge_high=edge.high,
        )  # fmt: skip
