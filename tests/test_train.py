"""The training loop: it climbs, its first step is the exact gradient in expectation, only the seed decides its bits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from creditsim.exact.dp import optimal, solve
from creditsim.exact.gradient import policy_gradient
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.signal_tables import valid_actions
from creditsim.train import TrainConfig, train

ALPHA = 1e-6
SMALL = TrainConfig(env="chain@tiny", replicates=12, updates=25, groups=4, group_size=8)


def climbs(config: TrainConfig) -> bool:
    """Whether J rose over replicates, by a paired one-sided t-test at ALPHA."""
    rise = np.subtract(*train(config).j[[-1, 0]])
    error = rise.std(ddof=1) / np.sqrt(rise.size)
    return bool(rise.mean() > stats.t.isf(ALPHA, rise.size - 1) * error)


@pytest.mark.parametrize("method", ["grpo", "gigpo", "rloo", "ppo", "reinforce"])
def test_methods_climb(method: str) -> None:
    assert climbs(SMALL.replaced(method=method))


def test_a_wrong_sign_does_not_climb() -> None:
    # Broken twin: the update is told to walk the other way, by a negative weight on the step level alone.
    wrong = SMALL.replaced(method="gigpo", params=("estimator.step_weight=-5.0",))
    assert not climbs(wrong)


def test_learning_curves_are_exact() -> None:
    result = train(SMALL.replaced(updates=3))
    mdp = make("chain@tiny")
    uniform = SoftmaxPolicy.uniform(mdp)
    assert result.j[0] == pytest.approx(np.full(12, solve(mdp, uniform.probabilities(mdp)).j), abs=1e-14)
    ended = uniform.with_theta(result.theta).probabilities(mdp)
    assert result.j[-1] == pytest.approx(np.array([solve(mdp, pi).j for pi in ended]), abs=1e-14)
    assert result.optimum == optimal(mdp).j
    assert ((result.success >= 0) & (result.success <= 1)).all()


def first_step(config: TrainConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard error over replicates of the first step, and the exact gradient."""
    result = train(config)
    mdp = result.mdp
    exact = policy_gradient(mdp, SoftmaxPolicy.uniform(mdp))
    error = result.theta.std(axis=0, ddof=1) / np.sqrt(config.replicates)
    return result.theta.mean(axis=0), error, exact


def agrees(mean: np.ndarray, error: np.ndarray, exact: np.ndarray) -> bool:
    """Whether no component is off by more than the two-sided normal bound at ALPHA, shared by all components."""
    bound = stats.norm.isf(ALPHA / 2 / mean.size)
    return bool((np.abs(mean - exact) <= bound * error + 1e-12).all())


SGD = "update.optimiser=sgd"
STEP = TrainConfig(
    method="reinforce", env="chain@tiny", updates=1, replicates=20_000, groups=1, group_size=2, params=(SGD,)
)


@pytest.mark.parametrize("method", ["reinforce", "rloo"])
@pytest.mark.parametrize("env", ["chain@tiny", "chain"])
def test_expected_step_is_the_exact_gradient(method: str, env: str) -> None:
    # n = 20,000 replicates of 2 trajectories: a bias of 0.05 sd in a component would be found with 99 % power.
    config = STEP.replaced(method=method, env=env, learning_rate=1.0)
    assert agrees(*first_step(config))


@pytest.mark.parametrize(
    "broken",
    [
        {"params": (SGD, "estimator.gamma=0.5")},
        {"learning_rate": 0.9},
        {"method": "dr_grpo", "update": "reinforce"},
    ],
    ids=["discounted return", "step too short", "self-inclusive baseline"],
)
def test_biased_steps_are_rejected_by_the_same_check(broken: dict) -> None:
    # Dr.GRPO's mean includes the member itself: its expected step is (n-1)/n = 1/2 of the gradient.
    assert not agrees(*first_step(STEP.replaced(**{"learning_rate": 1.0, **broken})))


def test_dr_grpo_step_is_the_known_share_of_the_gradient() -> None:
    mean, error, exact = first_step(STEP.replaced(method="dr_grpo", update="reinforce", learning_rate=1.0))
    assert agrees(mean, error, exact / 2)


def fingerprint(config: TrainConfig) -> tuple[bytes, ...]:
    result = train(config)
    return tuple(array.tobytes() for array in (result.j, result.mean_return, result.success, result.theta))


@pytest.mark.parametrize("method", ["reinforce", "grpo", "ppo", "gigpo", "3spo"])
def test_same_seed_same_bits_any_threads(method: str) -> None:
    config = SMALL.replaced(method=method, updates=5, replicates=4)
    first = fingerprint(config)
    assert fingerprint(config) == first
    assert fingerprint(config.replaced(threads=1)) == first
    assert fingerprint(config.replaced(threads=2)) == first
    assert fingerprint(config.replaced(seed=1)) != first


