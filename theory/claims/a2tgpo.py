"""A2TGPO: what comparing turns of one depth repairs, what its root rule does, and what is left of silent groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from creditsim.estimators.base import advantage, credit
from creditsim.exact import enumerate_trajectories, exact_moments
from creditsim.exact.compositions import compositions
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.signals.information_gain import information_gain
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.shared import alignment, credit_column

__all__ = ["PAPER", "Hunt", "silent_share"]

PAPER = "A2TGPO"


@dataclass(frozen=True, eq=False)
class Hunt:
    """A search of `depth` turns for one leaf of a binary tree: turn t is right with chance p, and tells 2^-t."""

    mdp: TabularMDP
    policy: SoftmaxPolicy
    phi: np.ndarray
    """(S,) potential: the sum of 2^-t over the turns t = 1, 2, ... that were right, so that gains shrink with depth."""

    @classmethod
    def of(cls, depth: int, p: float) -> Hunt:
        """Build the search; which leaf pays does not matter."""
        mdp = make("tree", depth=depth, branching=2, good=2.0**-depth)
        inner = 2**depth - 1
        node = int(np.flatnonzero((mdp.scalar_reward[:inner] > 0).any(axis=(1, 2)))[0])
        leaf = 2 * node + 1 + int(mdp.scalar_reward[node, 1, 0] > 0)
        way = [leaf]
        while way[-1]:
            way.append((way[-1] - 1) // 2)
        right = np.array([(at - 1) % 2 for at in way[-2::-1]])
        level = np.log2(np.arange(inner) + 1).astype(np.int64)
        table = np.full((mdp.n_contexts, 2), 0.5)
        table[np.arange(inner), right[level]], table[np.arange(inner), 1 - right[level]] = p, 1.0 - p
        phi = np.zeros(mdp.n_states)
        for state in range(inner):
            for action in (0, 1):
                phi[2 * state + 1 + action] = phi[state] + (action == right[level[state]]) * 0.5 ** (level[state] + 1)
        return cls(mdp, SoftmaxPolicy.from_probabilities(mdp, table), phi)

    def told(self, rollouts: Rollouts) -> Rollouts:
        """The rollouts with their gains."""
        columns, _ = information_gain(rollouts, {}, table=self.phi)
        return rollouts.with_columns(**columns)


def _by_depth(hunt: Hunt, n: int, of: Callable[[Rollouts], np.ndarray]) -> np.ndarray:
    """(turns before the answer, 2) exact mean and variance over groups and members of a number per turn."""
    law = exact_moments(
        lambda r: of(hunt.told(r)), hunt.mdp, hunt.policy, group_size=n, by="time", covariance=False
    )  # fmt: skip
    out = []
    for step in range(hunt.mdp.horizon - 1):
        at = law.keys[:, 0] == step
        share = law.rows[at] / law.rows[at].sum()
        mean = share @ law.mean[at]
        out.append((mean, share @ law.second_moment[at] - mean**2))
    return np.array(out)


# At gamma 0 the accumulated advantage of a turn is its own normalised gain.
SCORES = {
    "turn group": credit_column("a2tgpo", "gain_score"),
    "separate": credit_column("a2tgpo", mode="separate", gamma=0.0),
    "joint": credit_column("a2tgpo", mode="joint", gamma=0.0),
}


@claim("a2tgpo.positional-bias", paper=PAPER, source="inferred", kind="bias", figure="a2tgpo_positions")
def positional_bias(trial: Trial) -> Evidence:
    """Gains standardised among turns of one prompt and one depth favour no depth: E[z | t] = 0 for every t. Gains whose
    mean falls with depth, pooled over depths, do not: early turns are then praised for being early.

    Exact over all groups of a search in which a right turn t raises the potential by 2^-t.
    """
    hunt = Hunt.of(4, 0.7)
    for name, of in SCORES.items():
        for t, (mean, variance) in enumerate(_by_depth(hunt, 4, of), start=1):
            trial.table(rule=name, turn=t, mean=mean, variance=variance)
    return _check_position(trial, "turn group")


@positional_bias.broken("pool the turns of all depths and the outcome")
def _(trial: Trial) -> Evidence:
    return _check_position(trial, "joint")


def _check_position(trial: Trial, rule: str) -> Evidence:
    sizes = trial.pick(((4, 4),), ((4, 4), (3, 6)), ((4, 4), (3, 6), (3, 8)))
    mean = [_by_depth(Hunt.of(depth, p), n, SCORES[rule])[:, 0] for depth, n in sizes for p in (0.7, 0.3)]
    return exact_equality(np.concatenate(mean), 0.0, tolerance=1e-12, detail={"first": mean[0].tolist()})


def _signs(turns: int) -> Rollouts:
    """One group of all 2^turns patterns of gains -1 and 1 over the turns, and an answer turn without reward."""
    pattern = np.array(list(product((-1.0, 1.0), repeat=turns)))
    gain = np.concatenate([pattern, np.zeros((len(pattern), 1))], axis=1)
    return Rollouts.flat(
        offsets=np.arange(len(pattern) + 1) * (turns + 1),
        group=np.zeros(len(pattern), np.int64),
        reward=np.zeros(gain.size),
        columns={"information_gain": gain.reshape(-1)},
    )


def _spread(turns: int, gamma: float, rescale: str) -> np.ndarray:
    """(turns,) variance of the accumulated gain by the turns left, 1 to `turns`."""
    columns = credit(
        _signs(turns), "a2tgpo", alpha=1.0, gamma=gamma, rescale=rescale, eps=0.0, eps_inside=0.0
    )  # fmt: skip
    assert isinstance(columns, dict)  # noqa: S101 # A2TGPO makes columns
    each = columns["information_advantage"].reshape(-1, turns + 1)[:, :-1]
    return each.var(axis=0)[::-1]


GAMMAS = (1.0, 0.9, 0.5)


def predicted_variance(gamma: float, turns: np.ndarray) -> np.ndarray:
    """Variance of sum_j gamma^j z_j / sqrt(n) for n independent z of unit variance."""
    return np.array([np.square(gamma ** np.arange(n)).sum() / n for n in turns])


@claim("a2tgpo.root-rule", paper=PAPER, source="inferred", kind="variance", figure="a2tgpo_variance")
def root_rule(trial: Trial) -> Evidence:
    """Divided by the root of the number of summed turns, accumulated gains have one size at every depth: for
    independent z of unit variance Var(sum_{j<n} gamma^j z_j / sqrt(n)) = 1 for every n left.

    It holds at gamma = 1, the published setting. Below, the sum stops growing and the root goes on:
    (1 - gamma^(2n)) / (n (1 - gamma^2)), so that early turns are held down. Exact: all patterns of signs are one group.
    """
    turns = trial.pick(10, 10, 12)
    left = np.arange(1, turns + 1)
    for rescale in ("terms", "weights", "none"):
        for gamma in GAMMAS:
            variance = _spread(turns, gamma, rescale)
            aim = predicted_variance(gamma, left)
            scale = {"terms": 1.0, "weights": 1.0 / aim, "none": left}[rescale]
            trial.table(rescale=rescale, gamma=gamma, left=left, variance=variance, predicted=aim * scale)
    return _check_root(trial, "terms")


@root_rule.broken("do not divide")
def _(trial: Trial) -> Evidence:
    return _check_root(trial, "none")


@root_rule.control("divide by the root of the sum of gamma^(2j) instead")
def _(trial: Trial) -> Evidence:
    return _check_root(trial, "weights")


def _check_root(trial: Trial, rescale: str) -> Evidence:
    turns = trial.pick(10, 10, 12)
    found = {gamma: _spread(turns, gamma, rescale) for gamma in GAMMAS}
    detail = {f"gamma {gamma:g}, 10 left": float(found[gamma][9]) for gamma in GAMMAS}
    inside = exact_equality(found[1.0], 1.0, tolerance=1e-9, detail=detail)
    outside = exact_equality(np.concatenate([found[0.9], found[0.5]]), 1.0, tolerance=1e-9, detail=detail)
    return conditional(inside, outside, note="at gamma 1; below it the root of the number of turns is too much")


def _clipping(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Scores z and clip multipliers of many turns: groups of signs, and groups with one far outlier."""
    sizes = trial.pick((4, 16, 64), (4, 16, 64, 256), (4, 16, 64, 256, 1024))
    z, c = [], []
    for n in sizes:
        for gains in (np.linspace(-1.0, 1.0, n), np.append(np.zeros(n - 1), 1.0), np.append(np.zeros(n - 1), -1.0)):
            rollouts = Rollouts.flat(
                offsets=np.arange(n + 1) * 2,
                group=np.zeros(n, np.int64),
                reward=np.zeros(2 * n),
                columns={"information_gain": np.stack([gains, np.zeros(n)], axis=1).reshape(-1)},
            )
            columns = credit(rollouts, "a2tgpo")
            assert isinstance(columns, dict)  # noqa: S101 # A2TGPO makes columns
            z.append(columns["gain_score"][::2])
            c.append(columns["clip_scale"][::2])
    return np.concatenate(z), np.concatenate(c)


