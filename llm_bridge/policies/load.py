"""Load a causal language model and its tokenizer from a local folder, and save one there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from creditsim.errors import CorruptFileError, InputError, choose

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["DTYPES", "load_model", "save_model", "torch_device", "torch_dtype"]

DTYPES = ("float32", "bfloat16", "float64")


def torch_device(name: str) -> torch.device:
    """Return the device of that name (`cpu`, `cuda`, `cuda:1`); InputError where it is not there."""
    import torch

    kind, _, number = name.partition(":")
    choose("device", kind, ("cpu", "cuda"))
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise InputError("device", repr(name), "cpu; torch finds no CUDA device here")
        if number and (not number.isdigit() or int(number) >= count):
            raise InputError("device", repr(name), " | ".join(["cpu", *(f"cuda:{i}" for i in range(count))]))
    elif number:
        raise InputError("device", repr(name), "cpu | cuda | cuda:NUMBER")
    return torch.device(name)


def torch_dtype(name: str) -> torch.dtype:
    """Return the torch type of that name."""
    import torch

    return getattr(torch, choose("dtype", name, DTYPES))


def load_model(
    folder: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load any causal LM that transformers itself knows, in evaluation mode.

    The folder needs config.json, weights in *.safetensors and a tokenizer (tokenizer.json or tokenizer_config.json).
    Nothing is fetched, no code of the folder is run and no pickle is opened. Errors: InputError for what is missing,
    for an architecture that needs code of its own, for an absent device; CorruptFileError for unreadable files.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    folder = Path(folder)
    place, kind = torch_device(device), torch_dtype(dtype)
    _check_folder(folder)
    fixed = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _without_bars():
            kind_of_tokenizer: Any = PreTrainedTokenizerFast if _is_plain(folder) else AutoTokenizer
            tokenizer = kind_of_tokenizer.from_pretrained(folder, **fixed)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, use_safetensors=True, **fixed)
    except Exception as error:
        raise _reason(folder, error) from None
    if tokenizer.eos_token_id is None:
        raise InputError("model", f"{folder} with a tokenizer without an end token", "an eos_token in its config")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    cast("torch.nn.Module", model).to(place).eval()
    return model, tokenizer


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a folder that `load_model` and transformers read: config, weights in safetensors, tokenizer."""
    with _without_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """No bars of transformers' own: it draws them for a fraction of a second, and into files that stderr goes to."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _is_plain(folder: Path) -> bool:
    """Whether the tokenizer is all in tokenizer.json.

    AutoTokenizer goes by the model's architecture before the class named there, and Qwen2's own class splits text
    (digits, words) otherwise than a tokenizer that was trained without its rules.
    """
    settings = folder / "tokenizer_config.json"
    if not (settings.is_file() and (folder / "tokenizer.json").is_file()):
        return False
    name = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
    return name in ("TokenizersBackend", "PreTrainedTokenizerFast")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError("model", repr(str(folder)), "a local folder with config.json, *.safetensors and a tokenizer")
    if not (folder / "config.json").is_file():
        raise InputError("model", f"{folder} without config.json", "a folder that transformers has saved")
    if not any(folder.glob("*.safetensors")):
        allowed = "weights in *.safetensors (pickled weights are not opened)"
        raise InputError("model", f"{folder} without weights", allowed)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        raise InputError("model", f"{folder} without a tokenizer", "tokenizer.json or tokenizer_config.json")


def _reason(folder: Path, error: Exception) -> InputError:
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if "trust_remote_code" in str(error) or "does not recognize this architecture" in str(error):
        return InputError("model", f"{folder}, which needs code of its own", "an architecture that transformers has")
    return CorruptFileError("model", str(folder), f"files that transformers reads ({type(error).__name__}: {line})")
