"""Methods with turn rewards, several rewards and split groups: trained on two environments, refused where they must."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.train import TrainConfig, train

ENVIRONMENTS = {
    "igpo": ("tree@tiny", "chain@tiny"),
    "a2tgpo": ("tree@tiny", "chain@tiny"),
    "dvao": ("objectives@tiny", "stopping@tiny"),
    "rc": ("objectives@tiny", "stopping@tiny"),
    "ac": ("objectives@tiny", "stopping@tiny"),
    "gdpo": ("objectives@tiny", "stopping@tiny"),
    "canon_inter": ("features@tiny", "stopping@tiny"),
    "canon_intra": ("features@tiny", "stopping@tiny"),
    "canon_dynamic": ("features@tiny", "stopping@tiny"),
}


@pytest.mark.parametrize("env", [0, 1])
@pytest.mark.parametrize("method", ENVIRONMENTS)
def test_trains_and_learns(method: str, env: int) -> None:
    # 8 runs of 40 updates; the mean return must rise by more than 5 standard errors of its rise.
    result = train(TrainConfig(method=method, env=ENVIRONMENTS[method][env], updates=40, replicates=8, groups=4))
    assert np.isfinite(result.theta).all() and np.isfinite(result.j).all()
    rise = result.j[-1] - result.j[0]
    assert rise.mean() > 5 * rise.std(ddof=1) / np.sqrt(8)


def test_a_schedule_moves_mu_and_a_number_out_of_range_is_one_line() -> None:
    config = TrainConfig(env="features@tiny", updates=6, replicates=2, learning_rate=0.3)
    dynamic, inter = (train(config.replaced(method=m)).theta for m in ("canon_dynamic", "canon_inter"))
    assert not np.array_equal(dynamic, inter)
    fixed = train(config.replaced(method="canon_dynamic", params=("estimator.mu=1.0",))).theta
    np.testing.assert_array_equal(fixed, inter)
    with pytest.raises(InputError, match="mu: got 2") as error:
        train(config.replaced(method="canon_inter", params=("estimator.mu=2.0",)))
    assert "\n" not in str(error.value)


def test_weights_that_do_not_match_the_rewards_are_one_line() -> None:
    config = TrainConfig(method="dvao", env="objectives@tiny", updates=1, replicates=1)
    with pytest.raises(InputError, match="reward_weights: got 3 weights, allowed one per column") as error:
        train(config.replaced(params=("estimator.weights=[0.2, 0.3, 0.5]",)))
    assert "\n" not in str(error.value)


def test_weights_steer_between_objectives() -> None:
    config = TrainConfig(method="ac", env="objectives@tiny", updates=60, replicates=8)
    first, second = (
        train(config.replaced(params=(f"estimator.weights={w}",))).theta[:, :2].mean(axis=0)
        for w in ("[0.95, 0.05]", "[0.05, 0.95]")
    )
    assert first[1] > first[0] and second[0] > second[1]


def test_from_the_command_line() -> None:
    command = [sys.executable, "-m", "creditsim", "train", "--env", "features@tiny", "--updates", "2", "--method"]
    done = subprocess.run([*command, "canon_inter", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and '"method": "canon_inter"' in done.stdout
    bad = subprocess.run(
        [*command, "canon_inter", "--params", "estimator.divisor=0"], capture_output=True, text=True
    )  # fmt: skip
    assert bad.returncode == 2 and bad.stderr.strip().count("\n") == 0 and "divisor: got 0" in bad.stderr