@claim("a2tgpo.clip-range", paper=PAPER, source="code", kind="identity")
def clip_range(trial: Trial) -> Evidence:
    """The clip multiplier c = 1 + 0.3 (2 sigmoid(z) - 1) of a turn lies strictly in (0.7, 1.3), rises with the turn's
    information and is 1 on average over a symmetric group: 0.7 < c < 1.3, z <= z' implies c <= c', c(z) + c(-z) = 2.
    """
    z, c = _clipping(trial)
    trial.table(z=z, scale=c)
    return _check_clip(z, c)


@clip_range.broken("let the multiplier grow with z itself, c = 1 + 0.3 z")
def _(trial: Trial) -> Evidence:
    z, _ = _clipping(trial)
    return _check_clip(z, 1.0 + 0.3 * z)


def _check_clip(z: np.ndarray, c: np.ndarray) -> Evidence:
    order = np.argsort(z, kind="stable")
    # Each group was met with its mirror image.
    mirrored = np.sort(c) + np.sort(c)[::-1]
    parts = {
        "below 1.3": exact_inequality(c.max(), "<=", np.nextafter(1.3, 0.0)),
        "above 0.7": exact_inequality(c.min(), ">=", np.nextafter(0.7, 1.0)),
        "rises": exact_inequality(np.diff(c[order]), ">=", 0.0, tolerance=1e-15),
        "symmetric": exact_equality(mirrored, 2.0, tolerance=1e-12),
    }
    return all_of(parts)


