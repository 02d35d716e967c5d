"""`creditsim bridge twin`: the digital twin of logged rollouts, and the order it puts estimators in."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditsim.errors import ExtraMissingError, choose

if TYPE_CHECKING:
    from llm_bridge.twin.empirical import Twin
    from llm_bridge.twin.rank import Ranked

_KINDS = ("png", "svg", "pdf")


@dataclass(frozen=True)
class Config:
    """Build the digital twin of logged rollouts and rank estimators on it, before any training."""

    rollouts: str
    """A Parquet file of rollouts, as `creditsim bridge rollout` writes it."""
    states: str = "anchor"
    """What a state of the twin is: anchor (what the agent saw) | hidden (the environment's own state, if logged)."""
    estimators: tuple[str, ...] = ("reinforce", "rloo", "grpo", "gigpo", "hgpo")
    """Estimators: name, name@preset or package.module:function, with parameters as in 'gigpo(step_weight=0.5)'."""
    signals: tuple[str, ...] = ()
    """Process signals that make columns some estimators need, in the order they run."""
    group_size: int = 8
    """Trajectories in a group."""
    groups: int = 1
    """Groups in the batch of one gradient."""
    replicates: int = 2000
    """Batches that each estimator is measured on."""
    criterion: str = "gradient_efficiency"
    """What decides: gradient_efficiency | gradient_mse | gradient_cosine | mse | sign_agreement."""
    bootstrap: int = 20
    """Twins of resampled logs, for how often each place comes out; 0: none."""
    action_prior: float = 0.0
    """Added to the count of every action logged under an observation."""
    alpha: float = 0.05
    """Error level of every interval."""
    seed: int = 0
    """Seed of all random numbers."""
    figure: str | None = None
    """Draw the ranking into this file: .png, .svg or .pdf."""
    json: bool = False
    """Print JSON instead of the table, for scripts."""


def run(config: Config) -> int:
    """Build, rank, draw what was asked for, print; exit code 0."""
    from creditsim.store import check_writable
    from llm_bridge.collect.store import read_rollouts
    from llm_bridge.twin.empirical import build_twin
    from llm_bridge.twin.rank import Settings, rank

    settings = Settings(**{name: getattr(config, name) for name in Settings.__dataclass_fields__})
    settings.check()
    states: Any = choose("states", config.states, ("anchor", "hidden"))
    if config.figure is not None:
        choose("figure", Path(config.figure).suffix.removeprefix("."), _KINDS)
        check_writable(config.figure, "figure")
        if importlib.util.find_spec("matplotlib") is None:
            raise ExtraMissingError("matplotlib", "figures")
    rollouts = read_rollouts(config.rollouts).rollouts
    twin = build_twin(rollouts, states=states, action_prior=config.action_prior)
    found = rank(rollouts, settings, states=states, action_prior=config.action_prior, progress=_bar)
    if config.figure is not None:
        _draw(found, config)
    if config.json:
        print(json.dumps({"twin": _facts(twin), "ranking": [asdict(row) for row in found]}, indent=2))
    else:
        print("\n".join(_lines(twin, found, config)))
    return 0


def _bar(numbers: Iterable[int]) -> Iterable[int]:
    from tqdm import tqdm

    return tqdm(numbers, desc="resampled logs", disable=None, file=sys.stderr, leave=False)


def _draw(found: Sequence[Ranked], config: Config) -> None:
    from creditsim.store import replace_file

    title = f"digital twin of {Path(config.rollouts).name}, G = {config.group_size}"
    kind = Path(str(config.figure)).suffix[1:]
    picture = importlib.import_module("figures.ranking").ranking_file(found, config.criterion, title, kind)
    replace_file(str(config.figure), lambda temporary: temporary.write_bytes(picture))


def _facts(twin: Twin) -> Mapping[str, Any]:
    return {
        "states": twin.mdp.n_states - 1,
        "actions": twin.mdp.n_actions,
        "horizon": twin.mdp.horizon,
        "rows": twin.rows,
        "trajectories": twin.trajectories,
        "rows_cut": twin.cut,
        "states_never_acted_in": twin.frontier,
        "reward_spread": twin.spread,
        "visits_per_pair": float(twin.visits[twin.visits > 0].mean()),
    }


def _lines(twin: Twin, found: Sequence[Ranked], config: Config) -> Iterator[str]:
    facts = _facts(twin)
    yield (
        f"twin of {twin.rows} rows in {twin.trajectories} trajectories: {facts['states']} states, "
        f"{facts['visits_per_pair']:.1f} rows per state and action, {twin.cut} rows without a successor"
    )
    if twin.spread > 1e-9:
        yield f"rewards of one transition differ by {twin.spread:.3g} (standard deviation): the states do not tell all"
    if found and all(row.quantities[config.criterion]["value"] is None for row in found):
        what = config.criterion.replace("_", " ")
        yield f"no {what} to rank by: the exact gradient of this twin is 0, as where all episodes pay alike"
    yield (
        f"{config.replicates} batches of {config.groups} x {config.group_size}, policy as logged; "
        f"{100 * (1 - config.alpha):g} % intervals"
    )
    yield ""
    head = ["place", "ties", "estimator", config.criterion.replace("_", " "), "cosine", "signal/noise"]
    head += ["first in resamples"] if found and found[0].share else []
    cells = [head]
    for row in found:
        numbers = [_number(row.quantities[name]) for name in (config.criterion, "gradient_cosine", "gradient_snr")]
        ties = "-".join(str(place) for place in dict.fromkeys(row.ties))
        cells.append([str(row.rank), ties, row.estimator, *numbers, *([f"{row.share[0]:.0%}"] if row.share else [])])
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    for line in cells:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def _number(line: Mapping[str, float | None]) -> str:
    if line["value"] is None:
        return "-"
    ends = [f"{end:.3g}" if end is not None else "?" for end in (line["low"], line["high"])]
    return f"{line['value']:.3g} [{ends[0]}, {ends[1]}]"
