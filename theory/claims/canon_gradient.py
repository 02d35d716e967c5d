"""CANON: where its expected gradient points, what it does to the metric it splits by, and how much it varies."""

from __future__ import annotations

from functools import cache

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.mdp import make
from creditsim.rollouts import Rollouts
from creditsim.stats.intervals import Interval, mean_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.verdict import Evidence, equality, exact_equality, exact_inequality, inequality
from theory.claim import Trial, claim
from theory.claims.canon import PAPER, SIZES, canon_of
from theory.one_decision import OneDecision
from theory.split_bandit import SplitBandit

MUS = (0.0, 0.25, 0.5, 0.75, 1.0)
MARGIN = 0.05
"""A twentieth of the predicted gradient."""


def slope(gradient: np.ndarray, mu: float) -> float:
    """Projection of a gradient on the predicted one, over its square: 1 where they agree."""
    aim = SplitBandit.standard().predicted(mu)
    return float(gradient @ aim / (aim @ aim))


def _sampled_slope(trial: Trial, n: int, mu: float, median: bool) -> np.ndarray:
    """(groups,) slope of each sampled group's gradient, by the estimator, for groups in which both halves are there."""
    bandit = SplitBandit.standard()
    arm, reward, metric = bandit.sample(_groups(trial, n), n, trial.seed)
    threshold = None if median else bandit.median
    aim = bandit.predicted(mu)
    value = bandit.gradients(arm, canon_of(reward, metric, mu=mu, threshold=threshold)[0]) @ aim / (aim @ aim)
    above = (metric > bandit.median).sum(axis=1)
    return value if median else value[(above > 0) & (above < n)]


def _groups(trial: Trial, n: int) -> int:
    return trial.pick(128_000, 1_000_000, 4_000_000) // n


@claim("canon.expected-gradient", paper=PAPER, source="inferred", kind="gradient", figure="canon_gradient")
def expected_gradient(trial: Trial) -> Evidence:
    """Inter's expected gradient is the exact one plus a push to the better side of the metric: E[g] = dJ +
    (m+ - m-) dP(upper), a bias for everything but mu = 1/2; for a weight mu the push is (2 mu - 1)(m+ - m-) dP(upper).

    Exact at any group size for a threshold fixed at the population median (groups with an empty half left out); intra's
    term is 1 - 2/n of it. For the median of the sample, as published, it holds in the limit: at n = 4 inter's gradient
    is 0.918 of it along it, 0.976 at 16, 0.994 at 64. Sums over half sizes and quadrature; the estimator is sampled.
    """
    bandit = SplitBandit.standard()
    for n in SIZES:
        for mu in MUS:
            for split, found in (("fixed", bandit.fixed_split(n, mu)), ("median", bandit.median_split(n, mu))):
                aim = bandit.predicted(mu)
                cosine = float(found @ aim / (np.linalg.norm(found) * np.linalg.norm(aim)))
                push = float(found @ bandit.halves()[1] / (bandit.gradient @ bandit.halves()[1]))
                at = (slope(found, mu), cosine, push, float("inf"), 0.0)
                if mu in (0.0, 0.5, 1.0) and not (split == "fixed" and mu == 0.5):
                    drawn = _sampled_slope(trial, n, mu, split == "median")
                    at = (*at[:3], float(drawn.mean()), float(drawn.std(ddof=1) / np.sqrt(drawn.size)))
                sampled = at[3] if np.isfinite(at[3]) else at[0]
                trial.table(
                    split=split, members=n, mu=mu, slope=at[0], cosine=at[1], push=at[2], sampled=sampled,
                    sampled_se=at[4],
                )  # fmt: skip
    return _check_gradient(trial, 1.0)


@expected_gradient.broken("Dr.GRPO, half of each")
def _(trial: Trial) -> Evidence:
    return _check_gradient(trial, 0.5)


