"""Every bad input of the text bridge as a user meets it: one line that names it, exit code 2, nothing lost."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the llm extra is not installed")

import torch
import webshop_shop
from policy_cases import TOKENIZER

from creditsim.cli import main
from creditsim.errors import InputError
from llm_bridge.assemble import make_wording, open_policy
from llm_bridge.collect.store import read_rollouts
from llm_bridge.envs.base import Observation, make_tasks
from llm_bridge.envs.table import TableEnv
from llm_bridge.envs.webshop.catalogue import write_folder
from llm_bridge.envs.webshop.data import RawData
from llm_bridge.envs.webshop.store import open_store
from llm_bridge.policies.base import Prompt, Response, Stream
from llm_bridge.policies.load import save_model
from llm_bridge.policies.plain import RandomPolicy
from llm_bridge.policies.tiny import TinyConfig, tiny_model

Capture = pytest.CaptureFixture[str]
TINY = TinyConfig(hidden=32, layers=1, heads=2, kv_heads=1, intermediate=32, context=512)


def bridge(capsys: Capture, *words: str) -> tuple[int, str, str]:
    code = main(["bridge", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys: Capture, *words: str) -> str:
    """The one line of a refusal."""
    code, out, err = bridge(capsys, *words)
    assert (code, out) == (2, ""), (code, out, err)
    assert err.startswith("creditsim: ") and err.count("\n") == 1 and "Traceback" not in err
    return err


# --- options ----------------------------------------------------------------------------------------------------------

OPTIONS: list[tuple[str, list[str]]] = [
    ("rollout --env table --imitate -1", ["imitate: got -1"]),
    ("rollout --env table --policy tiny --imitate 1 --imitate-epochs 0", ["imitate_epochs: got 0"]),
    ("rollout --env table --imitate 3", ["imitate: got 3", "nothing to learn with"]),
    ("rollout --env table --params env.settings=3", ["settings: got 3", "{length = 4}"]),
    ("rollout --env table --params env.settings=abc", ["settings: got 'abc'"]),
    ("rollout --env table --params env.family=no/such", ["environment: got 'no/such'"]),
    ("rollout --env table --policy tiny --device cuda", ["device: got 'cuda'", "torch finds no CUDA device here"]),
    ("rollout --env table --policy tiny --device cuda:x", ["device: got 'cuda:x'"]),
    ("rollout --env table --policy tiny --device tpu", ["device: got 'tpu'", "cpu | cuda"]),
    ("rollout --env table --policy tiny --temperature 0", ["temperature"]),
    ("rollout --env table --policy tiny --temperature nan", ["temperature", "nan"]),
    ("rollout --env table --policy tiny --params policy.context=16", ["tokens", "at most 16, the model's context"]),
    (
        "rollout --env table --policy tiny --kind generate --params policy.context=64",
        ["at most 64, the model's context"],
    ),
    ("rollout --env table --policy tiny --params policy.context=x", ["context: got 'x', allowed a whole number"]),
    ("rollout --env table --policy tiny --params policy.lora_rank=x", ["lora_rank: got 'x'"]),
    ("rollout --env table --policy tiny --params policy.lora_rank=1.5", ["lora_rank: got 1.5"]),
    ("rollout --env table --policy tiny --params policy.critic=maybe", ["critic: got 'maybe', allowed true or false"]),
    ("rollout --env table --policy tiny --params policy.lead=3", ["lead: got 3, allowed a string"]),
    ("rollout --env table --policy tiny --params policy.seed=x", ["seed: got 'x'"]),
    ("rollout --env table --policy tiny --params policy.dtype=float8", ["dtype: got 'float8'"]),
    ("rollout --env table --policy tiny --params policy.vocabulary=10", ["vocabulary: got 10"]),
    ("rollout --env table --policy tiny --params policy.length=max", ["length: got 'max'"]),
    (
        "rollout --env alfworld --params env.kinds=pick_and_fly",
        ["kinds: got 'pick_and_fly'", "nearest: pick_and_place"],
    ),
    ("rollout --env alfworld --params env.kinds=pick_two_obj_and_place,pick_two_obj_and_place", ["kinds", "once"]),
    ("rollout --env alfworld --params env.train=0 env.valid=0", ["games: got none"]),
    ("rollout --env alfworld --params env.games=/no/such/folder", ["games: got /no/such/folder", "game.tw-pddl"]),
    ("rollout --env alfworld --params env.games=./nowhere", ["games: got ./nowhere"]),
    ("rollout --env alfworld --params env.plans=~/nowhere.json", ["plans: got ~/nowhere.json"]),
    ("rollout --env alfworld --params env.receptacles=2", ["receptacles: got 2"]),
    ("rollout --env webshop --params env.path=../nowhere", ["path: got ../nowhere", "items_shuffle_1000.json"]),
    ("rollout --env webshop@tiny --params env.split=original", ["30 goals", "or split='share'"]),
    ("rollout --env webshop@tiny --params env.tagger=spacy", ["tagger"]),
    ("make-data --env webshop@tiny --out /proc/no/such", ["out: got '/proc/no/such/webshop-tiny'", "can be made"]),
    ("twin /no/such.parquet", ["/no/such.parquet: got no file"]),
    ("twin x --figure ranking.gif", ["figure: got 'gif'", "png | svg | pdf"]),
    ("twin x --figure /no/such/ranking.svg", ["figure", "no folder /no/such"]),
    ("twin x --criterion best", ["criterion: got 'best'"]),
    ("twin x --estimators", ["estimators: got none"]),
    ("play --env table --task nowhere", ["task: got 'nowhere'"]),
    ("plai", ["'plai'", "nearest: play"]),
]


@pytest.mark.parametrize(("line", "words"), OPTIONS)
def test_a_bad_option_is_one_line(line: str, words: list[str], capsys: Capture) -> None:
    told = refused(capsys, *line.split())
    assert all(word in told for word in words), told


def test_a_graphics_card_is_asked_for_by_name_and_number(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    told = refused(capsys, *"rollout --env table --policy tiny --device cuda:2".split())
    assert "cpu | cuda:0 | cuda:1" in told


def test_games_that_are_no_files_make_no_folder(capsys: Capture, tmp_path: Path) -> None:
    told = refused(capsys, "make-data", "--env", "table", "--out", str(tmp_path / "new" / "place"))
    assert "'table'" in told and "alfworld | webshop" in told
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_by_a_refused_command(capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "r.parquet"
    out.write_bytes(b"old")
    refused(capsys, "rollout", "--env", "table", "--policy", "tiny", "--device", "cuda", "--out", str(out))
    assert out.read_bytes() == b"old" and list(tmp_path.iterdir()) == [out]


# --- data files -------------------------------------------------------------------------------------------------------


def _set(part: str, *path: Any, to: Any) -> Callable[[RawData], None]:
    def change(raw: RawData) -> None:
        at: Any = getattr(raw, part)
        for key in path[:-1]:
            at = at[key]
        if to is KeyError:
            del at[path[-1]]
        else:
            at[path[-1]] = to

    return change


LAMP, SHELF = "B000LAMP01", "items_shuffle_1000.json"
FILES: list[tuple[Callable[[RawData], None], list[str]]] = [
    (_set("products", 0, "name", to=KeyError), [SHELF, f"record 0 ({LAMP})", "field name: got nothing"]),
    (_set("products", 2, "images", to=KeyError), [SHELF, "record 2 (B000SOAP03)", "field images: got nothing"]),
    (_set("products", 0, "pricing", to="cheap"), ["field pricing: got 'cheap'"]),
    (_set("products", 0, "customization_options", to={"color": 5}), ["customization_options.color: got a number"]),
    (_set("products", 0, "customization_options", to={"color": "red"}), ["customization_options.color: got text"]),
    (_set("products", 0, "customization_options", to={"c": [{}]}), ["customization_options.c.value: got nothing"]),
    (_set("products", 1, "asin", to=7), ["record 1, field asin: got a number"]),
    (_set("attributes", LAMP, to=None), ["items_ins_v2_1000.json", f"record {LAMP}", "got null"]),
    (_set("attributes", LAMP, "instruction_attributes", to=KeyError), ["field instruction_attributes: got nothing"]),
    (_set("human", LAMP, 0, "instruction", to=KeyError), ["items_human_ins.json", f"{LAMP}[0]", "field instruction"]),
    (_set("human", LAMP, 0, "instruction_options", to={}), ["instruction_options: got an object, allowed a list"]),
    (_set("human", LAMP, to=[]), ["goals: got no human goal"]),
]


@pytest.mark.parametrize(("damage", "words"), FILES)
def test_a_faulty_record_of_a_shop_names_file_record_and_field(
    damage: Callable[[RawData], None], words: list[str], capsys: Capture, tmp_path: Path
) -> None:
    raw = webshop_shop.raw()
    damage(raw)
    write_folder(raw, tmp_path)
    told = refused(capsys, "make-data", "--env", "webshop", "--params", f"env.path={tmp_path}")
    assert all(word in told for word in words), told


@pytest.mark.parametrize("content", ["", "[1", "{}", "null", '[{"asin": "\\ud800"}]', "\x00"])
def test_a_file_of_a_shop_that_is_no_list_of_products(content: str, capsys: Capture, tmp_path: Path) -> None:
    write_folder(webshop_shop.raw(), tmp_path)
    (tmp_path / SHELF).write_text(content)
    told = refused(capsys, "make-data", "--env", "webshop", "--params", f"env.path={tmp_path}")
    assert str(tmp_path / SHELF) in told


def test_half_a_character_is_refused_and_a_whole_escaped_one_is_not(tmp_path: Path) -> None:
    """JSON may spell half of a pair; no file, screen or tokenizer takes it."""
    raw = webshop_shop.raw()
    write_folder(raw, tmp_path)
    for text, fine in (("lamp \ud83d\udca1", True), ("lamp \ud83d", False)):
        _set("products", 0, "name", to=text)(raw)
        (tmp_path / SHELF).write_text(json.dumps(raw.products))
        open_store.cache_clear()
        tasks = make_tasks("webshop", path=str(tmp_path), goals="synthetic", tagger="rule")
        if fine:
            assert tasks.make().reset("0").task
        else:
            with pytest.raises(InputError, match="surrogates not allowed"):
                tasks.make()
    open_store.cache_clear()


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("textworld", reason="the alfworld extra is not installed")
    folder = tmp_path_factory.mktemp("game")
    tasks = make_tasks("alfworld@easy", kinds="pick_and_place_simple", train=1, valid=0)
    assert len(list(tasks.export(folder))) == 1  # type: ignore[attr-defined]
    return folder


GAME_FIELDS: list[tuple[str, Any, str]] = [
    ("pddl_problem", KeyError, "field pddl_problem: got nothing"),
    ("grammar", KeyError, "field grammar: got nothing"),
    ("solvable", KeyError, "field solvable: got nothing"),
    ("grammar", None, "field grammar: got NoneType, allowed text"),
    ("pddl_domain", 5, "field pddl_domain: got int"),
    ("pddl_problem", [1], "field pddl_problem: got list"),
    ("walkthrough", 5, "field walkthrough: got int, allowed a list of commands"),
    ("walkthrough", [1], "field walkthrough: got list"),
    ("solvable", False, "none marked solvable"),
    ("grammar", "an older one", "another version's, allowed those of alfworld 0.4.2"),
    ("pddl_domain", "(define (domain other))", "another version's"),
    ("pddl_problem", "(define", "field pddl_problem: got ParseError"),
    ("pddl_problem", "", "field pddl_problem: got StopIteration"),
]


@pytest.mark.parametrize(("field", "value", "words"), GAME_FIELDS)
def test_a_faulty_game_names_its_file_and_field(
    field: str, value: Any, words: str, game: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(game, tmp_path, dirs_exist_ok=True)
    path = next(tmp_path.rglob("game.tw-pddl"))
    fields = json.loads(path.read_text())
    if value is KeyError:
        del fields[field]
    else:
        fields[field] = value
    path.write_text(json.dumps(fields))
    told = refused(capsys, "rollout", "--groups", "1", "--group-size", "1", "--params", f"env.games={tmp_path}")
    assert words in told and ("train/pick_and_place_simple/0" in told or "solvable" in told), told


def test_a_folder_of_games_is_played_by_its_bare_path(game: Path, capsys: Capture) -> None:
    code, out, err = bridge(capsys, "play", "--oracle", "--env", "alfworld", "--params", f"env.games={game}")
    assert (code, err) == (0, "") and "1 of 1 won" in out


def test_a_stored_walkthrough_that_loses_is_exit_1(game: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(game, tmp_path, dirs_exist_ok=True)
    path = next(tmp_path.rglob("game.tw-pddl"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"walkthrough": ["look", "fly <b>"]}))
    code, out, _ = bridge(capsys, "play", "--oracle", "--env", "alfworld", "--params", f"env.games={tmp_path}")
    assert code == 1 and "0 of 1 won" in out and "lost: train/pick_and_place_simple/0" in out


# --- model folders ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(tiny_model(TOKENIZER, TINY), TOKENIZER, folder)
    return folder


MODELS: dict[str, tuple[tuple[str, ...], str]] = {
    "no weights": (("model.safetensors",), "without weights"),
    "no tokenizer": (("tokenizer.json", "tokenizer_config.json"), "without a tokenizer"),
    "no config": (("config.json",), "without config.json"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_folder_without_a_part(name: str, model: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    for part in MODELS[name][0]:
        (folder / part).unlink()
    told = refused(capsys, "rollout", "--env", "table", "--policy", str(folder))
    assert MODELS[name][1] in told and str(folder) in told


def test_pickled_weights_are_not_opened(model: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled weights are not opened" in refused(capsys, "rollout", "--env", "table", "--policy", str(folder))


def test_a_whole_model_folder_acts(model: Path, capsys: Capture) -> None:
    code, out, err = bridge(
        capsys, "rollout", "--env", "table", "--policy", str(model), "--groups", "1", "--group-size", "2", "--json"
    )
    assert (code, err) == (0, "") and json.loads(out)["episodes"] == 2


def test_a_model_with_spoilt_weights_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    spoilt = tiny_model(TOKENIZER, TINY)
    with torch.no_grad():
        next(spoilt.parameters()).view(-1)[0] = float("nan")
    save_model(spoilt, TOKENIZER, tmp_path / "model")
    for kind in ("scoring", "generate"):
        told = refused(
            capsys, "rollout", "--env", "table", "--policy", str(tmp_path / "model"), "--kind", kind,
            "--params", "policy.max_new_tokens=4",
        )  # fmt: skip
        assert "not finite; the model diverged" in told


def test_a_policy_that_says_nan_stops_the_collection(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    true = RandomPolicy.act

    def act(
        self: RandomPolicy, prompts: list[Prompt], streams: list[Stream], *, greedy: bool = False
    ) -> list[Response]:
        return [
            Response(r.text, r.action, r.tokens, r.log_probs * np.nan, r.entropy) for r in true(self, prompts, streams)
        ]

    monkeypatch.setattr(RandomPolicy, "act", act)
    assert "NaN or infinite for 'take path" in refused(capsys, "rollout", "--env", "table")


def test_options_of_a_policy_are_of_their_types() -> None:
    tasks = make_tasks("table")
    wording = make_wording(tasks, "scoring")
    with pytest.raises(InputError, match="lora_alpha: got 'much', allowed a number"):
        open_policy("tiny", tasks, wording, lora_alpha="much")
    assert open_policy("tiny", tasks, wording, temperature=2, context=512)


# --- answers that mean nothing ----------------------------------------------------------------------------------------


def test_answers_that_cannot_be_read_are_counted_and_the_run_goes_on(capsys: Capture, tmp_path: Path) -> None:
    """A model that knows nothing writes no tags: ill-formed and refused, every step a record, no crash."""
    out = tmp_path / "r.parquet"
    code, text, err = bridge(
        capsys, "rollout", "--env", "table", "--policy", "tiny", "--kind", "generate", "--groups", "1", "--group-size",
        "2", "--json", "--out", str(out), "--params", "policy.max_new_tokens=6",
    )  # fmt: skip
    assert (code, err) == (0, "")
    facts = json.loads(text)
    assert facts["valid"] == facts["admissible"] == 0.0 and facts["success"] == 0.0
    stored = read_rollouts(out)
    assert not stored.rollouts.columns["valid"].any() and not stored.rollouts.columns["admissible"].any()
    assert stored.rollouts.n_rows == 2 * make_tasks("table").max_steps


def test_markup_in_what_is_seen_reaches_files_unchanged_and_pictures_escaped(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="the figures extra is not installed")
    true = TableEnv._seen

    def seen(self: TableEnv) -> Observation:
        plain = true(self)
        marked = f"<script>alert('{plain.text}')</script>"
        return Observation(marked, marked, plain.admissible, "<b>task</b> & co", plain.state)

    monkeypatch.setattr(TableEnv, "_seen", seen)
    out, picture = tmp_path / "<i>r.parquet", tmp_path / "p.svg"
    assert bridge(capsys, "rollout", "--env", "table", "--groups", "2", "--out", str(out))[0] == 0
    stored = read_rollouts(out)
    assert stored.records is not None
    assert all("<script>alert('" in stored.records[i].prompt.text for i in stored.records)
    code, _, err = bridge(
        capsys, "twin", str(out), "--estimators", "grpo", "rloo", "--replicates", "20", "--bootstrap", "0", "--figure",
        str(picture),
    )  # fmt: skip
    assert (code, err) == (0, "")
    drawn = picture.read_text()
    assert "<i>" not in drawn and "<script" not in drawn and "&lt;i&gt;r.parquet" in drawn
    assert [path for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_human_may_type_anything(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = "\n".join(["", "?", "<b>", "看", "-1", "q"])
    monkeypatch.setattr("sys.stdin", io.StringIO(keys + "\n"))
    code, out, err = bridge(capsys, "play", "--env", "table", "--task", "train-0")
    assert (code, err) == (0, "")
    assert out.count("Nothing happens.") >= 3 and "   0  take path 0" in out
