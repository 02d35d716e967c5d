"""`creditsim bridge make-data | play | rollout` as a user meets them."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bridge_cases import told

from creditsim.cli import main
from creditsim.configs import dump, load
from creditsim.errors import InputError
from creditsim.stats.intervals import proportion_interval
from llm_bridge.assemble import make_wording, part_params
from llm_bridge.collect.store import read_rollouts
from llm_bridge.collect.summary import success_interval
from llm_bridge.collect.transcripts import transcripts
from llm_bridge.commands import bridge, rollout
from llm_bridge.envs.base import make_tasks
from llm_bridge.envs.table import TableEnv

Capture = pytest.CaptureFixture[str]


def said(capsys: Capture, line: str) -> tuple[int, str, str]:
    code = main(["bridge", *line.split()])
    out = capsys.readouterr()
    return code, out.out, out.err


# --- rollout ----------------------------------------------------------------------------------------------------------


def test_rollouts_are_drawn_told_and_stored(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    code, text, _ = said(capsys, f"rollout --env table --groups 3 --group-size 5 --seed 7 --out {out}")
    assert code == 0
    assert "15 episodes of 3 tasks" in text and str(out) in text
    stored = read_rollouts(out)
    assert stored.rollouts.n_trajectories == 15 and stored.records is not None
    assert stored.facts["made"]["seed"] == 7
    code, again, _ = said(capsys, f"rollout --env table --groups 3 --group-size 5 --seed 7 --json --out {out}")
    assert code == 0
    assert read_rollouts(out).rollouts.action.tolist() == stored.rollouts.action.tolist()
    facts = json.loads(again, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert facts["episodes"] == 15 and facts["settings"]["policy"] == "random"
    assert facts["anchors"]["state"]["mixed_pairs"] == 0.0
    assert facts["success_low"] <= facts["success"] <= facts["success_high"]
    other = said(capsys, "rollout --env table --groups 3 --group-size 5 --seed 8 --json")[1]
    assert json.loads(other)["rows"] != facts["rows"] or json.loads(other)["entropy"] != facts["entropy"]


@pytest.mark.parametrize("design", ["independent_with_greedy", "branching", "vine", "dfs", "filtered"])
def test_every_design_runs(design: str, capsys: Capture, tmp_path: Path) -> None:
    code, text, err = said(
        capsys, f"rollout --env table --design {design} --groups 2 --group-size 2 --json --out {tmp_path / 'r'}"
    )
    assert (code, err) == (0, "")
    assert json.loads(text)["rows"] == read_rollouts(tmp_path / "r").rollouts.n_rows


def test_the_oracle_wins_and_parameters_reach_their_parts(capsys: Capture) -> None:
    line = (
        "rollout --env table --policy oracle --design vine --group-size 1 --json "
        "--params env.family=grid@tiny design.copies=2"
    )
    facts = json.loads(said(capsys, line)[1])
    assert facts["success"] == 1.0
    assert facts["episodes"] > 4 * 3


def test_a_config_file_is_the_same_as_options(capsys: Capture, tmp_path: Path) -> None:
    config = rollout.Config(env="table", groups=2, group_size=3, seed=4, params=("env.family=chain@small",))
    path = tmp_path / "r.toml"
    path.write_text(dump(config))
    assert load(rollout.Config, path) == config
    first = json.loads(said(capsys, f"rollout --config {path} --json")[1])
    second = json.loads(
        said(capsys, "rollout --env table --groups 2 --group-size 3 --seed 4 --json --params env.family=chain@small")[1]
    )
    assert {k: v for k, v in first.items() if k in ("rows", "success", "entropy")} == {
        k: v for k, v in second.items() if k in ("rows", "success", "entropy")
    }


# --- play -------------------------------------------------------------------------------------------------------------


def test_the_oracle_plays_every_game_and_a_lost_one_is_exit_1(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, _ = said(capsys, "play --oracle --env table --params env.tasks=5 env.valid=3")
    assert code == 0
    assert "table train: 5 of 5 won" in text and "table valid: 3 of 3 won" in text
    true = TableEnv.oracle
    monkeypatch.setattr(TableEnv, "oracle", lambda env: true(env)[: 2 if env._task == "train-3" else None])
    code, text, _ = said(capsys, "play --oracle --env table --params env.tasks=5 env.valid=3")
    assert code == 1
    assert "train: 4 of 5 won" in text and "lost: train-3" in text
    code, text, _ = said(capsys, "play --oracle --env table --games 2 --split train --json")
    assert code == 0 and json.loads(text) == [
        {"env": "table", "split": "train", "games": 2, "won": 2, "lost": [], "steps": 6}
    ]


def test_a_human_plays(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(keys: str, line: str = "play --env table --task train-0") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(keys))
        code, text, err = said(capsys, line)
        assert (code, err) == (0, "")
        return text

    assert "won in 3 steps, score 1" in play("?\n1\ntake path 1\n\n1\n")
    assert "cut after 4 steps" in play("0\n0\nnonsense\n9\n")
    assert play("q\n").count("You are at place") == 1
    assert play("").count("You are at place") == 1
    assert "game train-" in play("q\n", "play --env table --seed 3")


# --- make-data --------------------------------------------------------------------------------------------------------


def test_data_are_made_and_counted(capsys: Capture) -> None:
    code, text, _ = said(capsys, "make-data --env table --params env.tasks=7 --json")
    assert code == 0
    (facts,) = json.loads(text)
    assert facts["games"] == {"train": 7, "valid": 16}
    assert sum(facts["kinds"].values()) == 23
    assert "table: train 64, valid 16; 1 kinds" in said(capsys, "make-data --env table")[1]


def test_games_are_written_in_the_published_formats_and_read_again(tmp_path: Path, capsys: Capture) -> None:
    line = f"make-data --env alfworld@easy --params env.train=1 env.valid=1 --out {tmp_path}"
    code, text, _ = said(capsys, line)
    assert code == 0 and "6 files" in text
    own, stored = make_tasks("alfworld@easy", train=1, valid=1), make_tasks("alfworld", games=str(tmp_path))
    assert {split: len(ids) for split, ids in stored.splits().items()} == {s: len(i) for s, i in own.splits().items()}
    for split, ids in own.splits().items():
        for mine, theirs in zip(sorted(ids), sorted(stored.splits()[split]), strict=True):
            one, other = own.game(mine), stored.game(theirs)  # pyright: ignore[reportAttributeAccessIssue]
            assert (one.kind, one.sentence, one.problem, one.walkthrough) == (
                other.kind, other.sentence, other.problem, other.walkthrough,
            )  # fmt: skip
    assert said(capsys, line)[0] == 2  # the folder is not empty any more
    shop = tmp_path / "shop"
    assert said(capsys, f"make-data --env webshop@tiny --out {shop}")[0] == 0
    same, made = make_tasks("webshop", path=str(shop / "webshop-tiny"), n_goals=0), make_tasks("webshop@tiny")
    assert same.splits() == made.splits()
    env, other = same.make(), made.make()
    task = same.splits()["train"][0]
    assert env.reset(task) == other.reset(task) and env.oracle() == other.oracle()
    assert said(capsys, f"make-data --env table --out {tmp_path / 'none'}")[0] == 2


# --- Refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rolout", ["nearest: rollout"]),
        ("rollout --env tabel", ["'tabel'", "nearest: table"]),
        ("rollout --env table@big", ["preset", "'big'"]),
        ("rollout --env table --design vyne", ["'vyne'", "nearest: vine"]),
        ("rollout --env table --split test", ["split", "'test'", "train | valid"]),
        ("rollout --env table --groups 0", ["groups", "got 0"]),
        ("rollout --env table --group-size 0", ["copies", "no trajectory"]),
        ("rollout --env table --slots 0", ["slots", "got 0"]),
        ("rollout --env table --workers -1", ["workers", "got -1"]),
        ("rollout --env table --history -1", ["history"]),
        ("rollout --env table --reward shaped", ["reward", "'shaped'"]),
        ("rollout --env table --grops 2", ["'--grops'", "nearest: --groups"]),
        ("rollout --env table --policy no/such/folder", ["policy", "no/such/folder"]),
        ("rollout --env table --policy orakel", ["nearest: oracle"]),
        ("rollout --env table --out no/folder/r.parquet", ["no folder"]),
        ("rollout --env table --params env.familly=x", ["nearest: family"]),
        ("rollout --env table --params desing.copies=2", ["nearest: design"]),
        ("rollout --env table --params policy.lenght=mean", ["nearest: length"]),
        ("rollout --env table --params copies=2", ["part.name=value"]),
        ("play --oracle --env table --games 0", ["games", "got 0"]),
        ("play --oracle --env table --split test", ["'test'"]),
        ("play --env table --task train-99", ["'train-99'"]),
        ("make-data --env nowhere", ["'nowhere'"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(line: str, words: list[str], capsys: Capture) -> None:
    code, out, err = said(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("creditsim: ") and err.count("\n") == 1
    assert all(word in err for word in words), err


def test_help_and_import_bring_nothing_heavy() -> None:
    code = (
        "import sys, llm_bridge.commands.bridge;"
        "print([m for m in ('numpy', 'numba', 'torch', 'pyarrow', 'tqdm', 'textworld') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
    assert set(bridge.Config) >= {"make-data", "play", "rollout"}


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_wordings_follow_the_family_and_the_way_of_acting() -> None:
    tasks = told()
    assert make_wording(tasks, "scoring").answer == "command"
    assert make_wording(tasks, "generate", history=1).answer == "tags"
    assert make_wording(tasks, "scoring").domain == "plain"


def test_parameters_by_part() -> None:
    given = part_params(["env.x=1", 'env.name="a b"', "design.on=true"], ("env", "design"))
    assert given == {"env": {"x": 1, "name": "a b"}, "design": {"on": True}}
    for wrong in ("x=1", "env.x", "env.=1", "env.x=", "other.x=1"):
        with pytest.raises(InputError, match="params"):
            part_params([wrong], ("env",))


def test_transcripts_hold_what_a_policy_meets() -> None:
    tasks = told("chain@small")
    texts = transcripts(tasks, make_wording(tasks, "scoring"), games=3)
    assert texts == transcripts(tasks, make_wording(tasks, "scoring"), games=3)
    assert {"take path 0", "take path 1"} <= set(texts)
    assert any("You are at place 5." in text for text in texts), "the oracle's way to the end is told"
    assert len(set(texts)) == len(texts)


@pytest.mark.slow
def test_a_tiny_model_is_made_and_acts(capsys: Capture) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        code, text, _ = said(capsys, "rollout --env table --policy tiny --groups 2 --group-size 2 --json")
        assert code == 0
        facts = json.loads(text)
        assert facts["valid"] == 1.0 and facts["admissible"] == 1.0
        assert 0.0 < facts["entropy"] <= math.log(2) + 1e-6
        line = "rollout --env table --policy tiny --kind generate --groups 1 --group-size 2 --json"
        facts = json.loads(said(capsys, line + " --params policy.max_new_tokens=4 policy.vocabulary=300")[1])
        assert facts["valid"] == 0.0 and facts["tokens_per_step"] <= 4.0, "a fresh model knows no tags"
    finally:
        torch.set_num_threads(before)


def test_success_intervals() -> None:
    """One episode a task is a binomial; several are means of tasks; no spread is no certainty."""
    single: Any = success_interval(np.array([1, 0, 1, 1]), np.arange(4))
    exact = proportion_interval(np.array(3), np.array(4))
    assert single == (0.75, float(exact.low), float(exact.high))
    mean, low, high = success_interval(np.array([1, 1, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 2]))
    assert mean == 0.5 and 0.0 == low < mean < high == 1.0
    mean, low, high = success_interval(np.ones(8), np.repeat(np.arange(4), 2))
    assert (mean, high) == (1.0, 1.0) and low < 0.5
    # Broken twin: episodes of one task counted as independent would look far surer than tasks that differ allow.
    lucky = np.repeat([1.0, 0.0, 1.0, 0.0], 50)
    naive = proportion_interval(np.array(100), np.array(200))
    _, low, high = success_interval(lucky, np.repeat(np.arange(4), 50))
    assert high - low > 4 * float(naive.high - naive.low)
