"""Bandits with several rewards and answers with two features: their laws by moments, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.sampling import TableSampler

P = ((0.2, 0.7, 0.5), (0.8, 0.3, 0.5))


def moments(correlation: float, arm: int, p: tuple[tuple[float, ...], ...] = P) -> tuple[np.ndarray, np.ndarray]:
    mdp = make("objectives", p=p, correlation=correlation)
    chance, pay = mdp.probability[0, arm], mdp.reward[0, arm]
    mean = chance @ pay
    return mean, (pay - mean).T @ ((pay - mean) * chance[:, None])


@pytest.mark.parametrize("correlation", [-1.0, -0.4, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("arm", [0, 1, 2])
def test_chances_stay_and_the_correlation_is_the_one_asked_for(correlation: float, arm: int) -> None:
    mean, covariance = moments(correlation, arm)
    np.testing.assert_allclose(mean, [P[0][arm], P[1][arm]], atol=1e-14)
    np.testing.assert_allclose(np.diag(covariance), [p * (1 - p) for p in mean], atol=1e-14)
    if correlation <= 0 or arm == 2:
        # Chances that add up to 1 reach -1; equal ones reach 1.
        rho = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        assert rho == pytest.approx(correlation, abs=1e-13)


def test_correlation_is_a_share_of_what_chances_allow() -> None:
    most = moments(1.0, 0)[1][0, 1]
    assert most == pytest.approx(min(P[0][0], P[1][0]) - P[0][0] * P[1][0], abs=1e-14)
    assert moments(0.25, 0)[1][0, 1] == pytest.approx(0.25 * most, abs=1e-14)
    uneven = ((0.2,), (0.3,))
    least = moments(-1.0, 0, uneven)[1][0, 1]
    assert least == pytest.approx(-0.06, abs=1e-14)


def test_three_objectives_follow_one_draw() -> None:
    p = ((0.6,), (0.4,), (0.3,))
    mdp = make("objectives", p=p, correlation=-1.0)
    pay, chance = mdp.reward[0, 0], mdp.probability[0, 0]
    second = pay.T @ (pay * chance[:, None])
    # The first and third pay for low draws, the second for high ones.
    np.testing.assert_allclose([second[0, 1], second[0, 2], second[1, 2]], [0.0, 0.3, 0.0], atol=1e-14)


def test_scale_and_noise() -> None:
    mdp = make("objectives", p=P, scale=(1.0, 0.5), noise=2.0, correlation=-0.5)
    chance, pay = mdp.probability[0, 0], mdp.reward[0, 0]
    np.testing.assert_allclose(chance @ pay, [0.2, 0.4, 1.0], atol=1e-14)
    centred = pay - chance @ pay
    covariance = centred.T @ (centred * chance[:, None])
    np.testing.assert_allclose(covariance[2], [0.0, 0.0, 1.0], atol=1e-14)


def test_sampled_rewards_have_the_exact_mean() -> None:
    # 40,000 pulls, z at two-sided alpha 1e-6 over two objectives.
    mdp = make("objectives", p=P, correlation=-0.7)
    policy = SoftmaxPolicy.uniform(mdp)
    paid = TableSampler(mdp, seed=3).extend(copies=40_000, policy=policy).columns["reward_K"]
    z = (paid.mean(axis=0) - np.array(P).mean(axis=1)) / (paid.std(axis=0) / 200.0)
    assert np.abs(z).max() < 5.1
    # Broken twin: the other objective's means are told apart.
    off = (paid.mean(axis=0) - 1.05 * np.array(P).mean(axis=1)) / (paid.std(axis=0) / 200.0)
    assert np.abs(off).max() > 5.1


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"p": ((0.2, 1.2),)}, "p"),
        ({"p": ((0.2, 0.3), (0.1,))}, "p"),
        ({"p": ()}, "p"),
        ({"correlation": 1.5}, "correlation"),
        ({"correlation": float("nan")}, "correlation"),
        ({"p": P, "scale": (1.0,)}, "scale"),
        ({"objectives": 11}, "objectives"),
        ({"arms": 0}, "arms"),
        ({"noise": float("inf")}, "noise"),
    ],
)
def test_bad_objectives_are_refused(params: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as error:
        make("objectives", **params)
    assert error.value.field == field


def test_features_pay_by_both() -> None:
    p = (((0.2, 0.6), (0.5, 0.9)), ((0.0, 1.0), (0.25, 0.75)))
    mdp = make("features", p=p)
    np.testing.assert_allclose(mdp.probability[:2, :, 0], np.reshape(p, (2, 4)))
    np.testing.assert_allclose(mdp.start, [0.5, 0.5, 0.0])
    for bad in ((), ((0.2, 0.6),), (((0.2, 1.6), (0.5, 0.9)),)):
        with pytest.raises(InputError, match="p: got"):
            make("features", p=bad)
