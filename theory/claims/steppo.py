"""StepPO: what one ratio per step does that token-wise ones do not, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from creditsim.updates.losses import LOSSES
from theory.claim import Trial, claim
from theory.shared import binomial

PAPER = "StepPO"
ROUNDING = 1e-10
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
