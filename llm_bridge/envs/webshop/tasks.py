"""The WebShop family: its parameters, its splits, and its entry in the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from creditsim.errors import choose
from llm_bridge.envs.base import text_environment
from llm_bridge.envs.webshop.catalogue import write_folder
from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.goals import KINDS, SPLITS, split_goals
from llm_bridge.envs.webshop.pages import MODES
from llm_bridge.envs.webshop.store import Contents, open_raw, open_store
from llm_bridge.envs.webshop.tagger import TAGGERS

__all__ = ["MAX_STEPS", "REWARD_UNIT", "WebShopTasks", "webshop"]

MAX_STEPS = 15
REWARD_UNIT = 10.0


@dataclass
class WebShopTasks:
    """Tasks on one catalogue. Holds parameters only: a process that is sent it loads the catalogue on first use."""

    contents: Contents
    split: str = "share"
    mode: str = "text"
    show_attributes: bool = False
    dead_clicks: bool = False
    name: str = "webshop"
    max_steps: int = MAX_STEPS
    reward_unit: float = REWARD_UNIT

    def splits(self) -> Mapping[str, Sequence[str]]:
        """Task numbers by split (`goals.split_goals`)."""
        n = len(open_store(self.contents).goals)
        return {split: [str(i) for i in numbers] for split, numbers in split_goals(self.split, n).items()}

    def kind(self, task: str) -> str:
        """The category of the goal's product."""
        store = open_store(self.contents)
        return store.goals[store.number(task)].category

    def export(self, folder: Path) -> Iterator[Path]:
        """Write the catalogue under the published file names; one that was read is written as it was read."""
        return iter(write_folder(open_raw(self.contents), folder))

    def make(self) -> WebShopEnv:
        """A new environment; environments of one process share the store."""
        return WebShopEnv(open_store(self.contents), self.mode, self.show_attributes, self.dead_clicks)


@text_environment(
    "webshop",
    paper="arXiv:2207.01206",
    evidence="code",
    presets={
        "human": {"goals": "human"},
        "synthetic": {"goals": "synthetic"},
        "original": {"goals": "human", "n_goals": 2000, "split": "original", "shuffle_seed": 233},
        "verl-agent": {"goals": "synthetic", "split": "verl-agent", "shuffle_seed": 42, "dead_clicks": True},
        "tiny": {"products": 40, "n_goals": 30},
    },
)
def webshop(
    *,
    path: str = "",
    goals: str = "human",
    products: int = 1000,
    n_goals: int = 500,
    seed: int = 0,
    split: str = "share",
    shuffle_seed: int = 233,
    draw_seed: int = 42,
    mode: str = "text",
    tagger: str = "auto",
    show_attributes: bool = False,
    dead_clicks: bool = False,
) -> WebShopTasks:
    """Shop in a web store: search, choose a product and its options, buy; reward is the share of wishes fulfilled.

    With `path`, a folder that holds the real data files, else a generated catalogue (`products`, `n_goals`, `seed`).
    `goals`: human | synthetic. `split`: share | original | verl-agent (see `split_goals`). `mode`: text | text_rich |
    url. `tagger`: auto | rule | spacy. `dead_clicks` lists click[search], which does nothing, as published prompts do.
    Presets `original` and `verl-agent` hold the published splits and seeds. Evidence: the public WebShop code and
    forks of verl-agent, read (code).
    """
    choose("goals", goals, KINDS)
    choose("split", split, SPLITS)
    choose("mode", mode, MODES)
    choose("tagger", tagger, TAGGERS)
    contents = Contents(path, goals, products, n_goals, seed, draw_seed, shuffle_seed, tagger)
    return WebShopTasks(contents, split, mode, show_attributes, dead_clicks)
