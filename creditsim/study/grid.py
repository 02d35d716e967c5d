"""From a study to cells: the grid expanded, and every cell checked before the first one runs."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from creditsim.errors import InputError, TooLargeError
from creditsim.exact.compositions import LIMIT, count_compositions
from creditsim.exact.trajectories import enumerate_trajectories
from creditsim.registry import parse_spec
from creditsim.study.cells import Cell
from creditsim.study.entries import parse_entry, parse_policy
from creditsim.study.learning import config_of
from creditsim.study.memory import Footprint, footprint
from creditsim.study.setting import Setting, environment_entry, make_environment
from creditsim.study.spec import LearningStudy, VarianceStudy
from creditsim.study.variance import default_chunk

__all__ = ["fit_memory", "learning_cells", "try_out", "variance_cells"]


def variance_cells(study: VarianceStudy) -> list[Cell]:
    """One cell per estimator, environment, horizon, group size and policy, every part found and matched.

    Equal cells are made once. Errors: InputError (unknown names and parameters, numbers out of range),
    MissingColumnError (a column that neither the design nor the signals make), TooLargeError (exact moments of more
    compositions than can be enumerated).
    """
    study.check()
    if study.exact and str(parse_entry(study.design, "design")) != "independent":
        raise InputError("exact", "true", f"false with design {study.design!r}; enumeration is of independent groups")
    estimators = [parse_entry(text, "estimators") for text in study.estimators]
    policies = [parse_policy(text) for text in study.policies]
    cells: dict[str, Cell] = {}
    for text in study.environments:
        environment = environment_entry(text)
        own = make_environment(str(environment)).horizon
        grid = itertools.product(study.horizons or (own,), policies, study.group_sizes, estimators)
        for horizon, policy, group_size, estimator in grid:
            spec = {
                "estimator": str(estimator), "environment": str(environment), "horizon": horizon,
                "policy": str(policy), "group_size": group_size, "groups": study.groups,
                "design": str(parse_entry(study.design, "design")),
                "signals": [str(parse_entry(text, "signals")) for text in study.signals],
                "by": study.by, "replicates": study.replicates, "precision": study.precision, "alpha": study.alpha,
                "gamma": study.gamma, "exact": study.exact,
            }  # fmt: skip
            title = f"{estimator} {environment} H={horizon} G={group_size} {policy}"
            sources = _sources(spec)
            cell = Cell("creditsim.study.variance:run_cell", spec, study.seed, sources, title)
            cells[cell.id] = cell
    for cell in cells.values():
        setting = Setting.of(cell.spec, cell.seed)
        if study.exact:
            _check_enumerable(setting)
    return list(cells.values())


def learning_cells(study: LearningStudy) -> list[Cell]:
    """One cell per method, environment, group size and learning rate, every part found and matched."""
    from creditsim.train import planned

    study.check()
    cells: dict[str, Cell] = {}
    rates: Sequence[float | None] = study.learning_rates or (None,)
    grid = itertools.product(study.environments, study.group_sizes, rates, study.methods)
    for environment, group_size, rate, method in grid:
        spec = {
            "method": str(parse_entry(method, "methods")), "environment": str(environment_entry(environment)),
            "group_size": group_size, "groups": study.groups, "learning_rate": rate, "updates": study.updates,
            "replicates": study.replicates, "alpha": study.alpha,
        }  # fmt: skip
        config = config_of(spec, study.seed)
        config.check()
        plan, _ = planned(config)
        make_environment(spec["environment"])
        parts = [plan.design, *plan.signals, plan.estimator, plan.update]
        sources = modules_beside([bound.part.function.__module__ for bound in parts if bound.part.paper == "user"])
        title = f"{spec['method']} {spec['environment']} G={group_size}" + (f" rate={rate:g}" if rate else "")
        cell = Cell("creditsim.study.learning:run_cell", spec, study.seed, sources, title)
        cells[cell.id] = cell
    return list(cells.values())


def try_out(cells: Iterable[Cell]) -> dict[str, Footprint]:
    """Run two small chunks of each variance cell and measure their memory; by cell id.

    Cells that differ in policy only are tried once: what an estimator and its memory depend on is the same.
    """
    known: dict[str, Footprint] = {}
    found: dict[str, Footprint] = {}
    for cell in cells:
        kind = repr(sorted((name, repr(value)) for name, value in cell.spec.items() if name != "policy"))
        if kind not in known:
            known[kind] = footprint(Setting.of(cell.spec, cell.seed))
        found[cell.id] = known[kind]
    return found


def fit_memory(cells: Iterable[Cell], footprints: Mapping[str, Footprint], limit: int) -> tuple[list[Cell], int]:
    """Cells with the chunks that keep each below `limit` bytes, and the most bytes any of them is predicted to need.

    Error: TooLargeError for a cell that needs more than `limit` for a single replicate.
    """
    fitted, most = [], 0
    for cell in cells:
        need = footprints[cell.id]
        if need.bytes(1) > limit:
            got = f"{need.bytes(1) / 2**20:.0f} MiB for one replicate of {cell.title}"
            raise TooLargeError("memory", got, f"{limit / 2**20:.0f} MiB; raise --memory or make the cell smaller")
        chunk = min(default_chunk(Setting.of(cell.spec, cell.seed)), need.largest_chunk(limit), cell.spec["replicates"])
        most = max(most, need.bytes(chunk))
        fitted.append(replace(cell, options={"chunk": chunk}))
    return fitted, most


def _check_enumerable(setting: Setting) -> None:
    law = enumerate_trajectories(setting.mdp, setting.policy.probabilities(setting.mdp))
    sizes = [last - first for first, last, _ in law.ranges]
    size, groups = setting.spec["group_size"], setting.spec["groups"]
    count = count_compositions(sizes, size, groups, setting.symmetric)
    if count > LIMIT:
        what = f"exact moments on {setting.spec['environment']} with group size {size}"
        raise TooLargeError(what, f"{count:,} compositions", f"at most {LIMIT:,}; a smaller group or environment")


def _sources(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Modules of the user's own parts, whose edits must give new results."""
    texts = [spec["estimator"], spec["design"], *spec["signals"]]
    names = [parse_spec(parse_entry(text, "estimators").name)[0] for text in texts]
    return modules_beside([name.partition(":")[0] for name in names if ":" in name])


def modules_beside(modules: Iterable[str]) -> tuple[str, ...]:
    """The modules named and all that they use from the folder they lie in (or below), directly or not."""
    found: set[str] = set()
    for name in modules:
        if str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            module = importlib.import_module(name)
        except Exception as error:  # somebody else's file may fail in any way
            raise InputError("module", repr(name), f"one that imports ({type(error).__name__}: {error})") from None
        if getattr(module, "__file__", None) is None:
            raise InputError("module", repr(name), "one with a source file")
        _follow(module, Path(str(module.__file__)).resolve().parent, found)
    return tuple(sorted(found))


def _follow(module: ModuleType, folder: Path, found: set[str]) -> None:
    if module.__name__ in found:
        return
    found.add(module.__name__)
    for value in list(vars(module).values()):
        name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        other = sys.modules.get(name) if isinstance(name, str) else None
        if other is not None and _is_beside(other, folder):
            _follow(other, folder, found)


def _is_beside(module: ModuleType, folder: Path) -> bool:
    """Whether a module is the user's own: in the folder, not of this library (hashed anyway), not installed."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.split(".")[0] == "creditsim":
        return False
    path = Path(file).resolve()
    return path.is_relative_to(folder) and not path.is_relative_to(Path(sys.prefix).resolve())
