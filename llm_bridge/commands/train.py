"""`creditsim bridge train`: train a transformers policy on a text environment by any registered method."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from llm_bridge.training.config import TextTrainConfig
from llm_bridge.training.presets import PRESETS

if TYPE_CHECKING:
    from llm_bridge.training.loop import Run


@dataclass(frozen=True)
class Config(TextTrainConfig):
    """Train a transformers policy on a text environment: imitation of its solutions, then any registered method."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: str | None = None
    """Named settings to begin with: alfworld | webshop (as published for Qwen2.5-1.5B) | demo (minutes on a CPU)."""
    config: str | None = None
    """A TOML file of these options; options on the command line win."""
    device: str | None = None
    """cpu | cuda | cuda:NUMBER; default: --policy.device."""
    out: str | None = None
    """Folder of the run: settings, log, checkpoints, the final model."""
    resume: bool = False
    """Go on from the newest checkpoint in --out, or begin where there is none."""
    json: bool = False
    """Print JSON instead of the table, for scripts."""


def run(config: Config) -> int:
    """Train, print what the evaluations say; exit code 0."""
    from creditsim.errors import InputError
    from llm_bridge.training.loop import train_text

    if config.resume and config.out is None:
        raise InputError("resume", "no --out", "--out FOLDER, the run to go on with")
    out = None if config.out is None else Path(config.out)
    shown = _Shown(quiet=config.json)
    try:
        result = train_text(_settings(config), out, resume=config.resume, tell=shown.tell, progress=shown)
    except KeyboardInterrupt:
        if out is not None:
            print(f"creditsim: {out} holds whole checkpoints; --resume goes on from the newest", file=sys.stderr)
        raise
    summary = summarise(result)
    print(json.dumps({"out": config.out, **summary}, indent=2) if config.json else "\n".join(_lines(summary, out)))
    return 0


def _settings(config: Config) -> TextTrainConfig:
    names = [field.name for field in dataclasses.fields(TextTrainConfig)]
    values = {name: getattr(config, name) for name in names}
    if config.preset is not None:
        values["params"] = _params(PRESETS[config.preset], config)
    if config.device is not None:
        values["policy"] = dataclasses.replace(config.policy, device=config.device)
    return TextTrainConfig(**values)


def _params(preset: Mapping[str, Any], config: Config) -> tuple[str, ...]:
    """Parameters of a preset stay unless they are named again; those of its estimator go with its method."""
    given = {text.partition("=")[0].strip() for text in config.params if text not in preset["params"]}
    ours = config.method == preset["method"] and config.estimator is None
    base = [text for text in preset["params"] if ours or not text.startswith("estimator.")]
    base = [text for text in base if text.partition("=")[0] not in given]
    return (*base, *(text for text in config.params if text not in preset["params"]))


class _Shown:
    """A bar with the success of the moment, and a line for each evaluation."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._bar = quiet, None

    def __call__(self, numbers: Iterable[int]) -> Iterator[int]:
        from tqdm import tqdm

        # `disable=None` is tqdm's "off when not a terminal".
        with tqdm(numbers, disable=None, file=sys.stderr, leave=False) as self._bar:
            yield from self._bar

    def tell(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        if line["phase"] == "update" and self._bar is not None and line["success"] is not None:
            self._bar.set_postfix_str(f"success {line['success']:.2f}")
        if self._quiet:
            return
        if line["phase"] == "imitation":
            first, last = line["losses"][0], line["losses"][-1]
            self._say(f"imitation of {line['steps']} steps: loss {first:.3f} -> {last:.3f} nats")
        for split, found in line.get("evaluation", {}).items():
            self._say(f"iteration {line['iteration']:>4}  {split}: {told(found)}")

    def _say(self, text: str) -> None:
        from tqdm import tqdm

        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


def told(found: Mapping[str, Any]) -> str:
    """One evaluation in words."""
    level = f"{100 * (1 - found['alpha']):g} %"
    return (
        f"success {found['success']:.3f} [{found['low']:.3f}, {found['high']:.3f}] ({level}, {found['tasks']} tasks), "
        f"score {found['score']:.3f}, steps {found['steps']:.1f}"
    )


def summarise(result: Run) -> dict[str, Any]:
    """What a run has come to: its parts, the first and last evaluation of each split, and the change between them."""
    from llm_bridge.training.evaluate import gain

    updates = [line for line in result.log if line["phase"] == "update"]
    whole = sum(line["seconds"]["all"] for line in updates)
    summary: dict[str, Any] = {
        "method": result.config.method,
        "env": result.config.env,
        "iterations": len(updates),
        "seconds": whole,
        "overhead": sum(line["overhead"] * line["seconds"]["all"] for line in updates) / whole if whole else None,
        "evaluation": {},
    }
    found = result.evaluations
    for split in found[0]["evaluation"] if found else ():
        first, last = found[0]["evaluation"][split], found[-1]["evaluation"][split]
        change = gain(first["won"], last["won"], alpha=last["alpha"])
        ends = [float(change.estimate), float(change.low), float(change.high)]
        summary["evaluation"][split] = {"first": first, "last": last, "change": ends}
    return summary


def _lines(summary: Mapping[str, Any], out: Path | None) -> Iterator[str]:
    spent = f"{summary['seconds']:.0f} s"
    if summary["overhead"] is not None:
        spent += f", {100 * summary['overhead']:.1f} % of it neither model nor environment"
    yield f"{summary['method']} on {summary['env']}: {summary['iterations']} iterations in {spent}"
    for split, found in summary["evaluation"].items():
        change, low, high = found["change"]
        level = f"{100 * (1 - found['last']['alpha']):g} %"
        yield (
            f"{split}: success {found['first']['success']:.3f} -> {found['last']['success']:.3f}, "
            f"change {change:+.3f} [{low:+.3f}, {high:+.3f}] ({level}, same {found['last']['tasks']} tasks)"
        )
    if out is not None:
        yield f"{out}: config.toml, metrics.jsonl, metrics.parquet, checkpoints, model"
