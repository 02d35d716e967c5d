"""One setting of a variance study made ready to run: environment, policy, parts, exact answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from creditsim.errors import CreditsimError, InputError
from creditsim.estimators.base import EstimatorPart, Pairs, credit
from creditsim.exact import Solution, policy_gradient, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP, make
from creditsim.mdp.rows import TablePolicy
from creditsim.methods import Method, Use
from creditsim.plan import Plan, check
from creditsim.rollouts import Rollouts
from creditsim.sampling.sampler import Sampler
from creditsim.sampling.table import TableSampler
from creditsim.sampling.tables import most_rows
from creditsim.signal_tables import signal_tables
from creditsim.study.entries import Entry, parse_entry, parse_policy
from creditsim.updates.optimiser import ascend

__all__ = ["Setting", "environment_entry", "make_environment", "make_policy"]


def environment_entry(text: str) -> Entry:
    """Read an environment of the grid; a name without a size means the small one."""
    entry = parse_entry(text, "environments")
    return entry if "@" in entry.name else replace(entry, name=f"{entry.name}@small")


def make_environment(text: str, horizon: int | None = None) -> TabularMDP:
    """Make an environment of the grid, with another horizon where one is given."""
    entry = environment_entry(text)
    mdp = make(entry.name, **entry.params)
    return mdp if horizon is None else replace(mdp, horizon=horizon)


def make_policy(text: str, mdp: TabularMDP) -> SoftmaxPolicy:
    """Make a policy of the grid: a softmax table over what the policy sees; see `parse_policy`.

    `trained` climbs the exact gradient, so it is the same whatever is studied on it.
    """
    entry = parse_policy(text)
    if entry.kind == "random":
        seed, scale = entry.numbers
        policy = SoftmaxPolicy.random(mdp, int(seed), scale)
    else:
        policy = SoftmaxPolicy.uniform(mdp)
        if entry.kind == "trained":
            updates, rate = entry.numbers
            state: dict[str, Any] = {}
            for _ in range(int(updates)):
                gradient = policy_gradient(mdp, policy)
                theta, state = ascend(policy.theta[None], gradient[None], state, learning_rate=rate, optimiser="adam")
                policy = policy.with_theta(theta[0])
    return replace(policy, temperature=entry.temperature)


@dataclass(frozen=True, eq=False)
class Setting:
    """Environment, policy and checked parts of one cell of a variance study; `spec` is the cell's."""

    spec: Mapping[str, Any]
    seed: int
    mdp: TabularMDP
    policy: SoftmaxPolicy
    plan: Plan

    @classmethod
    def of(cls, spec: Mapping[str, Any], seed: int) -> Setting:
        """Find every part and match what each needs with what those before it make; errors as in `plan.check`."""
        mdp = make_environment(spec["environment"], spec["horizon"])
        return cls.on(spec, seed, mdp, make_policy(spec["policy"], mdp))

    @classmethod
    def on(cls, spec: Mapping[str, Any], seed: int, mdp: TabularMDP, policy: SoftmaxPolicy) -> Setting:
        """A setting on a given table and policy, which the spec need not name."""
        return cls(spec, seed, mdp, policy, _planned(spec))

    @cached_property
    def solution(self) -> Solution:
        """Exact values of the policy."""
        return solve(self.mdp, self.policy.probabilities(self.mdp), self.spec["gamma"])

    @cached_property
    def gradient(self) -> np.ndarray:
        """(P,) exact gradient of J."""
        return policy_gradient(self.mdp, self.policy, self.spec["gamma"])

    @property
    def n_entries(self) -> int:
        """S * A."""
        return self.mdp.n_states * self.mdp.n_actions

    @property
    def n_keys(self) -> int:
        """Number of keys that rows may have."""
        return self.n_entries * (self.mdp.horizon if self.spec["by"] == "time" else 1)

    @cached_property
    def rows_per_replicate(self) -> float:
        """Expected rows that the independent design generates for one batch; others are in the same range."""
        return float(self.solution.occupancy.sum()) * self.spec["groups"] * self.spec["group_size"]

    def draw(self, first: int, count: int) -> Rollouts:
        """Rollouts of the replicates `first`, `first` + 1, ...; the same bits however they are cut into calls."""
        sampler = TableSampler(
            self.mdp, seed=self.seed, batches=count, groups=self.spec["groups"], first_batch=first,
            record=self.plan.record,
        )  # fmt: skip
        return self.design(sampler, first)

    def design(self, sampler: Sampler, first: int = 0) -> Rollouts:
        """What the design draws by a sampler, with the columns of the signals."""
        state: dict[str, Any] = {
            "replicate": first + np.arange(sampler.batches), "seed": self.seed, "horizon": most_rows(self.mdp),
        }  # fmt: skip
        rollouts, state = self.plan.design(sampler, self.policy, state)
        return self.signalled(rollouts, state or {})

    def signalled(self, rollouts: Rollouts, state: dict[str, Any] | None = None) -> Rollouts:
        """Rollouts with the columns that the signals make, from a fresh state where none is given."""
        if not self.plan.signals:
            return rollouts
        one = signal_tables(self.plan.tables, TablePolicy(self.policy.with_theta(self.policy.theta[None]), self.mdp))
        n = rollouts.n_batches
        tables = {
            name: np.broadcast_to(table, (n, *table.shape[1:])) if name == "oracle_value" else table
            for name, table in one.items()
        }
        state = {
            "replicate": np.arange(n),
            "seed": self.seed,
            "horizon": most_rows(self.mdp),
            **(state or {}),
            **tables,
        }
        for bound in self.plan.signals:
            columns, state = bound(rollouts, state)
            rollouts = rollouts.with_columns(**columns)
        return rollouts

    def credit(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) advantages; a user's own estimator that raises is told of in one line."""
        bound = self.plan.estimator
        try:
            result = credit(rollouts, bound)
        except (CreditsimError, MemoryError):
            raise
        except Exception as error:
            if bound.part.paper != "user":
                raise
            raise InputError(f"estimator {bound.part.name}", f"{type(error).__name__}: {error}", "no error") from error
        values = result.advantage(rollouts) if isinstance(result, Pairs) else result["advantage"]
        return np.asarray(values, np.float64)

    def keys(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) key of each row, below `n_keys`."""
        entry = self.entries(rollouts)
        return rollouts.step * self.n_entries + entry if self.spec["by"] == "time" else entry

    def entries(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) state * A + action."""
        return rollouts.column("state", "a study") * self.mdp.n_actions + rollouts.action

    @property
    def symmetric(self) -> bool:
        """Whether the estimator treats the trajectories of a group alike."""
        part = self.plan.estimator.part
        return isinstance(part, EstimatorPart) and part.symmetric


def _planned(spec: Mapping[str, Any]) -> Plan:
    estimator, design = parse_entry(spec["estimator"], "estimators"), parse_entry(spec["design"], "design")
    signals = [parse_entry(text, "signals") for text in spec["signals"]]
    if "group_size" in design.params:
        raise InputError("design", f"group_size in {str(design)!r}", "group_sizes of the study")
    method = Method(
        name="study", title="", paper="", evidence={}, regime="",
        design=Use(design.name, {**design.params, "group_size": spec["group_size"]}),
        signals=tuple(Use(entry.name, entry.params) for entry in signals),
        estimator=Use(estimator.name, estimator.params),
        update=Use("reinforce"),
    )  # fmt: skip
    return check(method)
