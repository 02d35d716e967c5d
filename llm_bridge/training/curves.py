"""Learning curves from one warm start: several methods, several seeds, one cell of a study each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from creditsim.configs import load
from creditsim.rng import derive_seed
from creditsim.segments import segment_mean
from creditsim.study.cells import Cell, CellResult
from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.curve_settings import CurveSettings, method_of

__all__ = ["curve_cells", "run_cell", "warm_model"]

_SOURCES = tuple(
    f"llm_bridge.{name}"
    for name in (
        "training.curves", "training.curve_settings", "training.loop", "training.step", "training.imitation",
        "collect.sampler",
    )
)  # fmt: skip


def curve_cells(settings: CurveSettings, folder: Path | None = None) -> list[Cell]:
    """One cell per seed and method, seeds outermost; the warm model is kept in `folder` and made once."""
    settings.check()
    shared = {name: value for name, value in asdict(settings).items() if name not in ("methods", "seeds")}
    options = {} if folder is None else {"folder": str(folder)}
    return [
        Cell(
            "llm_bridge.training.curves:run_cell",
            {"method": method, "iterations": iterations, **shared},
            seed, _SOURCES, f"{method}, seed {seed}", options,
        )
        for seed in range(settings.seeds)
        for method, iterations in map(method_of, settings.methods)
    ]  # fmt: skip


def run_cell(spec: Mapping[str, Any], seed: int, folder: str | None = None) -> CellResult:
    """Train once from the warm model and measure success on the tasks trained on, answers drawn at temperature 1.

    One row per measurement: `method`, `seed`, `iteration`, `steps` (environment steps drawn for updates so far),
    `success`, `episodes` behind it, `what`: curve (one episode of each task) | ends (`episodes` of each task, before
    and after). Random numbers before the first update depend on the seed alone, so methods are paired by it.
    """
    import torch

    from llm_bridge.training.loop import train_text

    torch.set_num_threads(1)  # sums of one thread are the same on every machine with its instructions
    settings = load(CurveSettings, {name: spec[name] for name in spec if name not in ("method", "iterations")})
    with tempfile.TemporaryDirectory() as own:
        model = warm_model(settings, Path(folder or own))
        config = _config(settings, str(model))
        every = max(1, spec["iterations"] // settings.points)
        config = replace(
            config, method=spec["method"], iterations=spec["iterations"], seed=seed, eval_every=every,
            eval_splits=("train",), eval_temperature=1.0,
        )  # fmt: skip
        before = _success(config, None, settings.episodes)
        run = train_text(config)
    after = _success(config, run.policy, settings.episodes)
    steps, rows = 0, []
    for line in run.log:
        if line["phase"] == "update":
            steps += line["rows"]
        elif line["phase"] == "evaluation":
            found = line["evaluation"]["train"]
            rows.append(("curve", line["iteration"], steps, found["success"], found["tasks"]))
    rows = [("ends", 0, 0, *before), *rows, ("ends", spec["iterations"], steps, *after)]
    names = ("what", "iteration", "steps", "success", "episodes")
    columns = {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    labels = {"method": np.full(len(rows), spec["method"], object), "seed": np.full(len(rows), seed)}
    columns = {**labels, **columns, "success": columns["success"].astype(np.float64)}
    return CellResult(columns, {"torch": torch.__version__})


def warm_model(settings: CurveSettings, folder: Path) -> Path:
    """The folder of a tiny model that has imitated solutions; made once, whole or not at all."""
    from llm_bridge.envs.base import make_tasks
    from llm_bridge.envs.fleet import Fleet
    from llm_bridge.policies.load import save_model
    from llm_bridge.training.imitation import imitate, solutions
    from llm_bridge.training.loop import policy_of

    place = folder / "warm"
    if place.exists():
        return place
    config = _config(settings, "tiny")
    tasks = make_tasks(config.env)
    policy, words = policy_of(config, tasks)
    with Fleet(tasks, config.slots) as fleet:
        pairs = solutions(
            policy, fleet, words, split=config.split, episodes=settings.warm_episodes,
            seed=derive_seed(0, "solutions"), max_steps=None,
        )  # fmt: skip
    imitate(
        policy, pairs, epochs=settings.warm_epochs, batch=config.warm_batch, learning_rate=config.warm_learning_rate,
        grad_clip=config.grad_clip, micro_tokens=config.micro_tokens, seed=0,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        save_model(policy.language.model, policy.language.tokenizer, made)
        try:
            os.rename(made, place)
        except OSError:  # another process was first; its model is the same
            return place
        Path(made).mkdir()
    return place


def _config(settings: CurveSettings, model: str) -> TextTrainConfig:
    config = TextTrainConfig(
        env=settings.env, groups=settings.groups, group_size=settings.group_size, learning_rate=settings.learning_rate
    )
    return replace(config, policy=replace(config.policy, model=model))


def _success(config: TextTrainConfig, policy: Any, episodes: int) -> tuple[float, int]:
    """Success on every task of the train split, and how many episodes that is; None: the policy as it begins."""
    from llm_bridge.collect.records import with_outcomes
    from llm_bridge.collect.sampler import TextSampler
    from llm_bridge.envs.base import make_tasks
    from llm_bridge.envs.fleet import Fleet
    from llm_bridge.training.loop import policy_of

    tasks = make_tasks(config.env)
    names = tasks.splits()[config.split]
    begins, words = policy_of(config, tasks) if policy is None else (policy, policy_of(config, tasks)[1])
    with Fleet(tasks, config.slots) as fleet:
        sampler = TextSampler(
            fleet, words, tasks=names, groups=len(names), shuffle=False, max_steps=config.max_steps,
            seed=derive_seed(config.seed, "ends"),
        )  # fmt: skip
        drawn = with_outcomes(sampler.extend(copies=episodes, policy=begins), sampler.records, sampler.interner)
    won = drawn.trajectory_columns["success"].astype(np.float64)
    return float(segment_mean(won, drawn.group, len(names)).mean()), won.size