def _check_gradient(trial: Trial, mu: float) -> Evidence:
    bandit = SplitBandit.standard()
    aim = bandit.predicted(1.0)
    fixed = np.array([bandit.fixed_split(n, mu) for n in SIZES])
    median = np.array([bandit.median_split(n, mu) for n in SIZES])
    intra = [bandit.fixed_split(n, 0.0) / (1.0 - 2.0 / n) for n in SIZES]
    along = {"inter": [slope(m, 1.0) for m in median]}
    along["intra"] = [slope(bandit.median_split(n, 0.0), 0.0) for n in SIZES]
    along["half"] = [slope(bandit.median_split(n, 0.5), 0.5) for n in SIZES]
    drawn = Moments(()).add(_sampled_slope(trial, SIZES[0], mu, median=False), 0).summary()
    parts = {
        "inter": exact_equality(fixed, aim, tolerance=1e-9),
        "intra": exact_equality(intra, bandit.predicted(0.0), tolerance=1e-9),
        "the estimator": equality(lambda a: mean_interval(drawn, alpha=a), 1.0, margin=MARGIN, alpha=trial.alpha),
    }
    inside = all_of(parts, alpha=trial.alpha)
    outside = exact_equality(median, aim, tolerance=1e-9, detail={"slope": along, "members": SIZES})
    return conditional(inside, outside, note="a threshold fixed in advance; the sample's median only in the limit")


@claim("canon.direction", paper=PAPER, source="inferred", kind="gradient")
def direction(trial: Trial) -> Evidence:
    """Inter moves probability to the side of the metric that is rewarded more than the exact gradient does, intra less:
    with s = sign(m+ - m-), s E[g_inter] . dP(upper) >= s dJ . dP(upper) >= s E[g_intra] . dP(upper) / (1 - 2/n).

    For the sample's median, n = 4, 16, 64, in a bandit and in the one with opposite rewards. Exact, by quadrature.
    """
    return _check_direction(1.0, 0.0)


@direction.broken("intra called inter")
def _(trial: Trial) -> Evidence:
    return _check_direction(0.0, 1.0)


def _check_direction(inter: float, intra: float) -> Evidence:
    more, less = [], []
    bandit = SplitBandit.standard()
    gap, push = bandit.halves()
    plain = float(np.sign(gap) * bandit.gradient @ push)
    for n in SIZES:
        # Opposite rewards turn both the sign and every gradient round, so one sign stands for both bandits.
        more.append(np.sign(gap) * float(bandit.median_split(n, inter) @ push) - plain)
        less.append(plain - np.sign(gap) * float(bandit.median_split(n, intra) @ push) / (1.0 - 2.0 / n))
    return exact_inequality([*more, *less], ">=", 0.0, detail={"inter": more, "intra": less, "plain": plain})


@cache
def _traces(trial_groups: tuple[int, ...], seed: int) -> dict[int, np.ndarray]:
    """Group size -> (groups, 3) squared distance of the gradient from its exact mean: inter, Dr.GRPO, intra."""
    bandit, out = SplitBandit.standard(), {}
    for n, groups in zip(SIZES, trial_groups, strict=True):
        arm, reward, metric = bandit.sample(groups, n, seed)
        each = []
        for mu in (1.0, 0.5, 0.0):
            g = bandit.gradients(arm, canon_of(reward, metric, mu=mu)[0])
            each.append(np.square(g - bandit.median_split(n, mu)).sum(axis=1))
        out[n] = np.stack(each, axis=1)
    return out


@claim("canon.variance", paper=PAPER, source="inferred", kind="variance", figure="canon_gradient")
def variance(trial: Trial) -> Evidence:
    """The gradient varies least under intra and most under inter: tr Cov[g_inter] >= tr Cov[g_Dr.GRPO] >= tr
    Cov[g_intra], n = 4, 16, 64, split at the sample's median.

    Part of it is scale: intra's gradient is 1 - 2/n and Dr.GRPO's 1 - 1/n of the plain size. Over these, intra varies
    more than Dr.GRPO in small groups.
    """
    for n, values in _traces(_all_groups(trial), trial.seed).items():
        scale = np.array([1.0, 1.0 - 1.0 / n, 1.0 - 2.0 / n])
        trial.table(
            rule=["inter", "Dr.GRPO", "intra"], members=n, trace=values.mean(axis=0),
            scaled=values.mean(axis=0) / scale**2, error=values.std(axis=0, ddof=1) / np.sqrt(len(values)),
        )  # fmt: skip
    return _check_traces(trial, scaled=False)


