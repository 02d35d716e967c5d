"""What every policy on a language model has: reference, critic, parameters and stored state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from creditsim.errors import InputError
from llm_bridge.policies.base import Prompt, Response, TokenLogProbs
from llm_bridge.policies.language_model import LanguageModel

__all__ = ["LanguageModelPolicy", "offsets_of"]


class LanguageModelPolicy:
    """The part of `TextPolicy` that does not depend on how an answer is made; sub-classes give `_score`."""

    def __init__(self, language: LanguageModel, *, temperature: float = 1.0, batch_tokens: int = 8192) -> None:
        if not temperature > 0 or batch_tokens < 1:
            raise InputError("temperature, batch_tokens", (temperature, batch_tokens), "both above zero")
        self.language, self.temperature, self.batch_tokens = language, temperature, batch_tokens

    def _score(self, model: PreTrainedModel, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        raise NotImplementedError

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        """Log-probabilities of given responses under the present parameters, with gradients."""
        _check_pairs(prompts, responses)
        return self._score(self.language.model, prompts, responses)

    def reference(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        """The same under the frozen copy, else with the adapter off; without gradients. InputError without either."""
        _check_pairs(prompts, responses)
        return self.language.with_reference(lambda model: self._score(model, prompts, responses))

    def freeze_reference(self) -> None:
        """Make the present parameters the reference policy (after a warm start, say)."""
        self.language.freeze_reference()

    def value(self, prompts: Sequence[Prompt]) -> Tensor | None:
        """(S,) the critic's values of the prompts, with gradients; None without a critic."""
        return self.language.values(prompts, self.batch_tokens)

    def parameters(self) -> list[nn.Parameter]:
        """What an optimiser moves: with an adapter the adapter (and the critic), otherwise everything."""
        return [parameter for parameter in self.language.parameters() if parameter.requires_grad]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All parameters and buffers by name, the frozen reference among them, as safetensors stores them."""
        return self.language.tensors()

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put stored parameters and buffers back; an InputError names what is missing or of another shape."""
        self.language.put(tensors)

    def train(self, on: bool = True) -> None:
        """Switch between training and evaluation."""
        self.language.train(on)


def _check_pairs(prompts: Sequence[Prompt], responses: Sequence[Response]) -> None:
    if len(prompts) != len(responses):
        raise InputError("responses", len(responses), f"one for each of {len(prompts)} prompts")


def offsets_of(lengths: Sequence[int]) -> np.ndarray:
    """Return (S+1,) int64 offsets of flat pieces of these lengths."""
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))]).astype(np.int64)
