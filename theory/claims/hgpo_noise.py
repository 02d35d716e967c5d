"""HGPO's other side: deeper levels have fewer members, so their baselines are noisier; which K and alpha pay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from creditsim.exact.moments import exact_moments
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.verdict import Evidence, exact_equality, exact_inequality
from theory.claim import Trial, claim
from theory.claims.hgpo import BETTER, PAPER, SPREADS, TOLERANCE, choices
from theory.context_groups import GroupLaw, Task, aliased_task, gap_task, group_law, level_weights, spread_task
from theory.shared import alignment, binomial, credit_column

# --- The noise of one level --------------------------------------------------------------------------------------


def noise(law: GroupLaw, k: int) -> np.ndarray:
    """(H,) variance of the leave-one-out mean of level k at each choice, where there is company."""
    live = law.size[k] >= 2
    mean = law.mean(law.others[k], live)
    return law.mean((law.others[k] - mean[law.place]) ** 2, live)


def spread_inside(task: Task, law: GroupLaw, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(H,) Var(G | c_k) and P(c_k), from values and variances at the choices; a window knows the latest k cues."""
    own = law.mean(law.to_go**2) - law.mean(law.to_go) ** 2
    depth = int(np.log2(task.choice.size))
    label = np.arange(task.choice.size) % 2**k if k <= depth else np.arange(task.choice.size)
    total = np.bincount(label, task.mass)
    mean = np.bincount(label, task.mass * task.value) / total
    second = np.bincount(label, task.mass * (own + task.value**2)) / total
    return (second - mean**2)[label], total[label]


def mean_inverse(n: int, p: float) -> float:
    """E[1/m | m >= 1] for m = number of the n - 1 other trajectories that share a context of chance p."""
    chance = binomial(n - 1, p)[1:]
    return float(chance @ (1.0 / np.arange(1, n)) / chance.sum())


@claim("hgpo.baseline-noise", paper=PAPER, source="inferred", kind="variance", figure="hgpo_levels")
def baseline_noise(trial: Trial) -> Evidence:
    """The leave-one-out mean of level k has variance Var(G | c_k) E[1/(n_k - 1) | n_k >= 2], n_k - 1 being binomial
    with N - 1 draws of chance P(c_k): exactly, at every N, when a trajectory meets the choice once.
    """
    return _baseline_noise(trial, mean_inverse)


@baseline_noise.broken("plug in the mean group size instead of averaging over its distribution")
def _(trial: Trial) -> Evidence:
    return _baseline_noise(trial, lambda n, p: 1.0 / ((n - 1) * p / (1.0 - (1.0 - p) ** (n - 1))))


def _baseline_noise(trial: Trial, inverse: Callable[[int, float], float]) -> Evidence:
    parts = {}
    for n in trial.pick((3, 4, 6), (3, 4, 6, 8), (3, 4, 6, 8)):
        for spread in (0.0, 1.0):
            task = spread_task(spread)
            law = choices(task, n, 2)
            for k in range(3):
                inside, chance = spread_inside(task, law, k)
                predicted = inside * np.array([inverse(n, p) for p in chance])
                parts[f"N={n}, spread {spread:g}, k={k}"] = exact_equality(
                    noise(law, k), predicted, tolerance=TOLERANCE
                )
                if spread == 1.0:
                    sizes = np.zeros(n + 1)
                    sizes[: law.sizes(k).size] = law.sizes(k)
                    expected = np.append(0.0, task.mass @ np.array([binomial(n - 1, p) for p in chance]))
                    parts[f"N={n}, k={k}: sizes"] = exact_equality(sizes, expected, tolerance=TOLERANCE)
                    trial.table(n=n, k=k, size=np.arange(n + 1), measured=sizes, predicted=expected)
    return all_of(parts)


