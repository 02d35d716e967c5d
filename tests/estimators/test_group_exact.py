"""Every base estimator against its definition in rational arithmetic, and twins that this check must reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from group_cases import BINARY_GROUPS, REFERENCES, exact, responses, run, ulps

from creditsim.rollouts import Rollouts

TOLERANCE = 4.0
Estimate = Callable[[Rollouts], np.ndarray]


def worst_ulps(estimate: Estimate, spec: str) -> float:
    """The check: largest error over all 124 groups, computed in one call, each group a batch of its own."""
    return ulps(estimate(responses(BINARY_GROUPS)), exact(REFERENCES[spec], BINARY_GROUPS))


def test_there_are_124_groups():
    assert len(BINARY_GROUPS) == 124


@pytest.mark.parametrize("spec", REFERENCES)
def test_all_binary_groups_to_four_ulp(spec: str):
    assert worst_ulps(lambda rollouts: run(rollouts, spec), spec) <= TOLERANCE


def flipped(spec: str) -> Estimate:
    return lambda rollouts: -run(rollouts, spec)


def shifted_reward(spec: str) -> Estimate:
    """Each row is paid the reward of the row before it."""
    return lambda rollouts: run(replace(rollouts, reward=np.roll(rollouts.reward, 1)), spec)


def wrong_group(spec: str) -> Estimate:
    """Trajectories are dealt to groups and batches in turn, as by a key that says nothing of the task."""

    def estimate(rollouts: Rollouts) -> np.ndarray:
        dealt = np.arange(rollouts.n_trajectories) % rollouts.n_groups
        return run(replace(rollouts, group=dealt, batch=dealt), spec)

    return estimate


def altered(spec: str, **params: object) -> Estimate:
    return lambda rollouts: run(rollouts, spec, **params)


def other(spec: str) -> Estimate:
    return lambda rollouts: run(rollouts, spec)


def without_tokens(spec: str) -> Estimate:
    return lambda rollouts: run(replace(rollouts, columns={}), spec)


NO_GROUP = {"reinforce", "remax@paper", "remax@verl"}
GENERAL = [
    pytest.param(twin(spec), spec, id=f"{spec}-{twin.__name__}")
    for spec in REFERENCES
    for twin in (flipped, shifted_reward, wrong_group)
    if not (twin is wrong_group and spec in NO_GROUP)
]
SPECIAL = [
    pytest.param(altered("grpo", ddof=0), "grpo", id="grpo-ddof"),
    pytest.param(altered("grpo@paper", eps=1e-6), "grpo@paper", id="grpo-eps"),
    pytest.param(altered("grpo", scale="none"), "grpo", id="grpo-forgets-std"),
    pytest.param(other("grpo"), "dr_grpo", id="dr_grpo-divides-by-std"),
    pytest.param(other("dr_grpo"), "rloo", id="rloo-includes-self"),
    pytest.param(other("dr_grpo"), "opo@paper", id="opo-plain-mean"),
    pytest.param(altered("opo", length="steps"), "opo@paper", id="opo-counts-steps"),
    pytest.param(altered("grpo_passk", scale="std"), "grpo_passk@paper", id="passk-divides-by-std"),
    pytest.param(altered("grpo_passk@verl", ddof=0), "grpo_passk@verl", id="passk-ddof"),
    pytest.param(other("rloo"), "grpo_passk@paper", id="passk-credits-everyone"),
    pytest.param(altered("gpg@verl", rescale="mixed_groups"), "gpg@verl", id="gpg-alpha"),
    pytest.param(altered("gpg", f_norm=2.0), "gpg@paper", id="gpg-f-norm"),
    pytest.param(altered("reinforce_plus_plus", ddof=0), "reinforce_plus_plus", id="rf++-ddof"),
    pytest.param(without_tokens("reinforce_plus_plus"), "reinforce_plus_plus", id="rf++-forgets-tokens"),
    pytest.param(altered("reinforce_plus_plus_baseline", ddof=0), "reinforce_plus_plus_baseline", id="rf++b-ddof"),
    pytest.param(
        altered("reinforce_plus_plus_baseline", eps_inside=0.0), "reinforce_plus_plus_baseline", id="rf++b-eps"
    ),
    pytest.param(other("reinforce"), "remax@paper", id="remax-forgets-greedy"),
    pytest.param(other("remax@verl"), "reinforce", id="reinforce-with-baseline"),
]


@pytest.mark.parametrize(("twin", "spec"), GENERAL + SPECIAL)
def test_the_check_rejects_a_broken_twin(twin: Estimate, spec: str):
    assert worst_ulps(twin, spec) > TOLERANCE


def test_whitening_of_equal_groups_is_its_own_baseline_form():
    """With one group per batch, centring before whitening changes nothing."""
    rollouts = responses(BINARY_GROUPS)
    plain, centred = run(rollouts, "reinforce_plus_plus"), run(rollouts, "reinforce_plus_plus_baseline")
    np.testing.assert_allclose(plain, centred, rtol=1e-12, atol=1e-12)