@pytest.mark.parametrize("method", ["reinforce", "gigpo", "dapo", "ppo", "remax", "reinforce_plus_plus", "3spo"])
def test_replicates_apart_are_the_replicates_together(method: str) -> None:
    params = ("update.minibatches=2", "update.epochs=2") if method in ("gigpo", "ppo") else ()
    config = SMALL.replaced(method=method, updates=4, replicates=6, params=params)
    together = train(config)
    for first, count in ((0, 1), (1, 2), (3, 3)):
        apart = train(config.replaced(first_replicate=first, replicates=count))
        span = slice(first, first + count)
        assert np.array_equal(apart.mean_return, together.mean_return[:, span], equal_nan=True)
        for name in ("generated", "silent", "met"):
            assert np.array_equal(getattr(apart, name), getattr(together, name)[:, span])
        assert apart.theta == pytest.approx(together.theta[span], abs=1e-12)
    # Broken twin: another number is another replicate.
    other = train(config.replaced(first_replicate=7, replicates=1))
    assert not np.array_equal(other.theta, together.theta[:1])


def test_signals_get_the_tables_they_ask_for() -> None:
    config = SMALL.replaced(method="ppo", updates=2, replicates=2)
    exact = train(config.replaced(signals=("oracle_value",)))
    noisy = train(config.replaced(signals=("oracle_value",), params=("oracle_value.noise=0.5",)))
    assert not np.array_equal(exact.theta, noisy.theta)
    penalised = config.replaced(method="gigpo", signals=("invalid_action",), params=("estimator.penalty=0.5",))
    assert not np.array_equal(train(penalised).theta, train(config.replaced(method="gigpo")).theta)


def test_invalid_actions_are_those_that_do_nothing() -> None:
    mdp = make("chain", length=3, horizon=4)
    # Only going left at the left end stays put for sure; slipping makes it an action like any other.
    assert valid_actions(mdp)[:3].tolist() == [[False, True], [True, True], [True, True]]
    assert valid_actions(make("chain", length=3, horizon=4, slip=0.1))[0].all()


def test_schedules_are_resolved_update_by_update() -> None:
    flat = SMALL.replaced(method="reinforce", updates=3, learning_rate=1.0, params=(SGD,))
    moving = flat.replaced(learning_rate=None, params=(SGD, "update.learning_rate={start=1.0, end=0.001}"))
    a, b = train(flat), train(moving)
    assert np.array_equal(a.j[:2], b.j[:2])
    assert not np.array_equal(a.j[2:], b.j[2:])


def test_no_updates_leave_the_start() -> None:
    result = train(SMALL.replaced(updates=0))
    assert result.j.shape == (1, 12)
    assert result.mean_return.shape == (0, 12)
    assert not result.theta.any()


def test_progress_sees_every_update() -> None:
    seen: list[int] = []

    def watch(updates):
        for number in updates:
            seen.append(number)
            yield number

    train(SMALL.replaced(updates=3, replicates=1), progress=watch)
    assert seen == [0, 1, 2]


def test_rows_drawn_states_met_and_rows_without_credit() -> None:
    result = train(SMALL.replaced(method="grpo", updates=6, replicates=3))
    horizon, group = result.mdp.horizon, 4 * 8
    assert ((result.generated >= group * 3) & (result.generated <= group * horizon)).all()
    assert (np.diff(result.met, axis=0) >= 0).all() and (result.met[-1] <= result.mdp.n_states).all()
    assert ((result.silent >= 0) & (result.silent <= 1)).all()
    hopeless = train(SMALL.replaced(method="grpo", updates=2, replicates=2, params=("env.length=9",)))
    assert (hopeless.silent == 1).all() and not hopeless.theta.any()
    # Tries that were dropped count as drawn: more rows than groups of eight of the same length hold.
    dropped = train(SMALL.replaced(method="dapo", updates=2, replicates=2, params=("env.length=9",)))
    assert (dropped.generated == 10 * hopeless.generated).all()


def test_a_number_of_transitions_stops_a_run_and_changes_nothing_before() -> None:
    whole = train(SMALL.replaced(method="3spo", updates=12, replicates=3))
    drawn = whole.generated.cumsum(axis=0)
    limit = int(drawn[5].min())
    short = train(SMALL.replaced(method="3spo", updates=12, replicates=3, transitions=limit))
    made = short.generated.shape[0]
    assert made == 6 and short.j.shape[0] == made + 1
    for name in ("generated", "silent", "met", "success", "mean_return"):
        assert np.array_equal(getattr(short, name), getattr(whole, name)[:made], equal_nan=True)
    assert np.array_equal(short.j, whole.j[: made + 1])


def test_success_of_a_growing_tree_is_that_of_the_paths_that_ended() -> None:
    result = train(TrainConfig(method="3spo", env="trap", size="tiny", updates=6, replicates=4, groups=2))
    known = result.success[~np.isnan(result.success)]
    assert known.size and ((known >= 0) & (known <= 1)).all()
    assert np.isnan(result.success[0]).all()  # no path ends in one step of two
