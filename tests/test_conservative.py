"""Conservative exploration: mixtures meet the bar, values are exact, and only the seed decides."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy import stats

from creditsim.conservative import ConservativeConfig, explore, plan_sizes
from creditsim.errors import CreditsimError, InputError, UnknownNameError
from creditsim.estimators import advantage
from creditsim.exact import objective, solve
from creditsim.mdp import FixedPolicy, make, with_time
from creditsim.methods import METHODS
from creditsim.planning_tables import half_optimal, planning_tables
from creditsim.rollouts import Rollouts
from creditsim.sampling.designs.conservative import _coin, conservative, step_mixture
from creditsim.sampling.table import TableSampler
from creditsim.train import TrainConfig, train

ALPHA = 1e-6
SMALL = ConservativeConfig(
    env_params={"seed": 1, "paying": 0.4}, replicates=5, episodes=300, growth=0.2, scale=0.1, known=True
)
METHOD_NAMES = ("stepmix", "epsmix", "ucbvi")


def changed(config: ConservativeConfig, **changes: Any) -> ConservativeConfig:
    return dataclasses.replace(config, **changes)


def bits(config: ConservativeConfig) -> tuple[bytes, ...]:
    run = explore(config)
    return tuple(array.tobytes() for array in (run.value, run.optimism, run.upper, run.lower))


# --- The mixture ------------------------------------------------------------------------------------------------------


def slow_step(lower: list[float], bar: float) -> tuple[int, float]:
    for j in range(len(lower) - 1, -1, -1):
        if lower[j] >= bar:
            if j == len(lower) - 1:
                return j, 0.0
            return j, (lower[j] - bar) / (lower[j] - lower[j + 1])
    return 0, 0.0


def test_weights_are_those_of_a_loop_and_put_the_bound_on_the_bar() -> None:
    rng = np.random.default_rng(0)
    lower, bar = rng.random((500, 4)), rng.random(500)
    handed, weight = step_mixture(lower, bar)
    coin = _coin(lower, bar)
    for r in range(500):
        assert (handed[r], weight[r]) == pytest.approx(slow_step(lower[r].tolist(), bar[r]))
        safe, bold = lower[r, 0], lower[r, -1]
        best = max((e for e in np.linspace(0, 1, 2001) if e * bold + (1 - e) * safe >= bar[r]), default=0.0)
        assert coin[r] == pytest.approx(best, abs=6e-4)
        if 0 < weight[r]:
            bound = weight[r] * lower[r, handed[r] + 1] + (1 - weight[r]) * lower[r, handed[r]]
            assert bound == pytest.approx(bar[r])
    assert ((weight >= 0) & (weight < 1)).all() and ((coin >= 0) & (coin <= 1)).all()
    assert {0, 1, 2, 3} == set(handed.tolist())


def test_the_ends_of_the_mixture() -> None:
    bar = np.array([0.5, 0.5, 0.5, 0.5])
    lower = np.array([[0.9, 0.2, 0.8], [0.4, 0.3, 0.2], [0.5, 0.0, 0.0], [0.1, 0.6, 0.1]])
    handed, weight = step_mixture(lower, bar)
    # Certified all the way; nothing certified; just on the bar; a later candidate certified where the baseline is not.
    assert handed.tolist() == [2, 0, 0, 1]
    assert weight == pytest.approx([0.0, 0.0, 0.0, 0.2])
    assert _coin(lower, bar).tolist() == [1.0, 0.0, 0.0, 0.0]


def state_with(mdp: Any, lower: np.ndarray, replicates: int) -> dict[str, Any]:
    tables = planning_tables(mdp)
    left = tables["steps_left"]()
    hand_over = (left <= np.arange(mdp.horizon + 1)[:, None]) & (left > 0)
    return {
        "baseline": tables["baseline"](), "baseline_value": tables["baseline_value"](), "hand_over": hand_over,
        "lower": np.broadcast_to(lower, (replicates, mdp.horizon + 1)), "seed": 3, "replicate": np.arange(replicates),
    }  # fmt: skip


@pytest.mark.parametrize("mix", ["step", "episode"])
def test_what_is_played_has_the_value_it_is_said_to_have(mix: Any) -> None:
    # n = 40,000 episodes a replicate: a return that is 0.03 sd off would be seen with 99 % power at alpha = 1e-6 each.
    mdp = with_time(make("layered@tiny", seed=2, paying=0.4))
    best = half_optimal(mdp, 1.0)
    state = state_with(mdp, np.array([0.4, 0.3, 0.1, 0.0]), 2)
    policy = FixedPolicy(np.stack([best, half_optimal(mdp, 0.0)]))
    sampler = TableSampler(mdp, seed=5, batches=2, groups=40_000)
    rollouts, after = conservative(sampler, policy, state, mix=mix, kept=0.35 / state["baseline_value"])
    both = objective(mdp, after["played"])
    value = after["share"] * both[:, 0] + (1 - after["share"]) * both[:, 1]
    returns = np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)
    assert agree(returns, rollouts.batch, value)
    assert not agree(returns, rollouts.batch, np.array([solve(mdp, best).j] * 2))
    # The weights: 0.5 of the step between L_0 = 0.4 and L_1 = 0.3, and 0.125 of the episodes between 0.4 and 0.
    assert after["optimism"] == pytest.approx([1 / 6] * 2 if mix == "step" else [0.125] * 2)
    assert rollouts.n_trajectories == 80_000


def agree(returns: np.ndarray, batch: np.ndarray, value: np.ndarray) -> bool:
    for b, expected in enumerate(value):
        mine = returns[batch == b]
        error = mine.std(ddof=1) / np.sqrt(mine.size)
        if abs(mine.mean() - expected) > stats.norm.isf(ALPHA / 2) * error:
            return False
    return True


def test_before_the_first_plan_the_baseline_is_played() -> None:
    mdp = with_time(make("layered@tiny"))
    state = state_with(mdp, np.zeros(4), 2)
    del state["lower"]
    policy = FixedPolicy(np.stack([half_optimal(mdp, 1.0)] * 2))
    sampler = TableSampler(mdp, batches=2, groups=3)
    for mix in ("step", "episode"):
        _, after = conservative(sampler, policy, state, mix=mix)
        assert (after["optimism"] == 0).all()
        assert objective(mdp, after["played"][:, 0]) == pytest.approx(state["baseline_value"])
    with pytest.raises(InputError, match="kept"):
        conservative(sampler, policy, state, kept=1.5)
    with pytest.raises(UnknownNameError, match="nearest: step"):
        conservative(sampler, policy, state, mix="steps")  # type: ignore[arg-type]


# --- The loop ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_same_seed_same_bits_any_threads(method: Any) -> None:
    config = changed(SMALL, method=method)
    first = bits(config)
    assert bits(config) == first
    assert bits(changed(config, threads=1)) == first
    assert bits(changed(config, seed=1)) != first


@pytest.mark.parametrize("method", METHOD_NAMES)
@pytest.mark.parametrize("data", [None, 50])
def test_replicates_apart_are_the_replicates_together(method: Any, data: int | None) -> None:
    config = changed(SMALL, method=method, data=data, known=False)
    together = explore(config)
    for first, count in ((0, 1), (1, 2), (3, 2)):
        apart = explore(changed(config, first_replicate=first, replicates=count))
        assert np.array_equal(apart.value, together.value[:, first : first + count])
        assert np.array_equal(apart.lower, together.lower[:, first : first + count], equal_nan=True)
    # Broken twin: another number is another replicate.
    assert not np.array_equal(explore(changed(config, first_replicate=9, replicates=1)).upper, together.upper[:, :1])


def test_mixtures_move_from_the_baseline_to_the_optimistic_policy() -> None:
    for method in ("stepmix", "epsmix"):
        run = explore(changed(SMALL, method=method, episodes=2000))
        assert (run.optimism[0] == 0).all() and run.value[0] == pytest.approx(run.baseline)
        assert ((run.optimism > 0) & (run.optimism < 1)).any()
        assert (run.optimism[-1] == 1).all()
        assert (run.violations == 0).all()
        assert (run.cautious < 2000).all()
    free = explore(changed(SMALL, method="ucbvi"))
    assert (free.optimism == 1).all() and (free.cautious == 0).all() and (free.violations > 0).any()


def test_regret_is_the_sum_over_episodes() -> None:
    run = explore(changed(SMALL, method="epsmix"))
    each = np.repeat(run.optimum - run.value, run.size, axis=0)
    slow = np.cumsum(each, axis=0)
    np.testing.assert_allclose(run.regret, slow[run.episode - 1], atol=1e-10)
    at = np.array([1, 7, 100, 299, 300])
    np.testing.assert_allclose(run.regret_at(at), slow[at - 1], atol=1e-10)
    below = np.repeat(run.value, run.size, axis=0) < run.bar - 1e-9
    assert np.array_equal(run.violations, below.sum(axis=0))
    assert run.episode[-1] == 300 and run.size.sum() == 300


def test_plans_are_spread_over_the_episodes() -> None:
    assert plan_sizes(5, 0.0).tolist() == [1] * 5
    sizes = plan_sizes(100_000, 0.1)
    done = np.cumsum(sizes)
    assert done[-1] == 100_000 and (sizes[1:-1] == np.maximum(1, (0.1 * done[:-2]).astype(int))).all()
    assert sizes.size < 130


def test_no_slack_leaves_only_the_baseline() -> None:
    # A bound reaches the value itself only in the limit: with kept = 1 nothing but the known baseline is certified.
    run = explore(changed(SMALL, kept=1.0, scale=1.0))
    assert (run.optimism == 0).all()
    assert run.value == pytest.approx(np.broadcast_to(run.baseline, run.value.shape))


def test_a_learnt_baseline_gets_better_with_data() -> None:
    few, many = (explore(changed(SMALL, data=n, known=False, episodes=1, replicates=20)) for n in (3, 5000))
    assert few.baseline.mean() < many.baseline.mean()
    assert (many.baseline > many.bar).all()
    assert (explore(changed(SMALL, data=5000, known=False, episodes=1, pessimism=0.0)).baseline >= many.bar).all()


def test_design_can_be_another_one() -> None:
    run = explore(changed(SMALL, design="conservative@ucbvi"))
    assert (run.optimism == 1).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"replicates": 0}, "replicates"),
        ({"episodes": 0}, "episodes"),
        ({"growth": -0.1}, "growth"),
        ({"growth": float("nan")}, "growth"),
        ({"data": 0}, "data"),
        ({"data": 5}, "known"),
        ({"kept": 1.1}, "kept"),
        ({"skill": 2.0}, "share"),
        ({"delta": 0.0}, "delta"),
        ({"pessimism": float("inf")}, "pessimism"),
        ({"method": "stepmx"}, "nearest: stepmix"),
        ({"env": "chain@tiny", "env_params": {"step_reward": -0.1}}, "rewards"),
    ],
)
def test_bad_settings_are_told_in_one_line(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(CreditsimError) as error:
        explore(changed(SMALL, **changes))
    assert told in str(error.value) and "\n" not in str(error.value)


# --- The same parts in the training loop ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_methods_of_the_catalogue_train(name: str) -> None:
    method = METHODS[name]
    assert method.timed and method.evidence["design"] == method.evidence["update"] == "inferred"
    config = TrainConfig(
        method=name, env="layered@tiny", replicates=6, updates=30, groups=4, group_size=8,
        params=("env.paying=0.4", "env.seed=1", "update.scale=0.1"),
    )  # fmt: skip
    together = train(config)
    assert together.j[-1] == pytest.approx(together.optimum, abs=0.02)
    apart = train(config.replaced(first_replicate=2, replicates=3))
    assert np.array_equal(apart.j, together.j[:, 2:5])
    assert np.array_equal(apart.mean_return, together.mean_return[:, 2:5])
    # No credit: an update by advantages has nothing to go by.
    still = train(config.replaced(update="reinforce", updates=2, params=("env.paying=0.4",)))
    assert not still.theta.any()


def test_no_credit_is_zero() -> None:
    rollouts = Rollouts.flat(offsets=[0, 2, 3], group=[0, 0], reward=[1.0, 2.0, 3.0])
    assert advantage(rollouts, "no_credit").tolist() == [0.0, 0.0, 0.0]
