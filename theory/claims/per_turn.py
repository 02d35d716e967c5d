"""Rewards centred per turn index and then accumulated, under a policy that chooses when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from creditsim.exact import exact_moments, policy_gradient
from creditsim.exact.moments import Credit
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make
from creditsim.rollouts import Rollouts
from creditsim.segments import reverse_scan, segment_mean, segment_sum
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality
from theory.claim import Trial, claim
from theory.laws import ScoredLaw, policy_of

ROUNDING = 1e-12
PAPER = "Per-turn rewards"

# --- Four ways to centre ------------------------------------------------------------------------------------------


def _turn(r: Rollouts, turns: int) -> tuple[np.ndarray, int]:
    return r.group_rows * turns + r.step, r.n_groups * turns


def _to_go(r: Rollouts, reward: np.ndarray) -> np.ndarray:
    return reverse_scan(reward, 1.0, r.offsets)


def centred_alive(r: Rollouts, turns: int) -> np.ndarray:
    """A_{i,t} = sum_{k=t..T_i} (r_{i,k} - m_k), m_k the mean over the members that are still alive at turn k."""
    ids, n = _turn(r, turns)
    return _to_go(r, r.reward - segment_mean(r.reward, ids, n)[ids])


def centred_all_while_alive(r: Rollouts, turns: int) -> np.ndarray:
    """The same with ended members in the mean as 0; the mean is charged only while alive."""
    ids, n = _turn(r, turns)
    size = np.bincount(r.group)[r.group_rows]
    return _to_go(r, r.reward - segment_sum(r.reward, ids, n)[ids] / size)


def centred_all_to_the_end(r: Rollouts, turns: int) -> np.ndarray:
    """Ended members in the mean as 0, and the means of all later turns charged, those after the end too."""
    ids, n = _turn(r, turns)
    size = np.bincount(r.group)[:, None]
    mean = segment_sum(r.reward, ids, n).reshape(-1, turns) / size
    later = np.cumsum(mean[:, ::-1], axis=1)[:, ::-1]
    return _to_go(r, r.reward) - later.reshape(-1)[ids]


def centred_return(r: Rollouts, turns: int) -> np.ndarray:
    """The return-to-go less its mean over the members alive at the turn."""
    ids, n = _turn(r, turns)
    to_go = _to_go(r, r.reward)
    return to_go - segment_mean(to_go, ids, n)[ids]


Centring = Callable[[Rollouts, int], np.ndarray]
FORMS: dict[str, Centring] = {
    "reward, alive members": centred_alive,
    "reward, all members, while alive": centred_all_while_alive,
    "reward, all members, to the end": centred_all_to_the_end,
    "return-to-go, alive members": centred_return,
}


def _credit(form: Centring, mdp: TabularMDP) -> Credit:
    return lambda r: form(r, mdp.horizon)


# --- What they are to expect ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Parts:
    """Per turn k: `p` = P(T >= k) (H,), `mu` = E[r_k | T >= k] (H,), and gradients (H,P): `grad_p`, `p_grad_mu`, and
    `own`, turn k's part of the exact gradient, E[G_k s_k].
    """

    p: np.ndarray
    mu: np.ndarray
    grad_p: np.ndarray
    p_grad_mu: np.ndarray
    own: np.ndarray

    @classmethod
    def of(cls, mdp: TabularMDP, policy: Policy) -> Parts:
        """Sum over all trajectories of one of them."""
        law = ScoredLaw.of(mdp, policy)
        turn = (law.rollouts.step[:, None] == np.arange(mdp.horizon)).astype(float) * law.row_chance[:, None]
        whole = law.whole[law.rollouts.trajectory]
        paid = turn * law.rollouts.reward[:, None]
        p = turn.sum(axis=0)
        mu = paid.sum(axis=0) / p
        grad_p = turn.T @ whole
        own = (turn * law.to_go[:, None]).T @ law.score
        return cls(p, mu, grad_p, paid.T @ whole - mu[:, None] * grad_p, own)

    def shrink(self, n: int) -> np.ndarray:
        """(H,) c_k = 1 - (1 - (1 - p_k)^n) / (n p_k): what a member in its own mean leaves of turn k."""
        return 1.0 - (1.0 - (1.0 - self.p) ** n) / (n * self.p)

    def expected(self, form: str, n: int) -> np.ndarray:
        """(P,) expected gradient of a way to centre, in groups of n."""
        exact = self.own.sum(axis=0)
        return {
            "reward, alive members": self.shrink(n) @ self.p_grad_mu,
            "reward, all members, while alive": (n - 1) / n * (exact - (self.p * self.mu) @ self.grad_p),
            "reward, all members, to the end": (n - 1) / n * exact,
            "return-to-go, alive members": self.shrink(n) @ self.own,
        }[form]


def _chain(control: float = 1.0) -> TabularMDP:
    """Three turns, a reward for either action at each, every reward random."""
    return make("stopping", turns=3, stop=(0.7, 0.1), go=(0.3, -0.2), last=0.5, noise=0.2, control=control)


def _gradient(form: str, mdp: TabularMDP, policy: Policy, n: int) -> np.ndarray:
    return exact_moments(_credit(FORMS[form], mdp), mdp, policy, group_size=n).gradient.mean


# --- The closed form ------------------------------------------------------------------------------------------------


def _check_formula(trial: Trial, shift: int) -> Evidence:
    mdp = _chain()
    found, predicted = [], []
    for n in trial.pick((2, 3), (2, 3, 4), (2, 3, 4, 5)):
        for seed in range(trial.pick(3, 10, 20)):
            policy = SoftmaxPolicy.random(mdp, seed)
            parts = Parts.of(mdp, policy)
            for form in FORMS:
                found.append(_gradient(form, mdp, policy, n))
                predicted.append(parts.expected(form, n + shift))
                trial.table(form=form, n=n, policy=seed, expected=found[-1], formula=predicted[-1])
    return exact_equality(np.concatenate(found), np.concatenate(predicted), tolerance=ROUNDING)


@claim("per-turn.expected-gradient", paper=PAPER, source="inferred", kind="gradient")
def expected_gradient(trial: Trial) -> Evidence:
    """Rewards centred per turn and accumulated expect sum_k c_k p_k dmu_k instead of sum_k (p_k dmu_k + mu_k dp_k).

    p_k = P(T >= k), mu_k = E[r_k | T >= k], d the gradient, c_k = 1 - (1 - (1-p_k)^N) / (N p_k), at every group size N.
    Lost is how the policy moves the chance of further turns: at large N the bias is -sum_k mu_k dp_k, a charge of the
    mean reward for every extra turn. Checked with three other ways to centre, each against its own closed form.
    """
    return _check_formula(trial, 0)


@expected_gradient.broken("the factors of a group with one more member")
def _(trial: Trial) -> Evidence:
    return _check_formula(trial, 1)


# --- The sign -------------------------------------------------------------------------------------------------------


def _check_sign(trial: Trial, control: float) -> Evidence:
    mdp = make("stopping", turns=2, stop=0.6, go=0.3, last=0.5, control=control)
    found, predicted = [], []
    for n in trial.pick((2, 3, 8), (2, 3, 4, 8, 16), (2, 3, 4, 8, 16, 32)):
        for q in np.linspace(0.1, 0.9, trial.pick(5, 9, 33)).tolist():
            policy = policy_of(mdp, [[1.0 - q, q]])
            exact = policy_gradient(mdp, policy)[1]
            for form in FORMS:
                # By the chance q itself: the logit's gradient over dq/dlogit = q (1 - q).
                slope = _gradient(form, mdp, policy, n)[1] / (q * (1.0 - q))
                trial.table(
                    form=form, n=n, q=q, measured=slope, formula=_by_q(form, n, q), exact=exact / (q * (1.0 - q))
                )
            found.append(_gradient("reward, alive members", mdp, policy, n)[1] / exact)
            predicted.append(-1.5 * (n - 1) / n)
    return exact_equality(found, predicted, tolerance=ROUNDING, detail={"largest": max(found), "smallest": min(found)})


def _by_q(form: str, n: int, q: float) -> float:
    """Expected derivative by q where stopping pays 0.6, going on 0.3 and the last turn 0.5."""
    return (
        (n - 1)
        / n
        * {
            # The last turn has no choice: nothing of it reaches q once its reward is centred there.
            "reward, alive members": -0.3,
            "reward, all members, while alive": 0.2 - 0.5 * q,
            "reward, all members, to the end": 0.2,
            "return-to-go, alive members": 0.2,
        }[form]
    )


@claim("per-turn.wrong-sign", paper=PAPER, source="inferred", kind="gradient", figure="per_turn")
def wrong_sign(trial: Trial) -> Evidence:
    """Where going on is worth it, per-turn centring can push against it at every group size and every policy.

    Stopping pays 0.6; going on pays 0.3, then 0.5. With q = P(go on): dJ/dq = +0.2, but the estimator expects
    -0.3 (N-1)/N, that is -1.5 (N-1)/N times the exact gradient, for every q and N.
    """
    return _check_sign(trial, 1.0)


@wrong_sign.broken("the environment alone ends the episode")
def _(trial: Trial) -> Evidence:
    return _check_sign(trial, 0.0)


# --- Blind to length ------------------------------------------------------------------------------------------------


def _check_blind(trial: Trial, form: str) -> Evidence:
    mdp = make("stopping", turns=4, stop=0.25, go=0.25, last=0.25)
    found, exact = [], []
    for n in trial.pick((2, 3), (2, 3, 5), (2, 3, 5, 8)):
        policy = SoftmaxPolicy.random(mdp, 3)
        law = exact_moments(_credit(FORMS[form], mdp), mdp, policy, group_size=n)
        found.append(float(np.sqrt(law.second_moment.max())))
        exact.append(float(np.linalg.norm(law.gradient.exact)))
        trial.table(n=n, largest_advantage=found[-1], exact_gradient=exact[-1])
    return exact_equality(found, 0.0, tolerance=ROUNDING, detail={"exact_gradient": min(exact)})


@claim("per-turn.blind-to-length", paper=PAPER, source="inferred", kind="gradient")
def blind_to_length(trial: Trial) -> Evidence:
    """If every turn pays the same c, per-turn centring gives no signal at all: A = 0 on every row of every sample.

    The exact gradient is c dE[T]/dtheta, which is not 0 where the policy chooses the number of turns T.
    """
    return _check_blind(trial, "reward, alive members")


@blind_to_length.broken("centre the return-to-go instead of the reward")
def _(trial: Trial) -> Evidence:
    return _check_blind(trial, "return-to-go, alive members")


# --- When is it a baseline? -----------------------------------------------------------------------------------------


def _check_baseline(trial: Trial, form: str, inside_control: float) -> Evidence:
    excess = {}
    for name, control in (("inside", inside_control), ("outside", 1.0)):
        # Without control either end can follow either action: 52 trajectories, so that groups stay small.
        mdp = _chain(control)
        off = []
        for seed in range(trial.pick(3, 10, 40)):
            policy = SoftmaxPolicy.random(mdp, seed)
            parts = Parts.of(mdp, policy)
            for n in trial.pick((2, 3), (2, 3, 4), (2, 3, 4)):
                fair = parts.expected("return-to-go, alive members", n)
                if form == "reward, all members, to the end":
                    fair = parts.expected(form, n)
                off.append(float(np.linalg.norm(_gradient(form, mdp, policy, n) - fair) / np.linalg.norm(fair)))
        excess[name] = off
        trial.table(regime=name, bias=off)
    detail = {"worst_outside": max(excess["outside"]), "least_outside": min(excess["outside"])}
    return conditional(
        exact_equality(excess["inside"], 0.0, tolerance=ROUNDING, detail=detail),
        exact_equality(excess["outside"], 0.0, tolerance=ROUNDING),
        note="Inside: the environment alone ends the episode. Outside: the policy chooses when to stop.",
    )


@claim("per-turn.unbiased", paper=PAPER, source="notes", kind="gradient")
def unbiased(trial: Trial) -> Evidence:
    """The mean reward per turn index is a baseline: every turn's part of the gradient is kept up to a positive factor.

    E[g] = sum_k c_k g_k, g_k = E[G_k s_k] the part of turn k, 0 <= c_k < 1 as above. True where the environment alone
    ends the episode (dp_k = 0); false where the policy does. That it fails there is what verl #7244 says.
    """
    return _check_baseline(trial, "reward, alive members", 0.0)


@unbiased.broken("a policy that decides the end half of the time, inside the regime")
def _(trial: Trial) -> Evidence:
    return _check_baseline(trial, "reward, alive members", 0.5)


@unbiased.control("two repairs: centre the return-to-go, and charge ended members too")
def _(trial: Trial) -> Evidence:
    repairs = ("return-to-go, alive members", "reward, all members, to the end")
    parts = {f"{form}, {i}": part for form in repairs for i, part in enumerate(_check_baseline(trial, form, 0.0).parts)}
    return all_of(parts, alpha=trial.alpha)


def _check_half_repair(trial: Trial, form: str) -> Evidence:
    mdp = _chain()
    found, exact = [], []
    for seed in range(trial.pick(3, 10, 20)):
        policy = SoftmaxPolicy.random(mdp, seed)
        for n in trial.pick((2, 3), (2, 3, 4), (2, 3, 4, 5)):
            found.append(_gradient(form, mdp, policy, n))
            exact.append((n - 1) / n * policy_gradient(mdp, policy))
            trial.table(n=n, policy=seed, expected=found[-1], exact=exact[-1])
    return exact_equality(np.concatenate(found), np.concatenate(exact), tolerance=ROUNDING)


@claim("per-turn.charge-to-the-end", paper=PAPER, source="inferred", kind="gradient")
def charge_to_the_end(trial: Trial) -> Evidence:
    """Counting ended members as 0 in the mean is unbiased if the mean is charged after the end too.

    A_{i,t} = sum_{k=t..H} (r_{i,k} - sum_j r_{j,k} / N), r = 0 after the end: E[g] = (N-1)/N dJ/dtheta. The number of
    terms taken off no longer depends on the action.
    """
    return _check_half_repair(trial, "reward, all members, to the end")


@charge_to_the_end.broken("charge it only while alive")
def _(trial: Trial) -> Evidence:
    return _check_half_repair(trial, "reward, all members, while alive")