@variance.broken("divide intra and Dr.GRPO by their scales first")
def _(trial: Trial) -> Evidence:
    return _check_traces(trial, scaled=True)


def _all_groups(trial: Trial) -> tuple[int, ...]:
    return tuple(_groups(trial, n) for n in SIZES)


def _check_traces(trial: Trial, *, scaled: bool) -> Evidence:
    summaries, detail = [], {}
    for n, values in _traces(_all_groups(trial), trial.seed).items():
        scale = np.array([1.0, 1.0 - 1.0 / n, 1.0 - 2.0 / n]) if scaled else np.ones(3)
        over = values / scale**2
        summaries.append(Moments((2,)).add(over[:, :2] - over[:, 1:], 0).summary())
        detail[str(n)] = over.mean(axis=0).tolist()

    def steps(alpha: float) -> Interval:
        each = [mean_interval(s, alpha=alpha) for s in summaries]
        middle, low, high = (np.concatenate([getattr(i, end) for i in each]) for end in ("estimate", "low", "high"))
        return Interval(middle, low, high, alpha, min(s.n for s in summaries), each[0].method, each[0].assumption)

    return inequality(steps, ">=", 0.0, alpha=trial.alpha, detail={"trace": detail})


ENTROPY = (0.2, 1.2)
"""Mean entropy in nats of a focused and of an open answer."""
PLANS = {"focused is better": ((0.7, 0.8), (0.3, 0.4)), "open is better": ((0.3, 0.4), (0.7, 0.8))}
MEMBERS, UPDATES, RATE = 4, 40, 0.5


@cache
def _plan(name: str) -> OneDecision:
    return OneDecision.of(make("features", p=(PLANS[name],)), MEMBERS, symmetric=False)


@cache
def entropy_curve(name: str, mu: float) -> np.ndarray:
    """(UPDATES + 1,) expected entropy of an answer along the expected gradient, split by entropy."""
    task, theta = _plan(name), np.zeros(4)
    entropy = np.repeat(ENTROPY, 2)

    def judge(rollouts: Rollouts) -> np.ndarray:
        return advantage(rollouts.with_columns(metric=entropy[rollouts.action]), "canon", mu=mu)

    push, curve = task.push(judge), []
    for _ in range(UPDATES + 1):
        pi = np.exp(theta - theta.max())
        pi /= pi.sum()
        curve.append(pi @ entropy)
        theta = theta + RATE * task.gradient(push, pi)[0]
    return np.array(curve)


@claim("canon.entropy-in-mu", paper=PAPER, source="notes", kind="convergence", figure="canon_entropy")
def entropy_in_mu(trial: Trial) -> Evidence:
    """Split by entropy, inter lowers entropy and intra raises it: entropy falls as mu rises, H(mu) >= H(mu') for
    mu <= mu' in {0, .25, .5, .75, 1}, at every update.

    Only where focused answers are the better ones; where open ones are, inter raises it: the reward gives the
    direction, not the name. Expected-gradient learning of how open to answer, exact, groups of four.
    """
    for name in PLANS:
        for mu in MUS:
            curve = entropy_curve(name, mu)
            trial.table(plan=name, mu=mu, update=np.arange(curve.size), entropy=curve)
    return _check_entropy(swapped=False)


@entropy_in_mu.broken("give inter the weight of intra")
def _(trial: Trial) -> Evidence:
    return _check_entropy(swapped=True)


def _check_entropy(*, swapped: bool) -> Evidence:
    parts = []
    for name in PLANS:
        curves = np.array([entropy_curve(name, 1.0 - mu if swapped else mu)[1:] for mu in MUS])
        detail = {"plan": name, "last": curves[:, -1].tolist()}
        parts.append(exact_inequality(np.diff(curves, axis=0), "<=", 0.0, tolerance=1e-12, detail=detail))
    return conditional(*parts, note="where the focused half is rewarded")
