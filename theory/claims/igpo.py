"""IGPO: whether paying information gain keeps the optimum, and how much of the true advantage a gain tells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from creditsim.exact import enumerate_trajectories, optimal, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.signals.information_gain import information_gain
from creditsim.stats.intervals import Interval, delta_interval
from creditsim.stats.joint import conditional
from creditsim.stats.moments import Moments
from creditsim.stats.sums import Summary
from creditsim.stats.verdict import Evidence, equality, exact_inequality
from theory.claim import Trial, claim

PAPER = "IGPO"
DEPTH = 3


class _Task:
    """A tree whose leaves pay at random, and a random potential of its nodes."""

    def __init__(self, seed: int, number: int) -> None:
        self.mdp = make("tree", depth=DEPTH, branching=2, seed=derive_seed(seed, "tree", number) % 2**31)
        self.phi = uniforms(derive_seed(seed, "potential"), number, Purpose.DATA, self.mdp.n_states)
        self.level = np.log2(np.arange(self.mdp.n_states) + 1).astype(np.int64)
        self.gain = self.phi[self.mdp.successor] - self.phi[:, None, None]
        self.last = (self.level == DEPTH - 1)[:, None, None]

    @property
    def published(self) -> np.ndarray:
        """(S,A,1) gain of every turn before the answer, and nothing for the answer."""
        return np.where(self.last, 0.0, self.gain)

    @property
    def closed(self) -> np.ndarray:
        """The same, and the answer gives the potential back that it was reached with: Phi after it is 0."""
        return np.where(self.last, -self.phi[:, None, None], self.gain)

    def scaled(self, by_depth: bool) -> np.ndarray:
        """Closed gains less their mean over their deviation, of their depth or of all turns, under even choices."""
        paid, out = self.closed, np.zeros_like(self.closed)
        # Each node of a level is met equally often, each level once in an episode.
        level = self.level[:, None, None] + np.zeros_like(paid)
        inner = level < DEPTH
        chance = np.where(inner, 0.5**level, 0.0)
        parts = [level == t for t in range(DEPTH)] if by_depth else [inner]
        for part in parts:
            weight = np.where(part, chance, 0.0) / chance[part].sum()
            mean = (weight * paid).sum()
            deviation = np.sqrt((weight * (paid - mean) ** 2).sum())
            out = np.where(part, (paid - mean) / deviation, out)
        return out

    def regret(self, bonus: np.ndarray) -> float:
        """Outcome lost by the policy that is best for outcome plus bonus (S,A,1)."""
        mdp, best = self.mdp, optimal(self.mdp)
        shaped = solve_for(mdp, mdp.scalar_reward + bonus)
        return best.j - solve(mdp, shaped).j


def solve_for(mdp: TabularMDP, reward: np.ndarray) -> np.ndarray:
    """(H,S,A) the policy that is best for another reward."""
    other = TabularMDP.build(
        successor=mdp.successor, probability=mdp.probability, reward=reward, terminal=mdp.terminal, horizon=mdp.horizon
    )
    return optimal(other).pi


TREATMENTS: dict[str, Callable[[_Task], np.ndarray]] = {
    "gains, potential given back": lambda task: task.closed,
    "gains, as published": lambda task: task.published,
    "one scale for all turns": lambda task: task.scaled(by_depth=False),
    "a scale for each depth": lambda task: task.scaled(by_depth=True),
}


def _regrets(trial: Trial, treatment: str) -> np.ndarray:
    tasks = (_Task(trial.seed, number) for number in range(trial.pick(40, 400, 4000)))
    return np.array([task.regret(TREATMENTS[treatment](task)) for task in tasks])


def _check(trial: Trial, inside: str, outside: str, note: str) -> Evidence:
    parts = []
    for treatment in (inside, outside):
        regret = _regrets(trial, treatment)
        detail = {"treatment": treatment, "share_moved": float((regret > 1e-9).mean()), "mean": float(regret.mean())}
        parts.append(exact_inequality(regret, "<=", 0.0, tolerance=1e-12, detail=detail))
    return conditional(*parts, note=note)


def _tabulate(trial: Trial) -> None:
    for name in TREATMENTS:
        regret = _regrets(trial, name)
        trial.table(treatment=name, regret=regret, task=np.arange(regret.size))


@claim("igpo.shaping-invariance", paper=PAPER, source="inferred", kind="bias", figure="information_gain")
def shaping_invariance(trial: Trial) -> Evidence:
    """For a fixed potential and gamma = 1, paying gains leaves the best policy as it is: J(best for outcome + gains) =
    J* (regret <= 0), because gains telescope to the last potential less the first.

    It needs the last potential to be the same wherever an episode ends: the answer must give it back, as potential
    shaping does by Phi(end) = 0. IGPO pays the answer its outcome alone, so the potential before the answer stays as a
    bonus, and states that look promising are sought for their looks. Exact, over random trees and potentials.
    """
    _tabulate(trial)
    return _check(trial, "gains, potential given back", "gains, as published", "only if the answer gives it back")


@shaping_invariance.broken("give gains a scale for each depth")
def _(trial: Trial) -> Evidence:
    return _check(trial, "a scale for each depth", "gains, as published", "")


@claim("igpo.normalised-gains", paper=PAPER, source="inferred", kind="bias", figure="information_gain")
def normalised_gains(trial: Trial) -> Evidence:
    """Standardising gains leaves the best policy as it is (regret <= 0), the potential being given back.

    True with one mean and one deviation for all turns of episodes of one length: that is a potential on another scale
    and a constant. False with a mean and a deviation for each depth, as in turn groups: gains no longer telescope.
    Statistics are those under even choices. Exact, over random trees and potentials.
    """
    _tabulate(trial)
    return _check(trial, "one scale for all turns", "a scale for each depth", "one scale keeps it, one per depth not")


@normalised_gains.broken("standardise gains whose potential is not given back, by depth")
def _(trial: Trial) -> Evidence:
    return _check(trial, "a scale for each depth", "gains, as published", "")


NOISES = (0.0, 0.5, 1.0, 2.0)
MARGIN = 0.05
"""A twentieth of a correlation does not change how it is read."""


class _Gains:
    """Gains before the answer in a tree under one policy, from potentials that are its value plus errors per state."""

    def __init__(self, trial: Trial, unrelated: bool) -> None:
        mdp = make("tree", depth=4, branching=3, seed=3)
        pi = SoftmaxPolicy.random(mdp, 1).probabilities(mdp)
        law, solution = enumerate_trajectories(mdp, pi), solve(mdp, pi)
        rows = law.rollouts
        told = rows.step < mdp.horizon - 1
        self.weight = law.joint[rows.trajectory[told]]
        self.weight = self.weight / self.weight.sum()
        self.advantage = solution.row_advantage(rows)[told]
        self.size = float(np.sqrt(self.weight @ self.advantage**2))
        one_batch = rows.take(np.arange(rows.n_trajectories), batch=np.zeros(rows.n_trajectories, np.int64))
        state = {"oracle_value": solution.value[None]}

        def gain(noise: float, seed: int) -> np.ndarray:
            columns, _ = information_gain(one_batch, state, noise=noise, noise_seed=seed)
            return columns["information_gain"][told]

        self.exact = np.zeros(told.sum()) if unrelated else gain(0.0, 0)
        seeds = range(trial.pick(600, 5_000, 40_000))
        clean = gain(0.0, 0)
        # Errors enter the gain with their size as a factor, so one draw serves all sizes.
        self.error = np.stack([gain(1.0, derive_seed(trial.seed, "error", k)) - clean for k in seeds])

    def summary(self, noise: float) -> Summary:
        """Moments (3,) over draws of errors: gain times advantage, gain squared, share of equal signs."""
        gain = self.exact + noise * self.size * self.error
        values = [
            (gain * self.advantage) @ self.weight,
            gain**2 @ self.weight,
            (np.sign(gain) == np.sign(self.advantage)) @ self.weight,
        ]
        return Moments((3,), cross=True).add(np.stack(values, axis=1), 0).summary()

    def correlation(self, summary: Summary, alpha: float) -> Interval:
        """E[gain A] / sqrt(E[gain^2] E[A^2]) with its interval."""
        cross, square, _ = (float(v) for v in summary.mean)
        slope = np.array([square**-0.5, -0.5 * cross * square**-1.5, 0.0]) / self.size
        return delta_interval(summary, lambda m: float(m[0] / np.sqrt(m[1])) / self.size, slope, alpha=alpha)

    def agreement(self, noise: float) -> float:
        """P(gain and advantage have one sign), exactly: the error of a gain is normal with variance 2 noise^2."""
        from scipy.stats import norm

        if noise == 0.0:
            return float(self.weight @ (self.advantage != 0))
        return float(self.weight @ norm.cdf(np.abs(self.advantage) / (np.sqrt(2.0) * noise * self.size)))


@claim("igpo.gain-is-advantage", paper=PAPER, source="inferred", kind="estimate", figure="information_gain")
def gain_is_advantage(trial: Trial) -> Evidence:
    """A gain tells the true advantage as far as the potential is the value: for Phi = V + e with independent errors of
    rho times the advantages' size, correlation(gain, A) = 1 / sqrt(1 + 2 rho^2); exactly 1 for Phi = V where moves are
    certain, .58 for errors as large as advantages.

    Sampled over errors, on the turns before the answer of a tree; within 0.05 at rho = 0.5, 1 and 2.
    """
    gains = _Gains(trial, unrelated=False)
    for noise in NOISES:
        summary = gains.summary(noise)
        if noise:
            found = gains.correlation(summary, trial.alpha)
            at = (float(found.estimate), float(found.low), float(found.high))
        else:
            exact = float(summary.mean[0] / np.sqrt(summary.mean[1]) / gains.size)
            at = (exact, exact, exact)
        trial.table(
            noise=noise, correlation=at[0], low=at[1], high=at[2], predicted=1.0 / np.sqrt(1.0 + 2.0 * noise**2),
            agreement=float(summary.mean[2]), agreement_se=float(np.sqrt(summary.variance()[2] / summary.n)),
            agreement_predicted=gains.agreement(noise),
        )  # fmt: skip
    return _check_correlation(trial, gains)


@gain_is_advantage.broken("take gains of a potential that knows nothing of the value")
def _(trial: Trial) -> Evidence:
    return _check_correlation(trial, _Gains(trial, unrelated=True))


def _check_correlation(trial: Trial, gains: _Gains) -> Evidence:
    summaries = [gains.summary(noise) for noise in NOISES[1:]]

    def intervals(alpha: float) -> Interval:
        # Each at its share: the three are tested together.
        each = [gains.correlation(s, alpha / len(summaries)) for s in summaries]
        middle, low, high = (np.array([getattr(i, end) for i in each], float) for end in ("estimate", "low", "high"))
        return Interval(middle, low, high, alpha, each[0].n, each[0].method, each[0].assumption)

    aim = [1.0 / np.sqrt(1.0 + 2.0 * noise**2) for noise in NOISES[1:]]
    detail = {f"rho {noise:g}": gains.agreement(noise) for noise in NOISES}
    return equality(intervals, aim, margin=MARGIN, alpha=trial.alpha, detail={"sign agreement": detail})
