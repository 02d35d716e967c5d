"""StepPO: what one ratio and one advantage per step do that token-wise ones do not, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments, solve
from creditsim.exact.moments import GradientMoments
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from creditsim.updates.losses import LOSSES
from theory.claim import Trial, claim
from theory.shared import binomial

PAPER = "StepPO"
ROUNDING = 1e-10
MATCHED_TOKENS = 4
SPREAD = 0.1
"""Standard deviation of a token's log-ratio, that of the acceptance numbers."""


# --- The ratio --------------------------------------------------------------------------------------------------------


def product_variance(tokens: np.ndarray, spread: float) -> np.ndarray:
    """Var of the product of `tokens` independent log-normal ratios of mean 1: e^(L s^2) - 1."""
    return np.expm1(tokens * spread**2)


def mean_variance(tokens: np.ndarray, spread: float) -> np.ndarray:
    """Var of their geometric mean: (e^(s^2/L) - 1) e^(-s^2 + s^2/L)."""
    return np.expm1(spread**2 / tokens) * np.exp(spread**2 / tokens - spread**2)


def two_token_ratios(tokens: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Step ratios (L+1,) that the step loss takes, and their probabilities, where the policy has two tokens.

    The old policy says either with 1/2, the new one so that a token's log-ratio has standard deviation `spread`. A step
    with k tokens of the first kind is a trajectory of its own; with advantage -1 and no clip its loss is its ratio.
    """
    tilt = np.tanh(spread)
    kinds = np.arange(tokens) < np.arange(tokens + 1)[:, None]
    log_ratio = np.where(kinds, np.log1p(tilt), np.log1p(-tilt)).ravel()
    number = np.arange(tokens + 1)
    loss = LOSSES.bind("step_ppo", clip_low=1.0, clip_high=1e9)
    result = loss(
        log_ratio, np.zeros(log_ratio.size), -np.ones(log_ratio.size), np.arange(tokens + 2) * tokens, None, number,
        {"step": np.zeros(log_ratio.size, np.int64)},
    )  # fmt: skip
    return np.asarray(result.value), binomial(tokens, 0.5)


def _variance(values: np.ndarray, chance: np.ndarray) -> float:
    mean = chance @ values
    return float(chance @ (values - mean) ** 2)


def _check_ratio(trial: Trial, power: float) -> Evidence:
    tokens = np.array((1, 4, 16, 64, *trial.pick((256,), (256, 512), (256, 512, 1024))))
    laws = [two_token_ratios(int(n), SPREAD) for n in tokens]
    log_product = np.array([_variance(n * np.log(w), p) for n, (w, p) in zip(tokens, laws, strict=True)])
    log_mean = np.array([_variance(power * np.log(w), p) for w, p in laws])
    product = np.array([_variance(w**n, p) for n, (w, p) in zip(tokens, laws, strict=True)])
    mean = np.array([_variance(w**power, p) for w, p in laws])
    trial.table(
        tokens=tokens, product=product, mean=mean, log_product=log_product, log_mean=log_mean,
        lognormal_product=product_variance(tokens, SPREAD), lognormal_mean=mean_variance(tokens, SPREAD),
        bias=[1.0 - float(p @ w) for w, p in laws], lognormal_bias=-np.expm1(-(SPREAD**2 / 2) * (1.0 - 1.0 / tokens)),
    )  # fmt: skip
    detail = {
        "lognormal_product": product_variance(tokens, SPREAD).tolist(),
        "lognormal_mean": mean_variance(tokens, SPREAD).tolist(),
        "mean_at_256": float(mean[4]), "product_at_256": float(product[4]),
    }  # fmt: skip
    inside = all_of(
        {
            "log of the product": exact_equality(log_product, tokens * SPREAD**2, tolerance=ROUNDING),
            "log of the mean": exact_equality(log_mean, SPREAD**2 / tokens, tolerance=ROUNDING),
            "falls": exact_inequality(np.diff(mean * tokens) / mean[0], "<=", 0.0, tolerance=ROUNDING),
        },
        alpha=trial.alpha,
    )
    linear = exact_inequality(product / (tokens * SPREAD**2), "<=", 1.1)
    return conditional(
        replace(inside, detail=detail), linear,
        note="Inside: variances of the logarithms. Outside: of the ratio itself, within a tenth of L s^2.",
    )  # fmt: skip


@claim("steppo.ratio-variance", paper=PAPER, source="notes", kind="variance", figure="steppo_ratio")
def ratio_variance(trial: Trial) -> Evidence:
    """The product of a step's L token ratios has a variance that rises linearly in L, their geometric mean one that
    falls like 1/L: Var(ln prod) = L s^2 and Var(ln mean) = s^2 / L for independent tokens with log-ratios of standard
    deviation s. That is the logarithm; the product itself has Var = e^(L s^2) - 1, linear for L s^2 << 1 only. (The
    paper's analysis, read in notes; the exact forms are derived here.)
    """
    return _check_ratio(trial, 1.0)


@ratio_variance.broken("half the mean log-ratio taken for the step's")
def _(trial: Trial) -> Evidence:
    return _check_ratio(trial, 0.5)


def correlated_mean_variance(tokens: int, correlation: float, spread: float) -> float:
    """Var of the mean of L stationary log-ratios with correlations rho^k: (s^2/L^2) (L + 2 sum (L-k) rho^k)."""
    k = np.arange(1, tokens)
    return float(spread**2 / tokens**2 * (tokens + 2.0 * ((tokens - k) @ correlation**k)))


def _summed_variance(tokens: int, correlation: float, spread: float) -> float:
    """The same from the innovations of the autoregression, whose weights in the sum are partial geometric sums."""
    left = np.arange(tokens, 0, -1)
    weight = left.astype(float) if correlation == 1.0 else (1.0 - correlation**left) / (1.0 - correlation)
    scale = np.where(np.arange(tokens) == 0, 1.0, 1.0 - correlation**2)
    return float(spread**2 / tokens**2 * (scale @ weight**2))


def _check_correlated(trial: Trial, correlation: float) -> Evidence:
    tokens = np.array((1, 4, 16, 64, 256, *trial.pick((), (1024,), (1024, 4096))))
    for rho in dict.fromkeys((0.0, 0.5, 0.9, correlation)):
        values = [correlated_mean_variance(int(n), rho, SPREAD) for n in tokens]
        trial.table(correlation=rho, tokens=tokens, variance=values)
    found = np.array([_summed_variance(int(n), correlation, SPREAD) for n in tokens])
    formula = np.array([correlated_mean_variance(int(n), correlation, SPREAD) for n in tokens])
    slope = np.diff(np.log(found)) / np.diff(np.log(tokens))
    inside = all_of(
        {
            "formula": exact_equality(found, formula, tolerance=ROUNDING),
            "slope": exact_inequality(slope[tokens[:-1] >= 64], "<=", -0.75),
        },
        alpha=trial.alpha,
    )
    return conditional(
        replace(inside, detail={"variance": formula.tolist(), "slope": slope.tolist()}),
        exact_inequality(slope[tokens[:-1] < 16], "<=", -0.75),
        note="Inside: L >= 64, past (1 + rho) / (1 - rho) = 19. Outside: L <= 16.",
    )


@claim("steppo.correlated-tokens", paper=PAPER, source="inferred", kind="variance", figure="steppo_ratio")
def correlated_tokens(trial: Trial) -> Evidence:
    """The variance of the geometric-mean ratio falls like 1/L also where neighbouring tokens' log-ratios go together:
    Var(ln mean) = (s^2/L^2) (L + 2 sum_{k<L} (L-k) rho^k), and its slope over ln L is <= -0.75, nearer to -1 than to
    -1/2. True for L beyond (1+rho)/(1-rho); shorter steps share one mood, and averaging them gains little. (Derived
    here, rho = 0.9.)
    """
    return _check_correlated(trial, 0.9)


@correlated_tokens.broken("tokens that all go together, rho = 1")
def _(trial: Trial) -> Evidence:
    return _check_correlated(trial, 1.0)


# --- The weight of a step ---------------------------------------------------------------------------------------------


def step_gradient(loss: str, chance: np.ndarray, credit: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Expected ascent direction (A,) on the logits of a choice among answers of `lengths` tokens, by their first token.

    The other tokens are certain, so their scores are 0. The loss is taken at the policy that sampled.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    first = np.zeros(offsets[-1])
    first[offsets[:-1]] = np.log(chance)
    result = LOSSES.bind(loss)(
        first, first, np.repeat(credit, lengths), offsets, None, np.arange(lengths.size),
        {"step": np.zeros(first.size, np.int64)},
    )  # fmt: skip
    push = -np.asarray(result.derivative)[offsets[:-1]] * chance
    return push - chance * push.sum()


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _check_weight(trial: Trial, lengths: tuple[int, ...]) -> Evidence:
    chance = np.array([0.5, 0.3, 0.2])
    reward = np.array([0.0, 0.5, 1.0])
    credit = reward - chance @ reward
    exact = chance * credit
    cases = {
        "equal": lengths, "unequal": (16, 1, 4), "good ones short": (16, 4, 1), "good ones long": (1, 4, 16),
    }  # fmt: skip
    cosine, error = {}, []
    for name, each in cases.items():
        n = np.array(each)
        found = step_gradient("step_ppo", chance, credit, n)
        formula = chance * (credit / n - chance @ (credit / n))
        error.append(np.abs(found - formula).max())
        cosine[name] = _cosine(found, exact)
        trial.table(lengths=name, cosine=cosine[name])
    parts = {
        "formula": exact_equality(error, 0.0, tolerance=ROUNDING),
        "direction": exact_equality(cosine["equal"], 1.0, tolerance=ROUNDING),
    }
    inside = replace(all_of(parts, alpha=trial.alpha), detail=cosine)
    others = [cosine[name] for name in cases if name != "equal"]
    return conditional(
        inside, exact_equality(others, 1.0, tolerance=ROUNDING),
        note="Inside: all answers equally long. Outside: 1, 4 and 16 tokens.",
    )  # fmt: skip


@claim("steppo.length-weight", paper=PAPER, source="inferred", kind="gradient")
def length_weight(trial: Trial) -> Evidence:
    """At the policy that sampled, the step loss climbs along the policy gradient: cosine = 1. Its gradient is (1/L_t)
    A_t sum_i grad ln pi_i, with component pi_a (A_a/L_a - sum_b pi_b A_b/L_b) by an answer's logit instead of pi_a A_a:
    the same direction where all steps are equally long, another where lengths differ. (Derived here.)
    """
    return _check_weight(trial, (4, 4, 4))


@length_weight.broken("unequal answers taken for equal ones")
def _(trial: Trial) -> Evidence:
    return _check_weight(trial, (3, 4, 5))


# --- Step-level GAE ---------------------------------------------------------------------------------------------------


def _step_law(lam: float, error: float, before: bool = True) -> GradientMoments:
    """Gradient of step-level GAE, two tokens per step, where the critic is off by `error` times fixed numbers.

    `before` False reads the value when the response has been spoken, Q of the step's last token: no baseline any more.
    """
    mdp = make("tokens", length=2, tokens=2, vocabulary=2, horizon=3)
    policy = SoftmaxPolicy.random(mdp, 7, 0.7)
    solution = solve(mdp, policy.probabilities(mdp))
    wrong = error * np.sin(1.0 + np.arange(mdp.n_states) * 2.0)

    def credit(r: Rollouts) -> np.ndarray:
        value = solution.row_value(r) if before else np.repeat(solution.row_q(r)[1::2], 2)
        return advantage(
            r.with_columns(value=value + wrong[r.columns["state"]]), "steppo", gamma=1.0, lam=lam, whiten=False
        )

    return exact_moments(credit, mdp, policy, group_size=1, covariance=False).gradient


def _check_unbiased(trial: Trial, before: bool) -> Evidence:
    lams = trial.pick((0.0, 0.5, 0.9, 1.0), tuple(np.linspace(0, 1, 11)), tuple(np.linspace(0, 1, 21)))
    bias = {}
    for error in (0.0, 0.2, 0.5):
        laws = [_step_law(float(lam), error, before) for lam in lams]
        bias[error] = np.array([np.linalg.norm(law.bias) / np.linalg.norm(law.exact) for law in laws])
        trial.table(error=error, lam=np.array(lams), bias=bias[error])
    inside = exact_equality(
        np.concatenate([bias[0.0], [bias[0.2][-1], bias[0.5][-1]]]), 0.0, tolerance=ROUNDING,
        detail={"bias_at_half": float(bias[0.5][0])},
    )  # fmt: skip
    outside = exact_equality(np.concatenate([bias[0.2][:-1], bias[0.5][:-1]]), 0.0, tolerance=ROUNDING)
    return conditional(inside, outside, note="Inside: an exact critic, or lambda = 1. Outside: neither.")


@claim("steppo.step-gae-unbiased", paper=PAPER, source="inferred", kind="gradient")
def step_gae_unbiased(trial: Trial) -> Evidence:
    """One advantage per step, repeated to its tokens, gives the exact gradient: E[g] = dJ/dtheta, for every lambda with
    the exact value read before a step's first token, and for any critic at lambda = 1, where its error is a baseline; a
    wrong critic and lambda < 1 bias it. (The paper argues in words; derived here.)
    """
    return _check_unbiased(trial, True)


@step_gae_unbiased.broken("read the value at the step's last token")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, False)


# --- Discount per token -----------------------------------------------------------------------------------------------


def _corridor(steps: int, tokens: int) -> Rollouts:
    """One trajectory without choices that pays 1 at its end."""
    rows = steps * tokens
    reward = np.zeros(rows)
    reward[-1] = 1.0
    return Rollouts.flat(
        offsets=[0, rows], group=[0], reward=reward, step=np.arange(rows) // tokens, columns={"value": np.zeros(rows)}
    )


def _check_signal(trial: Trial, discount: str) -> Evidence:
    steps, found, predicted, detail = 10, [], [], {}
    for gamma in (0.99, 0.95):
        for tokens in (1, 10, 50, 200):
            rollouts = _corridor(steps, tokens)
            of_step = advantage(rollouts, "steppo", gamma=gamma, whiten=False)[0]
            of_token = advantage(rollouts, "gae_token", gamma=gamma, lam=1.0, discount=discount)[0]
            found += [of_step, of_token]
            predicted += [gamma ** (steps - 1), gamma ** (steps * tokens - 1)]
            trial.table(gamma=gamma, tokens=tokens, step=of_step, token=of_token, token_formula=predicted[-1])
            detail[f"{gamma:g}, {tokens}"] = (float(of_step), float(of_token))
    relative = np.array(found) / np.array(predicted)
    return exact_equality(relative, 1.0, tolerance=ROUNDING, detail=detail)


@claim("steppo.signal-at-start", paper=PAPER, source="inferred", kind="identity", figure="steppo_ratio")
def signal_at_start(trial: Trial) -> Evidence:
    """A reward at the end of T steps of L tokens reaches the first step as gamma^(T-1) under step-level GAE and as
    gamma^(L T - 1) under token-level GAE with the same gamma: at gamma = 0.99, T = 10 and L = 200 the first is 0.914,
    the second 1.9e-9. (Derived here.)
    """
    return _check_signal(trial, "row")


@signal_at_start.broken("let a new step, not a token, carry the discount")
def _(trial: Trial) -> Evidence:
    return _check_signal(trial, "step")


Case = tuple[bool, bool, float]
"""Whether the reward is paid at a step's first token, whether the critic is exact inside steps, and lambda."""


def _matched(case: Case, power: float) -> float:
    """Largest |A(first token) - A_t| over the steps of one path, with rates gamma^power and lambda^power per token."""
    reward_first, exact_inside, lam = case
    steps, tokens, gamma = 5, MATCHED_TOKENS, 0.9
    rows = steps * tokens
    first = np.arange(rows) % tokens == 0
    place = np.arange(steps)
    pay, boundary = 0.3 + 0.2 * np.cos(place), 0.5 + 0.4 * np.sin(2.0 + place)
    reward = np.zeros(rows)
    reward[first if reward_first else np.roll(first, -1)] = pay
    value = np.empty(rows)
    value[first] = boundary
    after = np.append(boundary[1:], 0.0)
    rate = gamma**power
    for j in range(1, tokens):
        known = rate ** (tokens - j) * after + (0.0 if reward_first else rate ** (tokens - 1 - j) * pay)
        value[j::tokens] = known if exact_inside else 0.7 * np.sin(5.0 + place + j)
    rollouts = Rollouts.flat(
        offsets=[0, rows], group=[0], reward=reward, step=np.arange(rows) // tokens, columns={"value": value}
    )
    of_step = advantage(rollouts, "steppo", gamma=gamma, lam=lam, whiten=False)
    of_token = advantage(rollouts, "gae_token", gamma=rate, lam=lam**power)
    return float(np.abs(of_token - of_step)[first].max())


def _check_matched(trial: Trial, cases: dict[str, Case], power: float = 1.0 / MATCHED_TOKENS) -> Evidence:
    found = {name: _matched(case, power) for name, case in cases.items()}
    trial.table(case=list(found), difference=list(found.values()))
    return exact_equality(list(found.values()), 0.0, tolerance=ROUNDING, detail=found)


PLAIN_CASES: dict[str, Case] = {
    "reward at the last token, lambda 1": (False, False, 1.0),
    "reward at the last token, lambda 0.8": (False, False, 0.8),
    "reward at the first token, lambda 0.8": (True, False, 0.8),
}
REPAIRED_CASES: dict[str, Case] = {
    "reward at the first token, lambda 1": (True, False, 1.0),
    "reward at the first token, lambda 0.8, inner values exact": (True, True, 0.8),
}


@claim("steppo.matched-discount", paper=PAPER, source="inferred", kind="identity")
def matched_discount(trial: Trial) -> Evidence:
    """Rates per token matched to those per step, gamma^(1/L) and lambda^(1/L), make token-level GAE step-level GAE:
    A(first token) - A_t = 0 on every path. Refuted: a reward at the last token is discounted inside its step, and inner
    TD errors are weighed by lambda. (The natural repair, tested here.)
    """
    return _check_matched(trial, PLAIN_CASES)


@matched_discount.broken("rates per step used per token, in the repaired cases")
def _(trial: Trial) -> Evidence:
    return _check_matched(trial, REPAIRED_CASES, 1.0)


@matched_discount.control("pay at the first token, and lambda = 1 or inner values exact")
def _(trial: Trial) -> Evidence:
    return _check_matched(trial, REPAIRED_CASES)


def _first_token_mean(place: int, tokens: int, lam: float) -> tuple[float, float]:
    """E[A(first token) | right decision] under token GAE with the exact critic, and the exact advantage of being right.

    One step, undiscounted, in which only the token at `place` counts.
    """
    mdp = make("tokens", length=1, tokens=tokens, vocabulary=2, horizon=1, decisive=place)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    law = enumerate_trajectories(mdp, pi)
    solution = solve(mdp, pi)
    r = law.rollouts.with_columns(value=solution.row_value(law.rollouts))
    first = advantage(r, "gae_token", gamma=1.0, lam=lam)[r.offsets[:-1]]
    right = np.add.reduceat(r.reward, r.offsets[:-1]) > 0
    mean = float((law.joint * right) @ first / (law.joint @ right))
    return mean, 1.0 - solution.j


def _check_place(trial: Trial, matched: bool) -> Evidence:
    tokens = trial.pick(5, 7, 10)
    found, predicted = [], []
    for lam in (0.5, 0.9, 1.0):
        per_token = lam ** (1.0 / tokens) if matched else lam
        for place in range(tokens):
            mean, whole = _first_token_mean(place, tokens, per_token)
            found.append(mean)
            predicted.append(whole * lam ** (place / tokens))
            trial.table(lam=lam, place=place, tokens=tokens, measured=mean, formula=predicted[-1])
    return exact_equality(found, predicted, tolerance=ROUNDING)


@claim("steppo.decision-place", paper=PAPER, source="inferred", kind="bias")
def decision_place(trial: Trial) -> Evidence:
    """Even with the exact critic and matched rates, token-level GAE shrinks the first token's share of a decision made
    later in the step: E[A(first token) | s, a] = lambda^(j/L) A(s, a) where token j of L decides, so 1 at j = 0 and
    towards lambda at the end; a step-level advantage is the same at every place. (Derived here.)
    """
    return _check_place(trial, True)


@decision_place.broken("lambda per step used per token")
def _(trial: Trial) -> Evidence:
    return _check_place(trial, False)
