"""What a bandit is: K arms with their means, an objective, and the gaps that a rule pays for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose

__all__ = ["OBJECTIVES", "Bandit", "Objective", "bernoulli", "drifting", "gaussian"]

Objective = Literal["max", "min"]
OBJECTIVES: tuple[Objective, ...] = ("max", "min")


@dataclass(frozen=True, eq=False)
class Bandit:
    """K arms; made by `bernoulli`, `gaussian` or `drifting`.

    `mean` (K,) at the start, `final` (K,) after `over` pulls, with a straight line between (`over` = 0: no drift);
    `deviation` of a Gaussian reward, 0 for rewards 0 and 1. Rules maximise a *value*: the reward for objective "max";
    for "min" the failure 1 - reward of a Bernoulli arm, minus the reward of a Gaussian one.
    """

    mean: np.ndarray
    final: np.ndarray = field(default_factory=lambda: np.zeros(0))
    over: int = 0
    deviation: float = 0.0

    @property
    def arms(self) -> int:
        """K."""
        return self.mean.size

    @property
    def binary(self) -> bool:
        """Whether rewards are 0 and 1."""
        return self.deviation == 0.0

    @property
    def drifts(self) -> bool:
        """Whether the means move."""
        return self.over > 0

    def value(self, objective: str = "max", *, at_end: bool = False) -> np.ndarray:
        """(K,) expected values that a rule maximises, at the start or after the drift."""
        mean = self.final if at_end and self.drifts else self.mean
        if choose("objective", objective, OBJECTIVES) == "max":
            return mean.copy()
        return 1.0 - mean if self.binary else -mean

    def best(self, objective: str = "max") -> int:
        """The arm that should get every pull, at the start. Error: InputError where two arms share that place."""
        value = self.value(objective)
        if np.count_nonzero(value == value.max()) > 1:
            raise InputError(
                "mean", f"{self.mean[value.argmax()]:g} twice at the {objective}", "a gap > 0 to the best arm"
            )
        return int(value.argmax())

    def gaps(self, objective: str = "max") -> np.ndarray:
        """(K,) value of the best arm less each arm's, at the start; in units of reward."""
        value = self.value(objective)
        return value.max() - value

    def gap(self, objective: str = "max") -> float:
        """Smallest positive gap."""
        gaps = self.gaps(objective)
        return float(gaps[gaps > 0].min())


def _means(name: str, mean: Sequence[float] | np.ndarray, *, unit: bool) -> np.ndarray:
    values = np.array(mean, np.float64)
    if values.ndim != 1 or values.size < 2:
        raise InputError(name, f"{values.size} arms", "a list of K >= 2 means")
    if unit and not ((values >= 0) & (values <= 1)).all():
        bad = values[~((values >= 0) & (values <= 1))][0]
        raise InputError(name, f"{bad:g}", "success probabilities in [0, 1]")
    if not np.isfinite(values).all():
        raise InputError(name, "NaN or infinity", "finite means")
    if values.max() == values.min():
        raise InputError(name, f"{values[0]:g} for every arm", "means that differ")
    values.setflags(write=False)
    return values


def bernoulli(p: Sequence[float] | np.ndarray) -> Bandit:
    """Arms that pay 1 with probability p_a, else 0.

    Errors: InputError for a probability outside [0, 1], K = 1 and arms that are all alike.
    """
    return Bandit(_means("p", p, unit=True))


def gaussian(mean: Sequence[float] | np.ndarray, *, deviation: float = 1.0) -> Bandit:
    """Arms with normal rewards of mean m_a and one standard deviation. Errors as in `bernoulli`; deviation <= 0."""
    if not (np.isfinite(deviation) and deviation > 0):
        raise InputError("deviation", deviation, "a number > 0")
    return Bandit(_means("mean", mean, unit=False), deviation=float(deviation))


def drifting(p: Sequence[float] | np.ndarray, final: Sequence[float] | np.ndarray, *, over: int) -> Bandit:
    """Bernoulli arms whose probabilities move from `p` to `final` in a straight line during `over` pulls, then stay.

    Regret and waste are counted against the arm that is best at each pull. Errors as in `bernoulli`; over < 1.
    """
    first, last = _means("p", p, unit=True), _means("final", final, unit=True)
    if first.size != last.size:
        raise InputError("final", f"{last.size} arms", f"{first.size}, as many as p")
    if over < 1:
        raise InputError("over", over, "an integer >= 1")
    return Bandit(first, last, int(over))
