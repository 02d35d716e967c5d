"""GSPO: what the sequence ratio is off policy, against ratios of tokens and their full product."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from creditsim.exact import policy_gradient
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.stats.joint import conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from creditsim.updates.losses.base import loss_and_derivative
from theory.claim import Trial, claim
from theory.laws import ScoredLaw, row_scores

ROUNDING = 1e-10
WEIGHTS = ("token ratios", "sequence ratio", "full product")


@dataclass(frozen=True, eq=False)
class OffPolicy:
    """One response of L binary tokens, right or wrong as a whole, sampled by one policy and credited for another."""

    mdp: TabularMDP
    sampler: SoftmaxPolicy
    policy: SoftmaxPolicy

    @classmethod
    def drift(cls, length: int, size: float, seed: int = 0) -> OffPolicy:
        """A random sampler, and a policy whose logits have moved by normal steps of deviation `size`."""
        mdp = make("tokens", length=1, tokens=length, vocabulary=2, horizon=1)
        sampler = SoftmaxPolicy.random(mdp, seed, scale=0.3)
        step = SoftmaxPolicy.random(mdp, seed + 1000).theta
        return cls(mdp, sampler, sampler.with_theta(sampler.theta + size * step))

    @classmethod
    def eliminated(cls, length: int, chance: float, factor: float) -> OffPolicy:
        """A token of probability `chance` everywhere in the sampler, made `factor` times as likely by the policy."""
        mdp = make("tokens", length=1, tokens=length, vocabulary=2, horizon=1)
        tables = [np.tile([c, 1.0 - c], (mdp.n_contexts, 1)) for c in (chance, chance * factor)]
        sampler, policy = (SoftmaxPolicy.from_probabilities(mdp, table) for table in tables)
        return cls(mdp, sampler, policy)

    @cached_property
    def law(self) -> ScoredLaw:
        """Trajectories of the sampler; `score` is the sampler's and not used."""
        return ScoredLaw.of(self.mdp, self.sampler)

    @cached_property
    def log_prob(self) -> np.ndarray:
        """(R,) log-probability of each row under the policy."""
        r = self.law.rollouts
        return np.log(self.policy.probabilities(self.mdp)[r.columns["state"], r.action])

    def weight(self, which: str) -> np.ndarray:
        """(R,) factor on A dlog pi at each token, from the losses' derivatives with clips out of the way.

        All are summed over tokens: GSPO's division by L is a common scale here and left out.
        """
        r = self.law.rollouts
        old = r.columns["log_prob"]
        if which == "full product":
            return np.exp(self.law.sum_rows(self.log_prob - old))[r.trajectory]
        name = {"token ratios": "ppo@paper", "sequence ratio": "gspo"}[which]
        wide = {"clip_low": 1.0, "clip_high": 1e12, "aggregation": "seq-mean-token-sum"}
        found = loss_and_derivative(name, self.log_prob, old, np.ones(r.n_rows), r.offsets, **wide)
        return -found.derivative * r.n_trajectories

    def weight_variance(self, which: str) -> float:
        """Variance of the factor over sampled responses, averaged over positions."""
        w = self.weight(which)
        return float((self._by_position(np.square(w)) - np.square(self._by_position(w))).mean())

    def _by_position(self, rows: np.ndarray) -> np.ndarray:
        r = self.law.rollouts
        position = np.arange(r.n_rows) - r.offsets[:-1][r.trajectory]
        return np.bincount(position, self.law.row_chance * rows)

    def gradient(self, which: str) -> tuple[np.ndarray, float]:
        """Mean (P,) and variance of the gradient of one response, its return less the sampler's mean as advantage."""
        law = self.law
        score = row_scores(self.mdp, self.policy, law.rollouts)
        advantage = (law.total - law.mean(law.total))[law.rollouts.trajectory]
        return ScoredLaw(law.rollouts, law.chance, score).gradient(self.weight(which) * advantage)

    @cached_property
    def exact(self) -> np.ndarray:
        """(P,) exact gradient of the policy."""
        return policy_gradient(self.mdp, self.policy)


def _lengths(trial: Trial) -> tuple[int, ...]:
    return trial.pick((2, 4, 6, 8), (2, 3, 4, 6, 8, 10), (2, 3, 4, 6, 8, 10, 12))


DRIFTS = (0.1, 0.3, 1.0)


# --- Bias -----------------------------------------------------------------------------------------------------------


def _check_unbiased(trial: Trial, which: str) -> Evidence:
    bias, cosine = [], []
    for length in _lengths(trial):
        for drift in DRIFTS:
            cases = _drifted(trial, length, drift)
            plain = np.array([case.gradient("token ratios")[1] for case in cases])
            for name in WEIGHTS:
                laws = [case.gradient(name) for case in cases]
                away = np.array([_away(case, mean) for case, (mean, _) in zip(cases, laws, strict=True)])
                ratio_variance = [case.weight_variance(name) for case in cases]
                louder = np.array([variance for _, variance in laws]) / plain
                trial.table(
                    weight=name, length=length, drift=drift, bias=np.median(away[:, 0]), cosine=away[:, 1].mean(),
                    gradient_variance_ratio=louder.mean(), ratio_variance=np.mean(ratio_variance),
                )  # fmt: skip
                if name == which:
                    bias.append(away[:, 0])
                    cosine.append(away[:, 1])
    detail = {"worst_bias": np.max(bias), "median_bias": np.median(bias), "lowest_cosine": np.min(cosine)}
    return exact_equality(np.concatenate(bias), 0.0, tolerance=ROUNDING, detail=detail)


