"""A-GRAE: what a step does to the answers that were not sampled, to their logits and to their probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.agrae import PAPER
from theory.laws import bandit, policy_of, row_scores

__all__ = ["CONFIDENT", "EVEN", "Group", "unsampled_factor"]

ARMS = 20


@dataclass(frozen=True, eq=False)
class Group:
    """One sampled group of a softmax bandit: policy `pi` (A,), arms drawn `arm` (n,), and which paid, `won` (n,)."""

    pi: np.ndarray
    arm: np.ndarray
    won: np.ndarray

    @classmethod
    def random(cls, seed: int, even: bool = False) -> Group:
        """20 arms, of which a quarter pay; eight draws, at least one of them paid and one not."""
        for attempt in range(100):
            u = uniforms(derive_seed(seed, attempt), 0, Purpose.DATA, 2 * ARMS + 8)
            weight = np.ones(ARMS) if even else np.exp(4.0 * u[:ARMS])
            pi = weight / weight.sum()
            arm = np.minimum((u[2 * ARMS :, None] > pi.cumsum()).sum(axis=1), ARMS - 1)
            won = (u[ARMS : 2 * ARMS].argsort() < ARMS // 4)[arm]
            if 0 < won.sum() < won.size:
                return cls(pi, arm, won)
        raise AssertionError("a group of eight is mixed more often than once in a hundred")

    @property
    def unsampled(self) -> np.ndarray:
        """(A,) bool."""
        return ~np.isin(np.arange(self.pi.size), self.arm)

    @property
    def rollouts(self) -> Rollouts:
        """The group as rollouts."""
        n = self.arm.size
        return Rollouts.flat(
            offsets=np.arange(n + 1), group=np.zeros(n, np.int64), batch=np.zeros(n, np.int64), action=self.arm,
            reward=self.won.astype(np.float64), columns={"state": np.zeros(n, np.int64)},
        )  # fmt: skip

    def credit(self, spec: str) -> np.ndarray:
        """(n,) credit; GRPO's with the population deviation, as in the proofs."""
        return advantage(self.rollouts, spec, ddof=0, eps=0.0)

    def push(self, credit: np.ndarray) -> np.ndarray:
        """(A,) sum_i A_i d log pi(a_i) by logits, through the policy's own score function."""
        mdp = bandit([0.0] * self.pi.size)
        return credit @ row_scores(mdp, policy_of(mdp, [list(self.pi)]), self.rollouts)[:, : self.pi.size]

    def stepped(self, push: np.ndarray, rate: float) -> np.ndarray:
        """(A,) policy after the step."""
        power = self.pi * np.exp(rate * push)
        return power / power.sum()


RULES = {"GRPO": "grpo@paper", "A-GRAE": "a_grae@paper", "negative-dominant": "a_grae@negative-dominant"}


def _groups(trial: Trial, even: bool = False) -> list[Group]:
    return [Group.random(derive_seed(trial.seed, "group", i), even) for i in range(trial.pick(30, 300, 3000))]


@claim("agrae.unsampled-logits", paper=PAPER, source="paper", kind="gradient")
def unsampled_logits(trial: Trial) -> Evidence:
    """Symmetric credit does not move the logits of what was not sampled (theorem 1): one step from independent logits
    is dh_b = eta (sum of A over the draws of b - C pi_b), C = sum A; where C = 0, dh_b = 0 for every b not drawn.

    The formula holds for any credit; twenty arms, eight draws, several of one arm among them.
    """
    return _check_logits(trial, "GRPO")


@unsampled_logits.broken("negative-dominant credit, C < 0")
def _(trial: Trial) -> Evidence:
    return _check_logits(trial, "negative-dominant")


def _check_logits(trial: Trial, rule: str) -> Evidence:
    off, moved = [], []
    for group in _groups(trial):
        for name, spec in RULES.items():
            credit = group.credit(spec)
            push = group.push(credit)
            drawn = np.bincount(group.arm, credit, ARMS)
            off.append(np.abs(push - (drawn - credit.sum() * group.pi)).max())
            if name == rule:
                moved.append(np.abs(push[group.unsampled]).max())
    parts = {
        "formula": exact_equality(off, 0.0, tolerance=1e-12),
        "unsampled": exact_equality(moved, 0.0, tolerance=1e-12, detail={"largest": float(np.max(moved))}),
    }
    return all_of(parts)


def _example(pi: np.ndarray) -> Group:
    """Eight distinct arms 0..7, of which the first four pay."""
    return Group(pi, np.arange(8), np.arange(8) < 4)


EVEN = np.full(ARMS, 1.0 / ARMS)
CONFIDENT = np.where(np.arange(ARMS) == 7, 0.5, 0.5 / 19)
"""Half of the probability on one arm that does not pay."""
RATES = (0.125, 0.25, 0.5, 1.0)


def unsampled_factor(group: Group, spec: str, rate: float) -> tuple[float, float]:
    """Rise of an unsampled arm's logit, and by what its probability is multiplied."""
    push = group.push(group.credit(spec))
    b = int(np.flatnonzero(group.unsampled)[0])
    return float(rate * push[b]), float(group.stepped(push, rate)[b] / group.pi[b])


