"""Curves, bands, rates and bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from creditsim.bandits.bounds import kl_ucb_pulls, lai_robbins, three_spo_waste, ucb1_pulls, ucb1_regret
from creditsim.bandits.instances import bernoulli, drifting, gaussian
from creditsim.bandits.regret import curve, growth, least_pulls, lock_in, rate
from creditsim.bandits.simulate import simulate
from creditsim.errors import InputError

P = bernoulli((0.3, 0.5))
TIMES = np.array([10, 30, 100, 300, 1000])


@pytest.fixture(scope="module")
def uniform():
    return simulate(P, "uniform", horizon=1000, replications=300, objective="min", record_times=TIMES)


def test_bands_hold_at_all_times_and_narrow_ones_do_not(uniform) -> None:
    for band in ("simultaneous", "anytime"):
        found = curve(uniform, "waste", alpha=1e-6, band=band)
        assert ((found.low <= TIMES / 2) & (TIMES / 2 <= found.high)).all()
        assert not ((found.low <= TIMES / 1.8) & (TIMES / 1.8 <= found.high)).any() or band == "anytime"
        np.testing.assert_allclose(found.mean, uniform.waste.mean(axis=0))
        assert (np.diff(found.quantiles, axis=0) >= 0).all()
    wide = curve(uniform, alpha=0.05, band="anytime")
    fixed = curve(uniform, alpha=0.05)
    assert (wide.high - wide.low > fixed.high - fixed.low).all()


def test_rates_tell_linear_from_logarithmic(uniform) -> None:
    assert rate(uniform, "waste", alpha=1e-6).exponent.contains(1.0)
    assert not rate(uniform, "waste", alpha=1e-6).exponent.contains(0.5)
    assert growth(uniform, "waste")[0].model in ("linear", "power")
    late = simulate(
        P, "3spo_forced", horizon=3000, replications=300, objective="min", charge_initial=False, clock="decisions"
    )
    assert growth(late, "waste", first=30)[0].model == "logarithm"
    assert rate(late, "waste", first=300, alpha=1e-6).exponent.high < 0.5


def test_lock_in_and_least_pulls(uniform) -> None:
    run = simulate(P, "3spo_proportional", horizon=500, replications=300, objective="min", charge_initial=False)
    found = lock_in(run, alpha=1e-6)
    assert found.low < run.lock_in < found.high and run.lock_in > 0.1
    assert least_pulls(run).min() < 16 / 0.2**2 < least_pulls(uniform).min() * 100
    with pytest.raises(InputError):
        least_pulls(simulate(P, "uniform", horizon=1, replications=1))
    with pytest.raises(InputError):
        curve(run, "regrets")


def test_bounds_by_hand() -> None:
    d = 0.5 * math.log(0.5 / 0.3) + 0.5 * math.log(0.5 / 0.7)
    assert lai_robbins(P, "min", waste=True) == pytest.approx(1 / d)
    assert lai_robbins(P, "min", waste=True) == pytest.approx(11.5, abs=0.05)
    assert lai_robbins(bernoulli((0.05, 0.1)), "min", waste=True) == pytest.approx(48.4, abs=0.05)
    assert lai_robbins(gaussian((0.0, 2.0), deviation=3.0)) == pytest.approx(2.0 / (4.0 / 18.0))
    at = np.array([100.0])
    assert ucb1_pulls(P, at)[0] == pytest.approx(8 * math.log(100) / 0.04 + 1 + math.pi**2 / 3)
    assert ucb1_regret(P, at)[0] == pytest.approx(8 * math.log(100) / 0.2 + (1 + math.pi**2 / 3) * 0.2)
    assert three_spo_waste(P, at, alpha=50)[0] == pytest.approx(1 + math.log(100) + 4 / math.expm1(0.005))
    assert three_spo_waste(P, at, alpha=2)[0] == pytest.approx(100**0.8 / 0.8 + 4 / math.expm1(0.005))
    late = np.array([1e3, 1e30, 1e300])
    per_log = kl_ucb_pulls(P, late, "min") / np.log(late)
    assert (np.diff(per_log) < 0).all() and per_log[-1] > lai_robbins(P, "min", waste=True)
    with pytest.raises(InputError):
        lai_robbins(drifting((0.1, 0.2), (0.2, 0.1), over=3))


def test_ucb1_regret_is_known() -> None:
    run = simulate(
        bernoulli(np.linspace(0.9, 0.1, 10)), "ucb1", horizon=10_000, replications=500, record_times=[100, 1000, 10_000]
    )
    error = run.regret.std(axis=0, ddof=1) / math.sqrt(500)
    assert (
        np.abs(run.regret.mean(axis=0) - [27.894, 142.78, 372.21]) < 5 * error + 0.002 * run.regret.mean(axis=0)
    ).all()