def silent_share(hunt: Hunt, n: int, of: Callable[[Rollouts], np.ndarray]) -> float:
    """Probability that every row of a group of n gets exactly 0."""
    law = enumerate_trajectories(hunt.mdp, hunt.policy.probabilities(hunt.mdp))
    share = 0.0
    for index, probability in compositions(law, group_size=n):
        rollouts = hunt.told(law.compose(index))
        loud = np.bincount(rollouts.group_rows, of(rollouts) != 0.0, probability.size)
        share += float(probability[loud == 0].sum())
    return share


def predicted_silence(depth: int, p: float, n: int) -> tuple[float, float]:
    """The same for A2TGPO and for GRPO in the search, by counting.

    With u = p^n + (1-p)^n a turn's members all agree. A2TGPO is silent where every turn before the answer agrees and
    the outcomes do: u^(depth-1), less the groups that are right so far, p^(n(depth-1)), and differ in the last turn.
    """
    u, win = p**n + (1.0 - p) ** n, p**depth
    return u ** (depth - 1) - p ** (n * (depth - 1)) * (1.0 - u), win**n + (1.0 - win) ** n


@claim("a2tgpo.no-collapse", paper=PAPER, source="notes", kind="gradient", figure="a2tgpo_positions")
def no_collapse(trial: Trial) -> Evidence:
    """Groups whose outcomes all agree keep a gradient: P(no credit at all) of A2TGPO <= that of GRPO, and in a search
    of T turns right with chance p equals u^(T-1) - p^(n(T-1)) (1 - u), u = p^n + (1-p)^n, against p^(Tn) + (1 - p^T)^n.

    Exact over all groups. That a group is not silent does not say that what it says is right: see the alignment in the
    table, which depends on the potential.
    """
    for depth, n in _groups(trial):
        for p in CHANCES:
            hunt = Hunt.of(depth, p)
            for name, of in (("A2TGPO", _credit(0.3)), ("GRPO", lambda r: advantage(r, "grpo@paper"))):
                law = exact_moments(lambda r, h=hunt, f=of: f(h.told(r)), hunt.mdp, hunt.policy, group_size=n)
                aim = predicted_silence(depth, p, n)[name == "GRPO"]
                share = silent_share(hunt, n, of)
                trial.table(
                    rule=name, depth=depth, group=n, chance=p, silent=share, predicted=aim,
                    alignment=alignment(law.gradient),
                )  # fmt: skip
    return _check_collapse(trial, 0.3)


@no_collapse.broken("give information no weight")
def _(trial: Trial) -> Evidence:
    return _check_collapse(trial, 0.0)


CHANCES = (0.1, 0.3, 0.5, 0.7, 0.9)


def _groups(trial: Trial) -> tuple[tuple[int, int], ...]:
    return trial.pick(((3, 4),), ((3, 4), (4, 4)), ((3, 4), (4, 4), (3, 8)))


def _credit(alpha: float) -> Callable[[Rollouts], np.ndarray]:
    return lambda r: advantage(r, "a2tgpo", alpha=alpha)


def _check_collapse(trial: Trial, alpha: float) -> Evidence:
    found, aim, plain = [], [], []
    for depth, n in _groups(trial):
        for p in CHANCES:
            found.append(silent_share(Hunt.of(depth, p), n, _credit(alpha)))
            ours, grpo = predicted_silence(depth, p, n)
            aim.append(ours)
            plain.append(grpo)
    detail = {str(p): {"a2tgpo": found[i], "grpo": plain[i]} for i, p in enumerate(CHANCES)}
    parts = {
        "no more than GRPO": exact_inequality(found, "<=", plain, tolerance=1e-12, detail=detail),
        "as counted": exact_equality(found, aim, tolerance=1e-12, detail=detail),
    }
    return all_of(parts)
