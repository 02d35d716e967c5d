"""The loop that runs a method on tables: design, signals, estimator, update, and the exact return after every update.

Replicates run side by side, in blocks that share nothing: a block is trained as one batch of rollouts (`train_block`),
and blocks run on threads of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from creditsim.configs import parse_value
from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.exact.dp import optimal
from creditsim.mdp import TabularMDP, make, with_time
from creditsim.methods import METHODS, Method, Use
from creditsim.plan import Plan, check
from creditsim.registry import parse_spec
from creditsim.sampling.tables import most_rows
from creditsim.schedules import as_schedule
from creditsim.threads import side_by_side, workers
from creditsim.train_block import Block, Curves, at_update
from creditsim.train_config import TrainConfig

__all__ = ["TrainConfig", "TrainResult", "planned", "train"]

_MOST_ROWS = 1 << 18
"""Rows of one update that a block may have: what is gained by larger ones no longer pays for the memory."""
_LEAST_ROWS = 1 << 15
"""Rows below which a block is not cut for the sake of another thread: its fixed work would be most of it."""


@dataclass(frozen=True, eq=False)
class TrainResult(Curves):
    """What a run left: exact and sampled curves, and the policies it ended with; U updates made, R replicates."""

    config: TrainConfig
    plan: Plan
    mdp: TabularMDP
    optimum: float
    """Exact return of the best policy that sees the hidden state and the step; under aliasing out of reach."""
    theta: np.ndarray
    """(R, P) parameters in the end; of a replicate that failed, those before it did."""
    failed_at: np.ndarray
    """(R,) the update, 1 to U, in which advantages or parameters became NaN or infinite; -1 where none did."""


def train(config: TrainConfig, *, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> TrainResult:
    """Run a method from the uniform softmax policy and return its curves; the same bits for the same config.

    A replicate's numbers depend on its number and the seed, not on which replicates run beside it nor on threads.
    `progress` wraps the range of updates. A replicate whose advantages or parameters become NaN or infinite stops
    there, and its curves are NaN from that update on. Errors come before the first rollout: unknown names and
    parameters, numbers out of range, parts that do not fit each other, too few groups, schedules that end too early.
    """
    config.check()
    plan, env_params = planned(config)
    env = config.env if "@" in config.env else f"{config.env}@{config.size}"
    mdp = make(env, **env_params)
    mdp = with_time(mdp) if plan.method.timed else mdp
    curves = Curves.empty(config.updates, config.replicates)
    spans = _parts(config.replicates, config.groups * config.group_size * most_rows(mdp), workers(config.threads))
    if len(spans) > 1:
        _keep_memory()
    blocks = [Block(config, plan, mdp, curves, span) for span in spans]
    failed_at = np.full(config.replicates, -1)
    made = 0
    with side_by_side(config.threads, len(blocks)) as run:
        for number in progress(range(config.updates)):
            run(lambda block, number=number: block.advance(number), blocks)
            made = number + 1
            failed_at = np.concatenate([block.failed_at for block in blocks])
            if config.transitions is not None:
                enough = curves.generated[:made].sum(axis=0) >= config.transitions
                if (enough | (failed_at >= 0)).all():
                    break
    theta = np.concatenate([block.learner.theta for block in blocks])
    return TrainResult(
        **vars(curves.upto(made)), config=config, plan=plan, mdp=mdp, optimum=optimal(mdp).j, theta=theta,
        failed_at=failed_at,
    )  # fmt: skip


def _parts(replicates: int, rows: int, threads: int) -> list[slice]:
    """Replicates of each block, as equal as can be, for so many rows of an update in each replicate.

    One for each thread, fewer where they would be small, more (a multiple) where they would be large.
    """
    total = replicates * rows
    number = min(threads, max(1, total // _LEAST_ROWS))
    number = min(number * -(-total // (number * _MOST_ROWS)), replicates)
    edges = [replicates * i // number for i in range(number + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _keep_memory() -> None:
    # glibc gives freed memory back to the system until a process has released something larger than that; from then on
    # arrays of a block's size are reused. Page faults would cost as much as the work. Nothing here is ever touched.
    np.empty(30_000_000, np.int8)


def planned(config: TrainConfig) -> tuple[Plan, dict[str, Any]]:
    """Return the checked plan of a config, and the parameters it gives to the environment."""
    method = _overridden(METHODS[config.method], config)
    params = _params(config, method)
    env_params = params.pop("env", {})
    params.setdefault("design", {}).setdefault("group_size", config.group_size)
    if config.learning_rate is not None:
        params.setdefault("update", {}).setdefault("learning_rate", config.learning_rate)
    plan = check(method, **params)
    for bound in plan.parts:
        least = bound.part.options.get("min_groups", 1)
        if config.groups < least:
            what = f"{bound.part.kind} {bound.part.name} takes statistics over the groups of a batch"
            raise InputError("groups", config.groups, f"at least {least}; {what}")
        at_update(bound, max(config.updates - 1, 0), config.updates)
    return plan, env_params


def _overridden(method: Method, config: TrainConfig) -> Method:
    parts: dict[str, Any] = {}
    for kind in ("design", "estimator", "update"):
        spec = getattr(config, kind)
        if spec is not None:
            parts[kind] = _use(spec, getattr(method, kind))
    if config.signals is not None:
        parts["signals"] = tuple(Use(spec) for spec in config.signals)
    return method.replaced(**parts)


def _use(spec: str, own: Use) -> Use:
    # The method's own parameters go on to hold for the same part under another preset, not for another part.
    same = parse_spec(spec)[0] == parse_spec(own.spec)[0]
    return Use(spec, own.params if same and parse_spec(spec)[1] is None else {})


def _params(config: TrainConfig, method: Method) -> dict[str, dict[str, Any]]:
    """Read `part.name=value` strings into parameters by part."""
    parts = ["env", "design", "estimator", "update", *(parse_spec(use.spec)[0] for use in method.signals)]
    out: dict[str, dict[str, Any]] = {}
    for text in config.params:
        left, equals, right = text.partition("=")
        part, dot, name = left.strip().partition(".")
        if not (equals and dot and name and right.strip()):
            raise InputError("params", repr(text), "part.name=value, as in estimator.gamma=0.9")
        if part not in parts:
            raise UnknownNameError(
                "params", repr(text), " | ".join(f"{p}.name=value" for p in parts), nearest(part, parts)
            )
        field = f"params {part}.{name}"
        out.setdefault(part, {})[name] = as_schedule(parse_value(right.strip(), field), field)
    return out
