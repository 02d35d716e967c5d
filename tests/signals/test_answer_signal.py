"""Answers on tables: the last action or the last state, and COPO trained with them."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.methods import METHODS, Use
from creditsim.plan import check
from creditsim.rollouts import Rollouts
from creditsim.sampling.table import TableSampler
from creditsim.signals.answer import answer
from creditsim.train import TrainConfig, train


def rollouts() -> Rollouts:
    return Rollouts.flat(
        offsets=np.array([0, 2, 3, 6]), group=[0, 0, 0], reward=np.zeros(6), action=np.array([1, 2, 0, 1, 1, 3]),
        columns={"next_state": np.array([4, 5, 6, 7, 8, 9])},
    )  # fmt: skip


def test_the_last_row_speaks_for_the_trajectory() -> None:
    state = {"replicate": np.arange(1)}
    by_action, after = answer(rollouts(), state)
    np.testing.assert_array_equal(by_action["answer"], [2, 2, 0, 3, 3, 3])
    by_state, _ = answer(rollouts(), state, kind="state")
    np.testing.assert_array_equal(by_state["answer"], [5, 5, 6, 9, 9, 9])
    assert after is state
    with pytest.raises(InputError, match=r"signal answer kind: got 'text', allowed action \| state"):
        answer(rollouts(), state, kind="text")  # pyright: ignore[reportArgumentType]


def test_on_sampled_episodes_it_is_constant_and_of_the_last_step() -> None:
    mdp = make("chain@tiny")
    sampler = TableSampler(mdp, seed=3, batches=4, groups=2)
    drawn = sampler.extend(copies=5, policy=SoftmaxPolicy.uniform(mdp))
    found = answer(drawn, {})[0]["answer"]
    ends = drawn.offsets[1:] - 1
    np.testing.assert_array_equal(found, np.repeat(drawn.action[ends], drawn.length))


def test_copo_needs_it_and_is_told_who_makes_it() -> None:
    method = METHODS["copo"]
    with pytest.raises(InputError, match=r"no column 'answer' from the parts before it.*nearest: signal answer"):
        check(method.replaced(signals=()))
    assert check(method).estimator.part.name == "copo"
    with pytest.raises(InputError, match="no column 'global_advantage'"):
        check(method.replaced(estimator=Use("grpo")))


def test_one_group_per_batch_is_refused() -> None:
    config = TrainConfig(method="copo", env="difficulties@tiny", updates=2, replicates=2, groups=1, group_size=4)
    with pytest.raises(InputError, match="groups: got 1, allowed at least 2; estimator copo takes statistics"):
        train(config)


@pytest.mark.parametrize("method", ["copo", "a_grae"])
@pytest.mark.parametrize("env", ["difficulties@small", "answers@tiny", "chain@tiny"])
def test_both_methods_learn_on_three_environments(method: str, env: str) -> None:
    result = train(TrainConfig(method=method, env=env, updates=60, replicates=8, groups=4, group_size=6))
    assert np.isfinite(result.theta).all() and (result.failed_at == -1).all()
    gain = result.j[-1] - result.j[0]
    # Paired gains of eight replicates, six standard errors.
    assert gain.mean() > 6 * gain.std(ddof=1) / np.sqrt(gain.size)


def test_where_groups_are_uniform_only_the_global_credit_moves_the_policy() -> None:
    """One right answer in 64 beside 32: in most batches the hard prompt's groups of four are all wrong."""
    config = TrainConfig(
        method="copo", env="difficulties", updates=1, replicates=16, groups=4, group_size=4,
        params=("env.prompts=2", "env.answers=64", "env.easiest=0.5", "update.optimiser=sgd"),
    )  # fmt: skip
    moved = {}
    for gate in ("no-global", "only-soft", "soft-with-zero"):
        theta = train(config.replaced(params=(*config.params, f"estimator.gate={gate}"))).theta
        # The first table is the easy prompt's, the second the hard one's.
        moved[gate] = np.abs(theta.reshape(16, -1, 64)[:, 1]).sum(axis=1)
    silent = moved["no-global"] == 0
    assert silent.mean() > 0.6
    # With other prompts in the batch the zero gate moves what was silent; of four different wrong answers the soft
    # blend leaves 1 - sigmoid(5 (2 - 1)) = 0.7 % of it.
    woken = silent & (moved["soft-with-zero"] > 0)
    assert woken.sum() >= 5
    share = moved["only-soft"][woken] / moved["soft-with-zero"][woken]
    assert 0.0066 < share.min() < 0.0068 and share.max() < 0.2