@claim("hgpo.deep-levels-noisier", paper=PAPER, source="notes", kind="variance", figure="hgpo_levels")
def deep_levels_noisier(trial: Trial) -> Evidence:
    """Asking for more shared history leaves smaller groups and noisier advantages: the baseline's variance rises with
    k, v_0 < v_1 < ... < v_K. Inside: equal values behind the observation, where only the group sizes matter. Outside:
    values that spread by 2 (inside one history returns have 0.40 to 0.46), where Var(G | c_k) falls faster than n_k
    (inferred).
    """
    return _noisier(trial, (0, 1, 2))


@deep_levels_noisier.broken("use the anchor group at every level")
def _(trial: Trial) -> Evidence:
    return _noisier(trial, (0, 0, 0))


def _noisier(trial: Trial, levels: tuple[int, ...]) -> Evidence:
    n, steps = trial.pick(6, 8, 8), {}
    for spread in SPREADS:
        task = spread_task(spread)
        law = choices(task, n, 2)
        found = np.array([task.mass @ noise(law, k) for k in levels])
        exact = []
        for k in levels:
            inside, chance = spread_inside(task, law, k)
            exact.append(float(task.mass @ (inside * [mean_inverse(n, p) for p in chance])))
        trial.table(spread=spread, k=np.arange(len(levels)), n=n, measured=found, predicted=exact)
        steps[spread] = exact_inequality(np.diff(found) / found[0], ">=", BETTER, detail={"variance": found.tolist()})
    return conditional(steps[0.0], steps[2.0], note="where aliasing is strong the deep levels are the quiet ones")


# --- Which alpha -------------------------------------------------------------------------------------------------

GRID = np.round(np.linspace(0.0, 12.0, 25), 3)


def deep_weight(law: GroupLaw) -> float:
    """Weight of level 1 that makes the mean squared error of the baseline least, any sign allowed, from enumeration."""
    live = law.size[1] >= 2
    e0, e1 = law.others[0] - law.value, law.others[1] - law.value
    s00, s01, s11 = (law.pooled(x, live) for x in (e0 * e0, e0 * e1, e1 * e1))
    return (s00 - s01) / (s00 + s11 - 2.0 * s01)


def predicted_weight(gap: float, n: int) -> float:
    """The same from sums over the number m of others in the context.

    e_1 = mean of m returns of the context; e_0 mixes it with the n-1-m others, whose mean is off by the gap:
    s11 = v E[1/m], s01 = v / (n-1), s00 = v / (n-1) + gap^2 E[((n-1-m) / (n-1))^2], v the mean of Var(G | context);
    all given m >= 1.
    """
    v = (0.3 * 0.7 + 0.8 * 0.2) / 2.0
    m = np.arange(1, n)
    chance = binomial(n - 1, 0.5)[1:] / binomial(n - 1, 0.5)[1:].sum()
    s11, s01 = v * float(chance @ (1.0 / m)), v / (n - 1)
    s00 = s01 + gap**2 * float(chance @ ((n - 1 - m) / (n - 1)) ** 2)
    return (s00 - s01) / (s00 + s11 - 2.0 * s01)


def best_alpha(weight: float) -> float:
    """The alpha >= 0 of the code's weights 2^alpha : 3^alpha that comes nearest to a deep weight; 0 up to a half."""
    return float(np.log(weight / (1.0 - weight)) / np.log(1.5)) if weight > 0.5 else 0.0


@claim("hgpo.alpha-minimum", paper=PAPER, source="inferred", kind="variance", figure="hgpo_alpha")
def alpha_minimum(trial: Trial) -> Evidence:
    """The mean squared error of the baseline over alpha has its minimum inside (0, infinity), and the best alpha grows
    with N. Two contexts, K = 1, code weights, leave-one-out means, rows with company in the context: the best deep
    weight is (s00 - s01)/(s00 + s11 - 2 s01), exactly, which is above 1/2 (alpha > 0) if and only if the deeper level
    alone has the lower error. Inside: values 1 apart, N >= 3. Outside: values 0.25 apart at N = 4 and 8, where alpha =
    0 is best.
    """
    return _alpha(trial, 1.0)


@alpha_minimum.broken("pair each row with the other context's members at the deeper level")
def _(trial: Trial) -> Evidence:
    return _alpha(trial, -1.0)


