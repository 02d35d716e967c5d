"""What collection and training ask of a policy that acts on text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Prompt", "Response", "Stream", "TextPolicy", "TokenLogProbs"]


@dataclass(frozen=True)
class Prompt:
    """What a policy sees before one step."""

    text: str
    """The whole prompt, as `llm_bridge.prompts` words it; a chat policy puts its own template round it."""
    admissible: tuple[str, ...]
    """Commands to choose among, where the policy chooses instead of writing."""


@dataclass(frozen=True)
class Stream:
    """Whose random numbers a decision uses, so that no batching or thread can change what is drawn.

    A draw depends only on these and on the number of the draw in the decision (`creditsim.rng.uniforms`).
    """

    seed: int
    episode: int
    """Number of the episode among all that a collection with this seed has drawn."""
    step: int


@dataclass(frozen=True)
class Response:
    """A policy's answer to one prompt."""

    text: str
    """All it wrote."""
    action: str
    """The command read from it, which the environment is given."""
    tokens: np.ndarray
    """(T,) int64 token ids that were drawn, each with a log-probability; one stand-in where a command was chosen."""
    log_probs: np.ndarray
    """(T,) float64 log-probability of each token under the law it was drawn from; their sum is the step's."""
    entropy: float
    """Mean entropy in nats of the laws drawn from."""
    well_formed: bool = True
    """Whether the answer has the format asked for; admissibility is the environment's to say."""


@dataclass(frozen=True)
class TokenLogProbs:
    """Differentiable log-probabilities of responses already given, flat over S responses with T tokens in all."""

    log_prob: torch.Tensor
    """(T,) log-probability of each token, at the temperature it was drawn with."""
    entropy: torch.Tensor
    """(T,) entropy in nats of the law of each token."""
    offsets: np.ndarray
    """(S+1,) int64 tokens of response i are offsets[i]:offsets[i+1]."""


class TextPolicy(Protocol):
    """A policy with parameters in torch."""

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Answer each prompt; without gradients. NumericalError where the model's numbers are not finite."""
        ...

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        """Log-probabilities of given responses under the present parameters, with gradients."""
        ...

    def reference(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        """The same under the reference policy (the adapter off, or a frozen copy), without gradients."""
        ...

    def value(self, prompts: Sequence[Prompt]) -> torch.Tensor | None:
        """(S,) the critic's values of the prompts, with gradients; None without a critic."""
        ...

    def answer(self, prompt: Prompt, action: str) -> Response:
        """The response that says `action`, as imitation of a walkthrough needs it; log-probabilities are zeros."""
        ...

    def parameters(self) -> list[torch.nn.Parameter]:
        """What an optimiser moves."""
        ...

    def count_tokens(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """(S,) int64 tokens that scoring each pair runs through the model, for micro-batches of bounded size."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All parameters and buffers by name, as safetensors stores them."""
        ...

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put stored parameters and buffers back; an InputError names what is missing or of another shape."""
        ...

    def train(self, on: bool = True) -> None:
        """Switch between training and evaluation."""
        ...
