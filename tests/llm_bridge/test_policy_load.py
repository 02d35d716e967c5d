from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from policy_cases import COMMANDS, SMALL, TEXTS, TOKENIZER, language

from creditsim.errors import CorruptFileError, InputError, UnknownNameError
from llm_bridge.policies.base import Prompt, Stream
from llm_bridge.policies.language_model import LanguageModel, micro_batches
from llm_bridge.policies.load import load_model, save_model, torch_device, torch_dtype
from llm_bridge.policies.scoring import ScoringPolicy
from llm_bridge.policies.tiny import SIZES, TinyConfig, tiny_model
from llm_bridge.policies.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_model(tiny_model(TOKENIZER, SMALL, seed=5), TOKENIZER, path)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_saved_model_comes_back_to_the_bit(folder: Path) -> None:
    model, tokenizer = load_model(folder)
    for name, value in tiny_model(TOKENIZER, SMALL, seed=5).state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    for text in (TEXTS[0], "go to shelf 12", "don't  stop\n\n3.14"):
        assert tokenizer(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert len(tokenizer) == len(TOKENIZER)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (TOKENIZER.eos_token_id, TOKENIZER.pad_token_id)
    policy = ScoringPolicy(LanguageModel(model, tokenizer))
    assert policy.act([Prompt("x", COMMANDS)], [Stream(0, 0, 0)])[0].action in COMMANDS


def test_types_are_taken_on_loading(folder: Path) -> None:
    assert load_model(folder, dtype="bfloat16")[0].dtype == torch.bfloat16
    assert torch_dtype("float64") == torch.float64
    with pytest.raises(UnknownNameError, match="nearest: float32"):
        load_model(folder, dtype="float3")


def test_missing_parts_of_a_folder_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a local folder"):
        load_model(tmp_path / "nothing")
    weights = next(copy.glob("*.safetensors"))
    weights.rename(copy / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"without weights, allowed weights in .*safetensors"):
        load_model(copy)
    (copy / "pytorch_model.bin").rename(weights)
    for path in [*copy.glob("tokenizer*"), *copy.glob("special*")]:
        path.unlink()
    with pytest.raises(InputError, match="without a tokenizer"):
        load_model(copy)
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match=r"without config\.json"):
        load_model(copy)


def test_broken_weights_are_one_line(copy: Path) -> None:
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CorruptFileError) as caught:
        load_model(copy)
    assert "\n" not in str(caught.value)


def test_code_of_a_folder_never_runs(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (copy / "config.json").write_text(json.dumps(config))
    mark = copy / "ran"
    (copy / "mine.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(InputError) as caught:
        load_model(copy)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_devices_that_are_not_there_are_named() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    with pytest.raises(UnknownNameError, match=r"cpu \| cuda"):
        torch_device("gpu")
    with pytest.raises(InputError, match="device"):
        torch_device("cpu:3")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            torch_device("cuda")


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    a = tiny_model(TOKENIZER, SMALL, seed=5).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    b = tiny_model(TOKENIZER, SMALL, seed=5).state_dict()
    c = tiny_model(TOKENIZER, SMALL, seed=6).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    matrices = [name for name in a if a[name].ndim > 1]
    assert not any(torch.equal(a[name], c[name]) for name in matrices)
    deeper = tiny_model(TOKENIZER, TinyConfig(32, 3, 2, 1, 48, 256), seed=5).state_dict()
    assert all(torch.equal(a[name], deeper[name]) for name in a), "a layer more changes nothing else"


def test_sizes_are_checked() -> None:
    assert SIZES["qwen2.5-1.5b"].layers == 28
    with pytest.raises(InputError, match="heads"):
        TinyConfig(heads=3)
    with pytest.raises(InputError, match="positive"):
        TinyConfig(layers=0)


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_tokenizer_is_the_same_each_time_and_knows_the_tags() -> None:
    again = train_tokenizer([*TEXTS, *COMMANDS, *COMMANDS])
    assert again.get_vocab() == TOKENIZER.get_vocab()
    ids = TOKENIZER("<think></think><action></action>", add_special_tokens=False)["input_ids"]
    assert len(ids) == 4
    assert len(TOKENIZER) <= 1024
    assert len(TOKENIZER(TEXTS[0])["input_ids"]) < len(TEXTS[0]) / 3


def test_tokenizer_needs_text_and_room() -> None:
    with pytest.raises(InputError, match="at least one text"):
        train_tokenizer(["", ""])
    with pytest.raises(InputError, match="at least 262"):
        train_tokenizer(["a"], vocabulary=200)


def test_a_head_that_transforms_its_logits_is_refused() -> None:
    model = tiny_model(TOKENIZER, SMALL)
    with torch.no_grad():
        model.model.embed_tokens.weight *= 20
    plain: Any = model.forward

    def capped(*args, **kwargs):
        out = plain(*args, **kwargs)
        out.logits = torch.tanh(out.logits)
        return out

    model.forward = capped  # type: ignore[method-assign]
    with pytest.raises(InputError, match="output head is a linear map"):
        LanguageModel(model, TOKENIZER)


def test_sliding_windows_are_refused_for_choosing() -> None:
    model = language()
    model.model.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(InputError, match="share their prompt"):
        ScoringPolicy(model)


def test_chat_template_goes_round_prompts_only() -> None:
    chat = language()
    template = "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
    chat.tokenizer.chat_template = template
    try:
        inside = LanguageModel(chat.model, chat.tokenizer)
        assert inside.tokenizer.decode(inside.encode_prompt("hello")) == "<u>hello</u><a>"
        assert inside.tokenizer.decode(inside.encode("look")) == "look"
        plain = LanguageModel(chat.model, chat.tokenizer, chat=False)
        assert plain.tokenizer.decode(plain.encode_prompt("hello")) == "hello"
    finally:
        chat.tokenizer.chat_template = None


def test_begin_token_of_a_tokenizer_opens_prompts_and_nothing_else(folder: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    model, tokenizer = load_model(folder)
    backend: Any = tokenizer
    backend.backend_tokenizer.post_processor = TemplateProcessing(single="<|pad|> $A", special_tokens=[("<|pad|>", 0)])
    inside = LanguageModel(model, tokenizer)
    assert inside.encode_prompt("look").tolist() == [0, *inside.encode("look").tolist()]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_micro_batches_hold_each_row_once_within_bounds(lengths: list[int], tokens: int) -> None:
    batches = list(micro_batches(lengths, tokens))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= tokens