def _alpha(trial: Trial, sign: float) -> Evidence:
    found: dict[tuple[float, int], float] = {}
    expected: dict[tuple[float, int], float] = {}
    sizes = trial.pick((3, 4, 6, 8, 12, 16), (3, 4, 6, 8, 12, 16, 24, 32), (3, 4, 6, 8, 12, 16, 24, 32))
    for gap in (0.25, 0.5, 1.0, 2.0):
        task = gap_task(gap)
        for n in sizes:
            law = choices(task, n, 1)
            if sign < 0:
                moved = law.others[1] + (task.value[::-1] - task.value)[law.place]
                law = replace(law, others=np.stack([law.others[0], moved]))
            found[gap, n], expected[gap, n] = deep_weight(law), predicted_weight(gap, n)
            _curve(trial, law, gap, n, best_alpha(found[gap, n]), best_alpha(expected[gap, n]))
    detail = {f"best alpha, gap {g:g}, N={n}": best_alpha(w) for (g, n), w in found.items()}
    row = np.array([found[1.0, n] for n in sizes])
    parts = {
        "above 1/2": exact_inequality(row, ">=", 0.5, detail=detail),
        "below 1": exact_inequality(row, "<=", 1.0),
        "grows with N": exact_inequality(np.diff(row), ">=", 0.0),
        "formula": exact_equality(list(found.values()), list(expected.values()), tolerance=TOLERANCE),
    }
    outside = exact_inequality([found[0.25, n] for n in (4, 8)], ">=", 0.5)
    return conditional(
        all_of(parts), outside, note="alpha > 0 pays exactly where the deeper level alone is the better one"
    )


def _curve(trial: Trial, law: GroupLaw, gap: float, n: int, best: float, predicted: float) -> None:
    """Error, squared bias and variance over alpha, in full for the gap whose curves are drawn."""
    live = law.size[1] >= 2
    alphas = np.append(GRID, best) if gap == 1.0 else np.array([0.0, 1.0, best])
    rows = []
    for alpha in alphas:
        error = law.mixed(level_weights(1, alpha, "code"))[0] - law.value
        bias = law.mean(error, live)
        rows.append((law.pooled(error**2, live), law.pooled(bias[law.place] ** 2, live)))
    mse, bias = np.array(rows).T
    trial.table(
        gap=gap, n=n, alpha=alphas, mse=mse, bias=bias, variance=mse - bias, best=best, best_predicted=predicted
    )


# --- Which K -----------------------------------------------------------------------------------------------------


@claim("hgpo.deeper-history-better", paper=PAPER, source="notes", kind="gradient", figure="hgpo_alpha")
def deeper_history_better(trial: Trial) -> Evidence:
    """More history is better: results rise with K (the paper's table over K = 0, 1, 2, 4, read in notes). Here: the
    root-mean-square cosine between the sampled and the exact gradient rises with K = 0, 1, 2, alpha = 1, zeros kept.
    Inside: two cues that matter, values that spread by 1 and 2. Outside: no aliasing.
    """
    return _deeper(trial, (0, 1, 2, 3))


@deeper_history_better.broken("keep K at 0")
def _(trial: Trial) -> Evidence:
    return _deeper(trial, (0, 0, 0, 0))


def _deeper(trial: Trial, depths: tuple[int, ...]) -> Evidence:
    n, steps = trial.pick(6, 8, 8), {}
    for spread in trial.pick((0.0, 0.5, 1.0, 2.0), SPREADS, SPREADS):
        task = spread_task(spread)
        found = []
        for depth in depths:
            credit = credit_column("hgpo", K=depth, gamma=1.0, normalize="mean", zero_levels="keep")
            law = exact_moments(credit, task.mdp, task.policy, group_size=n, covariance=False).gradient
            found.append(alignment(law))
        trial.table(spread=spread, depth=np.arange(len(depths)), n=n, alignment=found)
        steps[spread] = exact_inequality(
            np.diff(found[:3]) / found[0], ">=", BETTER, detail={"alignment": found, "n": n}
        )
    inside = all_of({f"spread {x:g}": steps[x] for x in (1.0, 2.0)})
    return conditional(inside, steps[0.0], note="depth pays for aliasing and only for aliasing")


