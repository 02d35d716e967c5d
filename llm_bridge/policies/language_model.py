"""A causal language model as policies use it: token ids, hidden states, reference, critic, and its state by name."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from creditsim.errors import InputError, UnknownNameError, nearest
from llm_bridge.policies.base import Prompt

__all__ = ["LanguageModel", "micro_batches", "right_padded"]

T = TypeVar("T")


def micro_batches(lengths: Sequence[int] | np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield indices in batches of like length, each of at most `tokens` after padding (one row at least)."""
    lengths = np.asarray(lengths)
    order = np.argsort(lengths, kind="stable")
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop - start + 1) * lengths[order[stop]] > tokens:
            yield order[start:stop]
            start = stop


def right_padded(rows: Sequence[np.ndarray], pad: int) -> np.ndarray:
    """Return (B, L) int64 with each row's ids first; a causal model's earlier positions never see what follows."""
    out = np.full((len(rows), max(len(row) for row in rows)), pad, np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


class LanguageModel(nn.Module):
    """The model with its tokenizer, an optional adapter, an optional critic and an optional frozen reference.

    Parameters: `model` a causal LM whose output head is linear; `adapted` the peft model around it, if any; `critic`
    adds a linear value head (zero at first) on the last hidden state; `chat` puts prompts into the tokenizer's chat
    template (default: where it has one); `autocast` a reduced type for the forward passes ("bfloat16"), with the
    parameters kept in theirs. Errors: InputError for a head that transforms its logits, for a prompt beyond the
    context.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        adapted: nn.Module | None = None,
        critic: bool = False,
        chat: bool | None = None,
        autocast: str | None = None,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        self.frozen: PreTrainedModel | None = None
        self._adapted = (adapted,)  # in a tuple: the adapter's layers already are inside `model`
        self.chat = getattr(tokenizer, "chat_template", None) is not None if chat is None else chat
        self.context = int(getattr(model.config, "max_position_embeddings", None) or 2**31)
        self._autocast = getattr(torch, autocast) if autocast else None
        self.critic: nn.Linear | None = None
        if critic:
            self.critic = nn.Linear(model.config.hidden_size, 1, device=model.device, dtype=model.dtype)
            nn.init.zeros_(self.critic.weight)
            nn.init.zeros_(self.critic.bias)
        self.encode = functools.lru_cache(maxsize=16384)(self._encode)
        self._check_head()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.model.device

    @property
    def end(self) -> int:
        """Id of the token that ends an answer."""
        return int(cast(int, self.tokenizer.eos_token_id))

    @property
    def pad(self) -> int:
        """Id of the token that fills up rows."""
        return int(cast(int, self.tokenizer.pad_token_id))

    def encode_prompt(self, text: str) -> np.ndarray:
        """Return the ids of a prompt: in the chat template, else with what the tokenizer puts before any text."""
        if self.chat:
            message = [{"role": "user", "content": text}]
            return self.encode(
                str(self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
            )
        return self.encode(text, True)

    def _encode(self, text: str, opening: bool = False) -> np.ndarray:
        """Return (T,) int64 ids of a text; one end token for an empty text.

        `opening` lets the tokenizer add its special tokens (a begin token with some models, nothing with ours).
        """
        ids = self.tokenizer(text, add_special_tokens=opening, return_attention_mask=False)["input_ids"]
        return np.asarray(ids or [self.end], np.int64)

    def check_context(self, tokens: int, what: str) -> None:
        """Raise InputError where `tokens` are more than the model's positions."""
        if tokens > self.context:
            raise InputError(what, f"{tokens} tokens", f"at most {self.context}, the model's context")

    def tensor(self, array: np.ndarray) -> Tensor:
        """Return an array on the model's device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def hidden(self, model: PreTrainedModel, ids: Tensor, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Return (B, L, d) last hidden states of `model` (this model or its reference)."""
        body = model.base_model
        with self.precision():
            return body(input_ids=ids, attention_mask=mask, use_cache=False, **kwargs).last_hidden_state

    @property
    def reduced(self) -> bool:
        """Whether forward passes run in a reduced type."""
        return self._autocast is not None

    def precision(self) -> torch.autocast:
        """Return the context of reduced precision, which does nothing unless asked for."""
        return torch.autocast(self.device.type, self._autocast, enabled=self._autocast is not None)

    def head(self, model: PreTrainedModel) -> nn.Module:
        """Return the linear map from hidden states to logits."""
        return cast(nn.Module, model.get_output_embeddings())

    def train(self, mode: bool = True) -> LanguageModel:
        """Switch between training and evaluation; the reference stays in evaluation."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def freeze_reference(self) -> None:
        """Make the present parameters the reference policy, as a frozen copy."""
        copied = copy.deepcopy(self.model)
        self.frozen = copied.requires_grad_(False).eval()

    def with_reference(self, run: Callable[[PreTrainedModel], T]) -> T:
        """Run with the reference model, without gradients: the frozen copy, else the adapter off."""
        with torch.no_grad():
            if self.frozen is not None:
                return run(self.frozen)
            with self._adapter_off():
                return run(self.model)

    @contextmanager
    def _adapter_off(self) -> Iterator[None]:
        adapted = self._adapted[0]
        if adapted is None:
            raise InputError("reference", "none", "a policy with an adapter, or freeze_reference() called before")
        with adapted.disable_adapter():  # type: ignore[operator]
            yield

    def merged(self) -> PreTrainedModel:
        """Return the model with its adapter worked into the weights: a copy, or the model itself without one."""
        adapted = self._adapted[0]
        if adapted is None:
            return self.model
        return cast(Any, copy.deepcopy(adapted)).merge_and_unload()

    def values(self, prompts: Sequence[Prompt], tokens: int = 8192) -> Tensor | None:
        """Return (S,) values of prompts, read by the critic at their last token; None without a critic."""
        if self.critic is None:
            return None
        rows = [self.encode_prompt(prompt.text) for prompt in prompts]
        lengths = np.asarray([len(row) for row in rows])
        self.check_context(int(lengths.max(initial=0)), "prompt")
        order, pieces = [], []
        for batch in micro_batches(lengths, tokens):
            hidden = self.hidden(self.model, self.tensor(right_padded([rows[i] for i in batch], self.end)))
            last = hidden[torch.arange(len(batch), device=self.device), self.tensor(lengths[batch] - 1)]
            pieces.append(self.critic(last.to(self.critic.weight.dtype))[:, 0])
            order.append(batch)
        return torch.cat(pieces)[self.tensor(np.argsort(np.concatenate(order)))]

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name, on the CPU; tied ones once, under their first name."""
        return {name: value.detach().cpu().contiguous().clone() for name, value in self._unique().items()}

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy stored tensors back; InputError names the first that is missing, unknown or of another shape."""
        if self.frozen is None and any(name.startswith("frozen.") for name in tensors):
            self.freeze_reference()
        own = self._unique()
        for name in tensors:
            if name not in own:
                raise UnknownNameError("stored parameter", repr(name), "a parameter of this model", nearest(name, own))
        for name, value in own.items():
            if name not in tensors:
                raise InputError("stored parameters", f"no {name}", f"{len(own)} tensors of this model")
            if tensors[name].shape != value.shape:
                raise InputError(f"stored {name}", tuple(tensors[name].shape), f"shape {tuple(value.shape)}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(tensors[name])

    def _unique(self) -> dict[str, Tensor]:
        seen: set[int] = set()
        unique = {}
        for name, value in self.state_dict(keep_vars=True).items():
            if id(value) not in seen:
                seen.add(id(value))
                unique[name] = value
        return unique

    def _check_head(self) -> None:
        """Refuse a model whose logits are not the plain linear map of its last hidden state."""
        ids = torch.arange(3, device=self.device)[None]
        with torch.no_grad(), self.precision():
            plain = self.head(self.model)(self.hidden(self.model, ids))
            logits = self.model(input_ids=ids, use_cache=False).logits
        if not torch.allclose(plain.float(), logits.float(), rtol=1e-2, atol=1e-2, equal_nan=True):
            raise InputError("model", type(self.model).__name__, "a causal LM whose output head is a linear map")
