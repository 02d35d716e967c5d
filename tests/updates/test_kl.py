from itertools import product

import numpy as np
import pytest
import torch

from creditsim.errors import InputError, UnknownNameError
from creditsim.updates.kl import KL_ESTIMATORS, kl_estimate, kl_loss

KINDS = ("k1", "abs", "k2", "k3")


def by_torch(kind: str, logp: torch.Tensor, ref: torch.Tensor) -> torch.Tensor:
    d = logp - ref
    if kind == "k1":
        return d
    if kind == "abs":
        return d.abs()
    if kind == "k2":
        return 0.5 * d**2
    return torch.clamp(torch.exp(torch.clamp(-d, -20, 20)) - torch.clamp(-d, -20, 20) - 1, -10, 10)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_autograd(kind: str) -> None:
    ref = np.random.default_rng(0).normal(size=200)
    logp = ref + np.linspace(-30, 30, 200)
    there = torch.tensor(logp, requires_grad=True)
    by_torch(kind, there, torch.from_numpy(ref)).sum().backward()
    assert there.grad is not None
    value, slope = kl_estimate(logp, ref, kind)
    want = by_torch(kind, torch.from_numpy(logp), torch.from_numpy(ref)).numpy()
    assert value == pytest.approx(want, abs=1e-12)
    assert slope == pytest.approx(there.grad.numpy(), abs=1e-12)
    # Broken twin: the log-ratio the wrong way round.
    back, _ = kl_estimate(ref, logp, kind)
    assert kind in ("abs", "k2") or np.abs(back - value).max() > 1.0


def test_by_hand() -> None:
    d = np.array([-3.0, -1.0, 0.0, 2.0, 12.0])
    zero = np.zeros(5)
    assert kl_estimate(d, zero, "k1")[1].tolist() == [1.0] * 5
    assert kl_estimate(d, zero, "abs")[1].tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert kl_estimate(d, zero, "k2")[0].tolist() == [4.5, 0.5, 0.0, 2.0, 72.0]
    value, slope = kl_estimate(d, zero, "k3")
    # exp(3) - 4 is above 10 and cut, and so is exp(-12) + 11.
    assert value == pytest.approx([10.0, np.e - 2, 0.0, np.exp(-2) + 1, 10.0], abs=1e-14)
    assert slope == pytest.approx([0.0, 1 - np.e, 0.0, 1 - np.exp(-2), 0.0], abs=1e-14)
    assert np.isfinite(kl_estimate(np.array([1e6, -1e6]), np.zeros(2), "k3")[0]).all()


def test_expectations_under_the_policy() -> None:
    """k1 and k3 are unbiased, and the expected score-weighted k1 and expected k2 slope are the gradient of KL."""
    rng = np.random.default_rng(1)
    pi, ref = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5) * 5)
    kl = float((pi * np.log(pi / ref)).sum())
    for kind, unbiased in zip(KINDS, (True, False, False, True), strict=True):
        mean = float((pi * kl_estimate(np.log(pi), np.log(ref), kind)[0]).sum())
        assert (abs(mean - kl) < 1e-12) == unbiased
    exact = pi * (np.log(pi / ref) - kl)
    score = np.eye(5) - pi
    slope = kl_estimate(np.log(pi), np.log(ref), "k2")[1]
    assert (pi * slope) @ score == pytest.approx(exact, abs=1e-12)
    # Broken twin: pushed through the score, the slope of k1 has mean 0 whatever the divergence.
    assert np.abs((pi * 1.0) @ score).max() < 1e-12


@pytest.mark.parametrize(("kind", "dtype"), list(product(KINDS, (torch.float32, torch.float64))))
def test_torch_in_torch_out(kind: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    logp, ref = rng.normal(size=20), rng.normal(size=20)
    value, slope = kl_estimate(torch.from_numpy(logp).to(dtype), torch.from_numpy(ref).to(dtype), kind)
    here = kl_estimate(logp, ref, kind)
    assert value.dtype == slope.dtype == dtype
    bound = 0.0 if dtype == torch.float64 else 1e-5
    assert np.abs(value.numpy() - here[0]).max() <= bound and np.abs(slope.numpy() - here[1]).max() <= bound


def test_as_a_loss() -> None:
    logp, ref = np.array([-1.0, -2.0, -0.5]), np.array([-1.5, -1.0, -0.5])
    got = kl_loss(logp, ref, np.array([0, 1, 3]), np.array([1.0, 1.0, 0.0]), kind="k2", coefficient=0.5)
    assert got.value == pytest.approx(0.5 * (0.125 + 0.5) / 2, abs=1e-15)
    assert got.derivative == pytest.approx([0.5 * 0.5 / 2, -0.5 * 1.0 / 2, 0.0], abs=1e-15)
    assert got.metrics["kl"] == pytest.approx(0.3125, abs=1e-15)
    two = kl_loss(logp, ref, np.array([0, 1, 3]), batch=np.array([0, 1]), kind="k1", aggregation="seq-mean-token-sum")
    assert two.value == pytest.approx([0.5, -1.0], abs=1e-15)


def test_bad_input_is_one_line() -> None:
    with pytest.raises(UnknownNameError, match="k3"):
        kl_estimate(np.zeros(2), np.zeros(2), "k33")
    with pytest.raises(InputError, match="ref_log_prob"):
        kl_estimate(np.zeros(2), np.zeros(3))


def test_the_registry_tells_each_estimator() -> None:
    assert KL_ESTIMATORS.names() == sorted(KINDS)
    assert all(part.summary and part.paper for part in KL_ESTIMATORS)
