"""A-GRAE: what a symmetric credit leaves untouched, what an asymmetric one moves, and how much each difficulty gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.laws import bandit, policy_of, row_scores
from theory.shared import responses

PAPER = "A-GRAE"
SIZES = (2, 4, 8, 16)
ARMS = 20


def by_successes(n: int, spec: str, **params: object) -> np.ndarray:
    """(n-1, n) credit of groups with k = 1..n-1 successes, the successes first; each group a batch."""
    won = [np.arange(n) < k for k in range(1, n)]
    return advantage(responses(won), spec, **params).reshape(n - 1, n)


@claim("agrae.balance", paper=PAPER, source="paper", kind="identity")
def balance(trial: Trial) -> Evidence:
    """Credit normalised inside a group with binary rewards is symmetric: the right answers together get as much as the
    wrong ones lose, sum_right |A| = sum_wrong |A| (eq. 5), in every mixed group, for divisor n and n - 1.
    """
    for n in SIZES:
        for spec in ("grpo@paper", "a_grae@paper"):
            value = by_successes(n, spec)
            right, wrong = np.maximum(value, 0.0).sum(axis=1), np.maximum(-value, 0.0).sum(axis=1)
            trial.table(rule=spec.split("@")[0], members=n, p=np.arange(1, n) / n, right=right, wrong=wrong)
    return _check_balance("grpo@paper")


@balance.broken("A-GRAE, which holds praise back")
def _(trial: Trial) -> Evidence:
    return _check_balance("a_grae@paper")


def _check_balance(spec: str) -> Evidence:
    off = []
    for n in SIZES:
        for ddof in (0, 1):
            value = by_successes(n, spec, ddof=ddof)
            off.append(np.abs(np.maximum(value, 0.0).sum(axis=1) - np.maximum(-value, 0.0).sum(axis=1)).max())
    return exact_equality(off, 0.0, tolerance=1e-12, detail={"members": SIZES})


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


@claim("agrae.update-size", paper=PAPER, source="paper", kind="identity")
def update_size(trial: Trial) -> Evidence:
    """The credit that a binary group hands out depends on its success rate symmetrically: sum |A| = 2 n sqrt(p(1-p)), p
    the empirical rate (theorem 2), with the population deviation.

    With divisor n - 1, as all the codes have it, it is sqrt((n-1)/n) of that: symmetric all the same.
    """
    return _check_size("grpo@paper")


@update_size.broken("Dr.GRPO, without a deviation")
def _(trial: Trial) -> Evidence:
    return _check_size("dr_grpo@paper")


def _check_size(spec: str) -> Evidence:
    parts = []
    for ddof in (0, 1):
        params = {"ddof": ddof} if spec.startswith("grpo") else {}
        found = [np.abs(by_successes(n, spec, **params)).sum(axis=1) / n for n in SIZES]
        aim = [2.0 * np.sqrt(k * (1.0 - k)) for k in (np.arange(1, n) / n for n in SIZES)]
        ratio = [float((f / a).mean()) for f, a in zip(found, aim, strict=True)]
        detail = {"members": SIZES, "ratio": ratio}
        parts.append(exact_equality(np.concatenate(found), np.concatenate(aim), tolerance=1e-12, detail=detail))
    return conditional(*parts, note="deviation with divisor n")


def _mixed(spec: str, wins: Sequence[int], n: int, **params: object) -> np.ndarray:
    """(G, n) credit of groups with so many successes that make one batch."""
    return advantage(responses([np.arange(n) < k for k in wins], one_batch=True), spec, **params).reshape(-1, n)


BATCHES = ((1, 2, 4, 6, 7), (1, 1, 2, 3, 5), (4, 6, 7, 7, 7))


FOCUSES = {
    "GRPO": ("grpo@paper", {}),
    "hard focus": ("a_grae@hard-focused", {}),
    "easy focus": ("a_grae@easy-focused", {}),
    "easy focus, code": ("a_grae@easy-focused", {"easy": "one-minus-root"}),
}


@claim("agrae.focus-size", paper=PAPER, source="paper", kind="identity", figure="agrae_credit")
def focus_size(trial: Trial) -> Evidence:
    """Hard focus hands out sum |A| = n sqrt(1-p), easy focus n sqrt(p) (table 1b), and eq. 12 omega times the one plus
    1 - omega times the other; what eq. 13 takes back is C = -(1/2) (1 - min(1, omega / alpha)) of that. Population
    deviation; batches of five groups of eight, alpha 1 and 0.5.
    """
    n = 8
    p = np.arange(1, n) / n
    for rule, (spec, params) in FOCUSES.items():
        value = np.abs(by_successes(n, spec, ddof=0, eps=0.0, **params)).sum(axis=1) / n
        trial.table(rule=rule, p=p, size=value, predicted=predicted_size(rule, p), drawn=True)
        smooth = np.linspace(0.0, 0.97, 98)
        trial.table(rule=rule, p=smooth, size=0.0, predicted=predicted_size(rule, smooth), drawn=False)
    return _check_focus("one-minus-p")


def predicted_size(rule: str, p: np.ndarray) -> np.ndarray:
    """sum |A| / n in closed form."""
    forms = {
        "GRPO": 2.0 * np.sqrt(p * (1.0 - p)),
        "hard focus": np.sqrt(1.0 - p),
        "easy focus": np.sqrt(p),
        "easy focus, code": np.sqrt(p * (1.0 - p)) / (1.0 - np.sqrt(p)),
    }
    return forms[rule]


@focus_size.broken("the code's easy factor, 1 / (1 - sqrt(p))")
def _(trial: Trial) -> Evidence:
    return _check_focus("one-minus-root")


def _check_focus(easy: str) -> Evidence:
    n, exact = 8, {"ddof": 0, "eps": 0.0, "easy": easy}
    p = np.arange(1, n) / n
    hard = np.abs(by_successes(n, "a_grae@hard-focused", **exact)).sum(axis=1) / n
    soft = np.abs(by_successes(n, "a_grae@easy-focused", **exact)).sum(axis=1) / n
    parts = {
        "hard": exact_equality(hard, np.sqrt(1.0 - p), tolerance=1e-12),
        "easy": exact_equality(soft, np.sqrt(p), tolerance=1e-12),
    }
    both, taken, sizes, totals = [], [], [], []
    for wins in BATCHES:
        rate = np.array(wins) / n
        omega = rate.mean()
        whole = omega * np.sqrt(1.0 - rate) + (1.0 - omega) * np.sqrt(rate)
        value = _mixed("a_grae@paper", wins, n, alpha=None, **exact)
        both.append(np.abs(value).sum(axis=1) / n)
        sizes.append(whole)
        for alpha in (1.0, 0.5):
            value = _mixed("a_grae@paper", wins, n, alpha=alpha, **exact)
            taken.append(value.sum(axis=1) / n)
            totals.append(-0.5 * (1.0 - min(1.0, omega / alpha)) * whole)
    parts["both"] = exact_equality(both, sizes, tolerance=1e-12)
    parts["taken back"] = exact_equality(taken, totals, tolerance=1e-12)
    return all_of(parts)