# --- Without aliasing --------------------------------------------------------------------------------------------


@claim("hgpo.markov-no-gain", paper=PAPER, source="inferred", kind="variance", figure="hgpo_levels")
def markov_no_gain(trial: Trial) -> Evidence:
    """Where the observation is the state, V(c_k) = V(s) for every k: no level has context bias, and every mixture of
    levels has a baseline at least as noisy as level 0, E[(b - V)^2] >= E[(b_0 - V)^2], for leave-one-out means of
    conditionally independent members (no revisits).
    """
    return _markov(trial, raw=False)


@markov_no_gain.broken("compare the errors of raw in-group advantages, which shrink towards 0 in small groups")
def _(trial: Trial) -> Evidence:
    return _markov(trial, raw=True)


@claim("hgpo.raw-error-comparison", paper=PAPER, source="inferred", kind="variance", figure="hgpo_levels")
def raw_error(trial: Trial) -> Evidence:
    """A lower mean squared error of the raw in-group advantage shows a better baseline, so that without aliasing, where
    deeper levels only add noise, raw error of the hierarchy >= raw error of level 0. It is not, once returns are noisy:
    G - mean is (n-1)/n of the leave-one-out form, small groups shrink towards 0, and that lowers the error.
    """
    return _markov(trial, raw=True)


@raw_error.broken("count groups of fewer than four members as zero, which shrinks still more")
def _(trial: Trial) -> Evidence:
    return _markov(trial, raw=True, least=4)


@raw_error.control("compare leave-one-out means, which do not shrink")
def _(trial: Trial) -> Evidence:
    return _markov(trial, raw=False)


def _markov(trial: Trial, *, raw: bool, least: int = 2) -> Evidence:
    cases: dict[str, tuple[GroupLaw, float]] = {}
    for seed in range(trial.pick(1, 4, 10)):
        mdp = make("layered@tiny", seed=seed)
        policy = SoftmaxPolicy.random(mdp, seed)
        states = np.flatnonzero(~mdp.terminal)
        cases[f"layered {seed}"] = group_law(mdp, policy, states, 3, 2), 0.0
    for amount in (0.0, 0.25, 0.5, 1.0, 1.5, 2.0):
        # Equal payoffs after both cues: the cue is noise, the last observation is the state.
        task = aliased_task(((0.0, 1.0), (0.0, 1.0)), (0.7, 0.7), noise=amount)
        cases[f"noise {amount:g}"] = choices(task, trial.pick(6, 8, 8), 1), amount
    parts, detail = {}, {}
    for name, (law, amount) in cases.items():
        weights = level_weights(law.size.shape[0] - 1, 1.0, "code")
        flat = weights * (np.arange(weights.size) == 0)
        errors = {}
        for form in ("raw", "leave-one-out"):
            errors[form] = [_error(law, w, form, least) for w in (flat, weights)]
            if name.startswith("noise"):
                trial.table(noise=amount, form=form, flat=errors[form][0], deep=errors[form][1])
        flat_error, deep_error = errors["raw" if raw else "leave-one-out"]
        detail[name] = deep_error / flat_error
        parts[name] = exact_inequality(deep_error - flat_error, ">=", 0.0, tolerance=TOLERANCE)
    joined = all_of(parts)
    critical = joined.detail["critical"]
    return exact_inequality(
        joined.statistic, ">=", 0.0, tolerance=TOLERANCE, detail={"critical": critical, "deep_over_flat": detail}
    )


def _error(law: GroupLaw, weights: np.ndarray, form: str, least: int) -> float:
    live = law.size[0] >= 2
    if form == "raw":
        advantage = law.raw(weights) if least == 2 else law.raw(weights) * (law.size[-1] >= least)
        return law.pooled((advantage - law.exact) ** 2, live)
    return law.pooled((law.mixed(weights)[0] - law.value) ** 2, live)