def _drifted(trial: Trial, length: int, drift: float) -> list[OffPolicy]:
    return [OffPolicy.drift(length, drift, seed) for seed in range(trial.pick(6, 20, 50))]


def _away(case: OffPolicy, mean: np.ndarray) -> tuple[float, float]:
    """Distance of an expected gradient from the exact one, relative to its length, and their cosine."""
    size = float(np.linalg.norm(case.exact))
    return float(np.linalg.norm(mean - case.exact)) / size, float(mean @ case.exact) / (
        size * float(np.linalg.norm(mean))
    )


@claim("gspo.unbiased", paper="GSPO", source="notes", kind="gradient", figure="gspo_ratio")
def unbiased(trial: Trial) -> Evidence:
    """Weighing by the sequence ratio corrects for sampling from another policy: E_mu[s A S] = dJ/dtheta.

    s = (prod_t pi_t / mu_t)^(1/L). It is not the importance weight, which is the product itself: its L-th root corrects
    a 1/L-th of the drift. That it serves as a sequence-level importance weight is how it is usually read.
    """
    return _check_unbiased(trial, "sequence ratio")


@unbiased.broken("one ratio per token")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, "token ratios")


@unbiased.control("the full product of the ratios")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, "full product")


# --- Variance -------------------------------------------------------------------------------------------------------


def _check_ratio(trial: Trial, which: str) -> Evidence:
    inside = [case for length in _lengths(trial) for drift in DRIFTS for case in _drifted(trial, length, drift)]
    factors = (0.5, 0.1, 1e-2, 1e-4, 1e-8)
    outside = [OffPolicy.eliminated(length, 0.02, f) for length in _lengths(trial) for f in factors]
    excess = {}
    for name, cases in (("inside", inside), ("outside", outside)):
        excess[name] = np.array([c.weight_variance(which) / c.weight_variance("token ratios") for c in cases])
    rare = excess["outside"].reshape(-1, len(factors))
    for i, length in enumerate(_lengths(trial)):
        trial.table(length=length, factor=factors, ratio=rare[i])
    detail = {"largest_drift": float(excess["inside"].max()), "largest_eliminated": float(rare.max())}
    return conditional(
        exact_inequality(excess["inside"], "<=", 1.0, tolerance=ROUNDING, detail=detail),
        exact_inequality(excess["outside"], "<=", 1.0, tolerance=ROUNDING),
        note="Inside: logits drift by up to one. Outside: the policy gives up a rare token of a short response.",
    )


@claim("gspo.ratio-variance", paper="GSPO", source="notes", kind="variance", figure="gspo_ratio")
def ratio_variance(trial: Trial) -> Evidence:
    """The sequence ratio varies no more than the token ratios it averages: Var[s] <= mean_t Var[pi_t / mu_t].

    Near Var / L while the drift is small. It fails where the policy has all but given up a rare token: one such token
    takes the ratio of its whole sequence down with it, so that up to L times as many ratios are hit.
    """
    return _check_ratio(trial, "sequence ratio")


@ratio_variance.broken("the full product of the ratios")
def _(trial: Trial) -> Evidence:
    return _check_ratio(trial, "full product")


def _check_gradient(trial: Trial, which: str, quantity: str) -> Evidence:
    found = []
    for length in _lengths(trial):
        for case in (case for drift in DRIFTS for case in _drifted(trial, length, drift)):
            if quantity == "ratio":
                found.append(case.weight_variance(which) / case.weight_variance("token ratios"))
            else:
                found.append(case.gradient(which)[1] / case.gradient("token ratios")[1])
    trial.table(ratio=found)
    detail = {"smallest": min(found), "largest": max(found), "share_more": float(np.mean(np.array(found) > 1.0))}
    return exact_inequality(found, "<=", 1.0, tolerance=ROUNDING, detail=detail)


@claim("gspo.gradient-variance", paper="GSPO", source="inferred", kind="variance")
def gradient_variance(trial: Trial) -> Evidence:
    """The smaller variance of the sequence ratio carries over to the gradient: tr Cov[g_seq] <= tr Cov[g_token].

    One binary reward per response, logits drifted by 0.1, 0.3 and 1. What one hopes for from the claim about ratios.
    """
    return _check_gradient(trial, "sequence ratio", "gradient")


@gradient_variance.broken("the full product of the ratios")
def _(trial: Trial) -> Evidence:
    return _check_gradient(trial, "full product", "gradient")


@gradient_variance.control("the variance of the ratio itself")
def _(trial: Trial) -> Evidence:
    return _check_gradient(trial, "sequence ratio", "ratio")


# --- The full product -----------------------------------------------------------------------------------------------


def _check_product(trial: Trial, linear: bool) -> Evidence:
    found, predicted = [], []
    for length in _lengths(trial):
        case = OffPolicy.eliminated(length, 0.3, 0.5)
        token = OffPolicy.eliminated(1, 0.3, 0.5).weight_variance("full product")
        found.append(case.weight_variance("full product"))
        predicted.append(length * token if linear else (1.0 + token) ** length - 1.0)
        trial.table(length=length, measured=found[-1], formula=predicted[-1])
    return exact_equality(found, predicted, tolerance=ROUNDING)


@claim("gspo.product-variance", paper="GSPO", source="notes", kind="variance")
def product_variance(trial: Trial) -> Evidence:
    """The true importance weight of a sequence varies exponentially in its length: Var[prod_t r_t] = (1 + v)^L - 1.

    v = Var[pi / mu] of one token, tokens independent and alike. This is what the L-th root avoids.
    """
    return _check_product(trial, False)


@product_variance.broken("a variance that grows linearly, L v")
def _(trial: Trial) -> Evidence:
    return _check_product(trial, True)
