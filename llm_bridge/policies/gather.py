"""Log-probabilities of chosen tokens from hidden states, without ever holding the logits of all positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from creditsim.errors import NumericalError

__all__ = ["check_finite", "gather_log_probs"]


def gather_log_probs(
    head: nn.Module,
    hidden: Tensor,
    place: Tensor,
    token: Tensor,
    *,
    temperature: float = 1.0,
    chunk: int = 1024,
    entropy: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return log softmax(head(h) / temperature) of given tokens, and the entropy in nats of each position's law.

    `hidden` (P, d) positions; `place` (E,) int64 positions in ascending order, `token` (E,) int64: the pairs asked
    for. Out: (E,) log-probabilities and (P,) entropies (zeros unless asked for), in float32 at least. `chunk` positions
    are taken at a time; with several chunks and gradients the logits are computed again on the way back, so the memory
    is chunk * vocabulary.
    """
    keep = not torch.is_grad_enabled() or hidden.shape[0] <= chunk
    starts = torch.arange(0, hidden.shape[0] + chunk, chunk, device=place.device)
    bounds = torch.searchsorted(place, starts).tolist()
    pieces = []
    for i, low in enumerate(range(0, hidden.shape[0], chunk)):
        pairs = slice(bounds[i], bounds[i + 1])
        arguments = (head, hidden[low : low + chunk], place[pairs] - low, token[pairs], temperature, entropy)
        pieces.append(_piece(*arguments) if keep else checkpoint(_piece, *arguments, use_reentrant=False))
    if len(pieces) == 1:
        return pieces[0]
    return torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces])


def _piece(
    head: nn.Module, hidden: Tensor, place: Tensor, token: Tensor, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor]:
    logits = head(hidden)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
    normaliser = logits.logsumexp(-1)
    chosen = logits[place, token] - normaliser[place]
    if not entropy:
        return chosen, torch.zeros_like(normaliser)
    return chosen, normaliser - ((logits - normaliser[:, None]).exp() * logits).sum(-1)


def check_finite(log_probs: Tensor) -> None:
    """Raise NumericalError unless every number is finite: a model whose weights diverged must not act on."""
    finite = torch.isfinite(log_probs)
    if not bool(finite.all()):
        bad = int((~finite).sum())
        raise NumericalError(f"policy: {bad} of {finite.numel()} log-probabilities are not finite; the model diverged")
