"""From a training config to parts that can run on text, every name found and every column made."""

from __future__ import annotations

from typing import Any

from creditsim.errors import InputError, MissingColumnError, choose
from creditsim.methods import METHODS, Method, Use
from creditsim.plan import Plan, check
from creditsim.registry import Bound, parse_spec
from creditsim.schedules import Schedule, as_schedule, resolve
from creditsim.updates.losses import LOSSES
from llm_bridge.assemble import part_params
from llm_bridge.training.config import TextTrainConfig

__all__ = ["RULES", "TEXT_TABLES", "at_iteration", "loss_of", "planned", "scheduled"]

RULES = ("surrogate", "reinforce")
"""Update rules that are a loss on log-probabilities, which is what autograd can push into a language model."""

TEXT_TABLES = ("observation_of_state",)
"""Tables that text needs not, because its rollouts have a column of the same."""


def planned(config: TextTrainConfig) -> tuple[Plan, dict[str, Any]]:
    """Return the checked plan of a config, and the parameters it gives to the environment.

    Errors, all before anything is loaded: unknown names and parameters, a column that nothing makes, a part that asks
    for tables of a TabularMDP, an update rule without a loss.
    """
    config.check()
    method = _overridden(METHODS[config.method], config)
    signals = [parse_spec(use.spec)[0] for use in method.signals]
    params = part_params(config.params, ("env", "design", "estimator", "update", *signals))
    env = dict(params["env"])
    given = {
        part: {name: as_schedule(value, f"params {part}.{name}") for name, value in values.items()}
        for part, values in params.items() if part != "env" and values
    }  # fmt: skip
    for name in ("learning_rate", "optimiser"):
        if name in given.get("update", {}):
            raise InputError(f"params update.{name}", "a value", "--learning-rate of AdamW: text has one optimiser")
    given.setdefault("design", {}).setdefault("group_size", config.group_size)
    plan = check(method, **given)
    for bound in plan.parts:
        asked = [name for name in bound.part.options.get("tables", ()) if name not in TEXT_TABLES]
        if asked:
            raise InputError(
                f"method {method.name}", f"{bound.part.kind} {bound.part.name}, which needs the table {asked[0]}",
                "parts that need no table: text has none",
            )  # fmt: skip
    if "sum_pi_squared" in plan.record:
        raise MissingColumnError(
            f"method {method.name}", "no column 'sum_pi_squared' on text", "columns that text rollouts have"
        )
    if plan.update.part.name not in RULES:
        raise InputError(f"method {method.name} update", repr(plan.update.part.name), f"{' | '.join(RULES)} on text")
    return plan, env


def scheduled(plan: Plan) -> bool:
    """Whether some parameter moves over the iterations, so that their number is part of what a run is."""
    return any(isinstance(value, Schedule) for bound in plan.parts for value in bound.params.values())


def _overridden(method: Method, config: TextTrainConfig) -> Method:
    parts = {kind: Use(spec) for kind in ("design", "estimator", "update") if (spec := getattr(config, kind))}
    if config.update is not None:
        choose("update", parse_spec(config.update)[0], RULES)
    return method.replaced(**parts)


def at_iteration(bound: Bound, number: int, iterations: int) -> Bound:
    """The part with its schedules resolved for one update."""
    return bound.part.bind(None, **resolve(bound.params, number, iterations))


def loss_of(update: Bound, horizon: int) -> Bound:
    """The loss of an update rule with what the rule overrides; `reinforce` is the loss of that name."""
    if update.part.name == "reinforce":
        return LOSSES.bind("reinforce")
    names = ("clip_low", "clip_high", "aggregation", "norm")
    given = {name: update.params[name] for name in names if update.params[name] is not None}
    bound = LOSSES.bind(update.params["loss"], **given)
    if str(bound.params.get("aggregation", "")).endswith("norm") and bound.params.get("norm") is None:
        bound = bound.part.bind(None, **{**bound.params, "norm": float(horizon)})
    return bound