@claim("agrae.unsampled-probability", paper=PAPER, source="inferred", kind="gradient", figure="agrae_credit")
def unsampled_probability(trial: Trial) -> Evidence:
    """Read on probabilities theorem 1 would say that those of unsampled answers stay as they are under symmetric
    credit: pi'_b = pi_b where C = 0.

    They do not: unmoved logits are normalised anew, pi'_b / pi_b = 1 / sum_a pi_a exp(dh_a), which for an even policy
    is 1 / (.6 + .4 cosh eta) with eight of twenty arms drawn, four of them right.
    """
    for name, pi in (("even", EVEN), ("confident", CONFIDENT)):
        for rule, spec in RULES.items():
            for rate in (0.0, *RATES):
                logit, factor = unsampled_factor(_example(pi), spec, rate)
                trial.table(policy=name, rule=rule, rate=rate, logit=logit, factor=factor)
    return _check_probability(trial, "stays")


@unsampled_probability.broken("negative-dominant credit")
def _(trial: Trial) -> Evidence:
    return _check_probability(trial, "stays", "negative-dominant")


@unsampled_probability.control("it is multiplied by 1 / sum_a pi_a exp(dh_a)")
def _(trial: Trial) -> Evidence:
    return _check_probability(trial, "formula")


def _check_probability(trial: Trial, what: str, rule: str = "GRPO") -> Evidence:
    found, aim = [], []
    for group in (_example(EVEN), _example(CONFIDENT), *_groups(trial)):
        push = group.push(group.credit(RULES[rule]))
        for rate in RATES:
            free = group.unsampled
            ratio = (group.stepped(push, rate) / group.pi)[free]
            found.append(np.log(ratio))
            aim.append(np.zeros(ratio.size) if what == "stays" else rate * push[free] - np.log(_total(group, rate)))
    detail = {
        "even": unsampled_factor(_example(EVEN), RULES[rule], 1.0),
        "even_half": unsampled_factor(_example(EVEN), RULES[rule], 0.5),
        "confident": unsampled_factor(_example(CONFIDENT), RULES[rule], 1.0),
        "negative": unsampled_factor(_example(EVEN), RULES["negative-dominant"], 1.0),
        "closed_form": 1.0 / (0.6 + 0.4 * float(np.cosh(1.0))),
    }
    return exact_equality(np.concatenate(found), np.concatenate(aim), tolerance=1e-12, detail=detail)


def _total(group: Group, rate: float) -> float:
    """sum_a pi_a exp(dh_a) from the theorem's formula, under GRPO's credit."""
    drawn = np.bincount(group.arm, group.credit(RULES["GRPO"]), ARMS)
    return float(group.pi @ np.exp(rate * drawn))


@claim("agrae.unsampled-falls", paper=PAPER, source="inferred", kind="gradient")
def unsampled_falls(trial: Trial) -> Evidence:
    """Under symmetric credit an answer not sampled loses probability: pi'_b <= pi_b, by Jensen's inequality where the
    policy is even, as sum_a pi_a exp(dh_a) >= exp(sum_a pi_a dh_a) = 1.

    Where the policy is confident in a wrong answer it gains, from what that one loses: 1.227 times at eta = 1.
    """
    return _check_falls(trial, "GRPO")


@unsampled_falls.broken("negative-dominant credit")
def _(trial: Trial) -> Evidence:
    return _check_falls(trial, "negative-dominant")


def _check_falls(trial: Trial, rule: str) -> Evidence:
    ratio = []
    for group in (_example(EVEN), *_groups(trial, even=True)):
        push = group.push(group.credit(RULES[rule]))
        ratio.extend((group.stepped(push, rate) / group.pi)[group.unsampled].max() for rate in RATES)
    confident = [unsampled_factor(_example(CONFIDENT), RULES[rule], rate)[1] for rate in RATES]
    return conditional(
        exact_inequality(ratio, "<=", 1.0, tolerance=1e-12, detail={"smallest": float(np.min(ratio))}),
        exact_inequality(confident, "<=", 1.0, tolerance=1e-12, detail={"confident": confident}),
        note="the policy is even",
    )


@claim("agrae.negative-raises", paper=PAPER, source="inferred", kind="gradient")
def negative_raises(trial: Trial) -> Evidence:
    """Negative-dominant credit raises every unsampled logit by eta |C| pi_b and lowers what was drawn and wrong.

    The second only where |A_b| > |C| pi_b: a wrong answer in which the policy is confident, drawn once among others,
    is raised with the unsampled. Four right and four wrong of twenty arms; inside the policy is even, outside one
    wrong arm has probability 0.5.
    """
    for name, pi in (("even", EVEN), ("confident", CONFIDENT)):
        for rule, spec in RULES.items():
            push = _example(pi).push(_example(pi).credit(spec))
            kind = np.repeat(["right", "wrong", "unsampled"], (4, 4, ARMS - 8))
            trial.table(policy=name, rule=rule, kind=kind, pi=pi, push=push)
    return _check_raises("a_grae@negative-dominant")


@negative_raises.broken("positive-dominant credit")
def _(trial: Trial) -> Evidence:
    return _check_raises("a_grae@positive-dominant")


def _check_raises(spec: str) -> Evidence:
    parts = []
    for pi in (EVEN, CONFIDENT):
        group = _example(pi)
        credit = group.credit(spec)
        push, total = group.push(credit), abs(credit.sum())
        detail = {"push": push[:8].tolist(), "total": float(credit.sum())}
        rise = exact_equality(push[8:], total * pi[8:], tolerance=1e-12, detail=detail)
        fall = exact_inequality(push[4:8], "<=", 0.0, detail=detail)
        parts.append(all_of({"unsampled": rise, "wrong": fall}))
    return conditional(*parts, note="no wrong answer has more probability than |A_b| / |C|")
