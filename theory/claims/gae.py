"""Generalised advantage estimation: what a wrong critic costs in bias, and lambda in variance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from creditsim.estimators.base import advantage
from creditsim.exact import exact_moments, solve
from creditsim.exact.moments import Credit, Moments
from creditsim.mdp import Policy, SoftmaxPolicy, TabularMDP, make, with_time
from creditsim.rollouts import Rollouts
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim

ROUNDING = 1e-12


def _task(seed: int = 5) -> tuple[TabularMDP, SoftmaxPolicy]:
    """A slipping chain cut after four steps: revisits, so that parameters are shared in time, and chance."""
    mdp = make("chain", length=3, horizon=4, slip=0.2)
    return mdp, SoftmaxPolicy.random(mdp, seed)


def _error(mdp: TabularMDP, size: float, seed: int = 1) -> np.ndarray:
    """(S,) errors of the critic with root mean square `size` over the states where one acts; 0 after the end."""
    drawn = np.random.Generator(np.random.Philox(key=seed)).standard_normal(mdp.n_states)
    drawn[mdp.terminal] = 0.0
    return size * drawn / np.sqrt(np.square(drawn[~mdp.terminal]).mean())


def _credit(mdp: TabularMDP, policy: Policy, error: np.ndarray, lam: float, gamma: float = 1.0) -> Credit:
    solution = solve(mdp, policy.probabilities(mdp), gamma)

    def credit(r: Rollouts) -> np.ndarray:
        r = r.with_columns(value=solution.row_value(r) + error[r.columns["state"]])
        return advantage(r, "gae", gamma=gamma, lam=lam, bootstrap=False)

    return credit


def _moments(mdp: TabularMDP, policy: Policy, error: np.ndarray, lam: float, gamma: float = 1.0) -> Moments:
    credit = _credit(mdp, policy, error, lam, gamma)
    return exact_moments(credit, mdp, policy, group_size=1, by="time", gamma=gamma)


# --- The bias -------------------------------------------------------------------------------------------------------

Bias = Callable[[np.ndarray, float, float], float]
"""Bias from E[e(s_l) | s, a] for l = 0, 1, ..., gamma and lambda."""


def full_bias(ahead: np.ndarray, gamma: float, lam: float) -> float:
    """-e(s) + (1 - lam) sum_{l>=1} gamma^l lam^(l-1) E[e(s_l)]."""
    later = np.arange(1, ahead.size)
    return float(-ahead[0] + (1.0 - lam) * (gamma**later * lam ** (later - 1.0)) @ ahead[1:])


def one_step_bias(ahead: np.ndarray, gamma: float, lam: float) -> float:
    """-e(s) + (1 - lam) gamma E[e(s_1)]: the error met one step on, and no further."""
    return float(-ahead[0] + (1.0 - lam) * gamma * ahead[1:2].sum())


def _errors_ahead(mdp: TabularMDP, policy: Policy, error: np.ndarray, key: np.ndarray) -> np.ndarray:
    """E[e(s_l) | s, a] for l = 0 .. steps left; episodes that ended or were cut count 0."""
    step, s, a = (int(k) for k in key)
    pi = policy.probabilities(mdp)
    move = np.zeros((mdp.n_states, mdp.n_actions, mdp.n_states))
    for b in range(mdp.n_successors):
        np.add.at(move, (*np.indices(mdp.mask.shape), mdp.successor[:, :, b]), mdp.probability[:, :, b])
    at, out = move[s, a] * ~mdp.terminal, [error[s]]
    for _ in range(mdp.horizon - step - 1):
        out.append(at @ error)
        at = np.einsum("s,sa,sat->t", at, pi, move) * ~mdp.terminal
    return np.array(out)


def _check_bias(trial: Trial, formula: Bias) -> Evidence:
    mdp, policy = _task()
    lams = np.linspace(0.0, 1.0, trial.pick(6, 11, 21))
    found, predicted = [], []
    for gamma in (1.0, 0.9):
        error = _error(mdp, 0.3)
        for lam in lams.tolist():
            moments = _moments(mdp, policy, error, lam, gamma)
            aheads = [_errors_ahead(mdp, policy, error, key) for key in moments.keys]
            found.append(moments.bias)
            predicted.append(np.array([formula(ahead, gamma, lam) for ahead in aheads]))
            start = moments.index(0, 0, 1)
            trial.table(gamma=gamma, lam=lam, measured=found[-1][start], formula=predicted[-1][start])
    return exact_equality(np.concatenate(found), np.concatenate(predicted), tolerance=ROUNDING)


@claim("gae.bias", paper="GAE", source="inferred", kind="bias", figure="gae_lambda")
def bias(trial: Trial) -> Evidence:
    """A critic that is wrong by e = V_hat - V biases the advantage by its own error and by those it meets later.

    E[A_hat | s, a] - A(s, a) = -e(s) + (1 - lam) sum_{l>=1} gamma^l lam^(l-1) E[e(s_l) | s, a]: at lam = 1 only -e(s),
    a baseline; at lam = 0 gamma E[e(s')] - e(s). Derived here.
    """
    return _check_bias(trial, full_bias)


@bias.broken("count the error one step ahead only")
def _(trial: Trial) -> Evidence:
    return _check_bias(trial, one_step_bias)


# --- Lambda = 1 -----------------------------------------------------------------------------------------------------


def _check_unbiased(trial: Trial, lam: float) -> Evidence:
    mdp, policy = _task()
    laws = [_moments(mdp, policy, _error(mdp, 1.0, seed), lam).gradient for seed in range(trial.pick(5, 30, 200))]
    relative = [float(np.linalg.norm(law.bias) / np.linalg.norm(law.exact)) for law in laws]
    trial.table(critic=np.arange(len(relative)), bias=relative)
    return exact_equality(relative, 0.0, tolerance=ROUNDING, detail={"mean": np.mean(relative), "worst": max(relative)})


@claim("gae.unbiased-at-one", paper="GAE", source="inferred", kind="gradient")
def unbiased_at_one(trial: Trial) -> Evidence:
    """With lambda = 1 the gradient is unbiased whatever the critic says: E[g] = dJ/dtheta for every V_hat.

    The errors met later cancel, and -e(s) does not depend on the action. Derived here; undiscounted.
    """
    return _check_unbiased(trial, 1.0)


@unbiased_at_one.broken("lambda = 0.95")
def _(trial: Trial) -> Evidence:
    return _check_unbiased(trial, 0.95)


# --- Variance -------------------------------------------------------------------------------------------------------


def _check_rising(trial: Trial, inside_error: float) -> Evidence:
    mdp, policy = _task()
    lams = np.linspace(0.0, 1.0, trial.pick(6, 11, 41))
    steps = {}
    for name, size in (("inside", inside_error), ("outside", 1.0)):
        error = _error(mdp, size)
        variance = np.stack([_moments(mdp, policy, error, lam).variance for lam in lams.tolist()])
        steps[name] = np.diff(variance, axis=0)
        trial.table(critic=name, lam=lams, smallest=variance.min(axis=1), mean=variance.mean(axis=1))
    detail = {"share_falling_outside": float((steps["outside"] < -ROUNDING).mean())}
    return conditional(
        exact_inequality(steps["inside"], ">=", 0.0, tolerance=ROUNDING, detail=detail),
        exact_inequality(steps["outside"], ">=", 0.0, tolerance=ROUNDING),
        note="Inside: the critic is exact. Outside: its errors are as large as the reward.",
    )


@claim("gae.variance-rises", paper="GAE", source="notes", kind="variance")
def variance_rises(trial: Trial) -> Evidence:
    """The variance of the advantage rises with lambda.

    Var[A_hat(lam) | t, s, a] <= Var[A_hat(lam') | t, s, a] for lam < lam' and every turn, state and action. True for an
    exact critic, whose TD errors are uncorrelated; no guarantee for any other.
    """
    return _check_rising(trial, 0.0)


@variance_rises.broken("a critic that is wrong by as much as the reward, inside the regime")
def _(trial: Trial) -> Evidence:
    return _check_rising(trial, 1.0)


def _check_gradient_rising(trial: Trial, error: float) -> Evidence:
    chain = make("chain", length=3, horizon=5, slip=0.1)
    lams = np.linspace(0.0, 1.0, trial.pick(11, 21, 41))
    steps = {}
    for name, mdp in (("own", with_time(chain)), ("shared", chain)):
        steps[name] = []
        for seed in range(trial.pick(3, 10, 40)):
            policy = SoftmaxPolicy.random(mdp, seed)
            trace = [_moments(mdp, policy, _error(mdp, error), lam).gradient.trace for lam in lams.tolist()]
            steps[name].append(np.diff(trace))
            trial.table(parameters=name, policy=seed, lam=lams, variance=trace)
    falling = {name: float(np.mean([(s < -ROUNDING).any() for s in each])) for name, each in steps.items()}
    return conditional(
        exact_inequality(
            np.concatenate(steps["own"]), ">=", 0.0, tolerance=ROUNDING, detail={"share_falling": falling}
        ),
        exact_inequality(np.concatenate(steps["shared"]), ">=", 0.0, tolerance=ROUNDING),
        note="Inside: parameters of their own for every step, so that the scores of two steps are orthogonal.",
    )


@claim("gae.gradient-variance-rises", paper="GAE", source="inferred", kind="variance")
def gradient_variance_rises(trial: Trial) -> Evidence:
    """With an exact critic the variance of the gradient rises with lambda.

    tr Cov[g(lam)] <= tr Cov[g(lam')] for lam < lam'. True where the scores of different steps are orthogonal: it is
    sum_k E[delta_k^2 sum_{t<=k} lam^(2(k-t)) |s_t|^2], less a constant. Where steps share parameters, scores that point
    opposite ways can cancel more noise at a small lambda than at none.
    """
    return _check_gradient_rising(trial, 0.0)


@gradient_variance_rises.broken("a critic that is wrong by as much as the reward")
def _(trial: Trial) -> Evidence:
    return _check_gradient_rising(trial, 1.0)


# --- Which lambda ---------------------------------------------------------------------------------------------------

TRAJECTORIES = (1, 8, 64, 512, 4096)


def _check_best(trial: Trial, sizes: tuple[float, ...]) -> Evidence:
    mdp, policy = _task()
    lams = np.linspace(0.0, 1.0, trial.pick(21, 41, 101))
    chosen: dict[str, list[float]] = {}
    share = {}
    # The exact critic is drawn beside the others, and judged only where asked for.
    for size in dict.fromkeys((0.0, *sizes)):
        laws = [_moments(mdp, policy, _error(mdp, size), lam).gradient for lam in lams.tolist()]
        scale = float(laws[0].exact @ laws[0].exact)
        bias = np.array([float(law.bias @ law.bias) for law in laws]) / scale
        variance = np.array([law.trace for law in laws]) / scale
        trial.table(error=size, lam=lams, bias=bias, variance=variance, error_64=bias + variance / 64.0)
        chosen[f"{size:g}"] = [float(lams[int((bias + variance / n).argmin())]) for n in TRAJECTORIES]
        # Relative length of the bias at 0, at the usual 0.95 and at 1.
        share[f"{size:g}"] = [float(np.interp(lam, lams, np.sqrt(bias))) for lam in (0.0, 0.95, 1.0)]
    table = np.array([chosen[f"{size:g}"] for size in sizes])
    parts = {
        "never falls": exact_inequality(np.diff(table, axis=1), ">=", 0.0, tolerance=ROUNDING),
        "rises by half": exact_inequality(table[:, -1] - table[:, 0], ">=", 0.5, tolerance=ROUNDING),
    }
    found = all_of(parts, alpha=trial.alpha)
    detail = {"trajectories": TRAJECTORIES, "best_lambda": chosen, "bias_share": share}
    return replace(found, detail={**found.detail, **detail})


@claim("gae.best-lambda", paper="GAE", source="inferred", kind="gradient", figure="gae_lambda")
def best_lambda(trial: Trial) -> Evidence:
    """With a wrong critic the lambda of least gradient error rises with the number of trajectories N, towards 1.

    lam*(N) = argmin |E[g] - dJ/dtheta|^2 + tr Cov[g] / N does not fall with N and lam*(4096) >= lam*(1) + 1/2, for
    errors of 3, 10 and 30 % of the goal's reward. Variance is averaged away, bias is not.
    """
    return _check_best(trial, (0.03, 0.1, 0.3))


@best_lambda.broken("an exact critic, for which lambda = 0 stays the best")
def _(trial: Trial) -> Evidence:
    return _check_best(trial, (0.0,))
