"""A policy that chooses among the admissible commands by the likelihood a causal language model gives each of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from creditsim.errors import InputError, UnknownNameError, choose, nearest
from llm_bridge.policies.base import Prompt, Response, Stream, TokenLogProbs
from llm_bridge.policies.draws import decision_uniforms, inverse_cdf, margin
from llm_bridge.policies.gather import check_finite, gather_log_probs
from llm_bridge.policies.language_model import LanguageModel, micro_batches
from llm_bridge.policies.shared import LanguageModelPolicy
from llm_bridge.policies.trie import Trie, build_trie

__all__ = ["ScoringPolicy", "packed_inputs"]

Key = tuple[str, tuple[str, ...]]


class ScoringPolicy(LanguageModelPolicy):
    """pi(c | x) = softmax over the admissible c of L(c | x) / temperature, L = sum_t log p(c_t | x, c_<t).

    The end token counts as the last c_t, so no command is a prefix of another. `length="mean"` divides L by the number
    of tokens. Each command is read as `lead + command` behind the prompt. Log-probabilities and entropies are exact,
    one per decision; nothing can fail to parse. All commands of a decision go through the model in one row: the
    prompt once, then the prefix tree of the commands, each token seeing the prompt and its own ancestors only. Equal
    decisions of a call are computed once.

    Parameters: `temperature`; `length` sum | mean; `lead`; `batch_tokens` bounds a forward pass, padding included.
    `act` draws by inverting the distribution function at the stream's one uniform. A draw closer than `too_close` to
    a border is decided by a pass of its own, so float32 rounding in a batch of another make-up cannot turn it.
    Errors: InputError for a decision without commands or beyond the context, and at once for a model that cannot
    attend along a tree (sliding windows, ALiBi); NumericalError for numbers that are not finite.
    """

    too_close = 1e-4

    def __init__(
        self,
        language: LanguageModel,
        *,
        temperature: float = 1.0,
        length: str = "sum",
        lead: str = " ",
        batch_tokens: int = 8192,
    ) -> None:
        super().__init__(language, temperature=temperature, batch_tokens=batch_tokens)
        self.length, self.lead = choose("length", length, ("sum", "mean")), lead
        self._trie = functools.lru_cache(maxsize=8192)(self._build_trie)
        self._check_tree()

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Choose a command for each prompt, one uniform each; without gradients."""
        if len(prompts) != len(streams):
            raise InputError("streams", len(streams), f"one for each of {len(prompts)} prompts")
        if not prompts:
            return []
        with torch.no_grad():
            laws = self._laws(self.language.model, prompts).cpu().numpy().astype(np.float64)
            draws: list[float | None] = [None] * len(prompts)
            if not greedy:
                draws = list(decision_uniforms(streams)[:, 0])
            for i, (prompt, draw) in enumerate(zip(prompts, draws, strict=True)):
                count = len(prompt.admissible)
                if margin(np.exp(laws[i, :count]), draw) < self.too_close:
                    laws[i, :count] = self._laws(self.language.model, [prompt])[0].cpu().numpy()
        return [_chosen(prompt, law, draw) for prompt, law, draw in zip(prompts, laws, draws, strict=True)]

    def laws(self, prompts: Sequence[Prompt]) -> Tensor:
        """Return (S, C) log-probabilities of all commands with gradients, -inf beyond a decision's own commands."""
        return self._laws(self.language.model, prompts)

    def answer(self, prompt: Prompt, action: str) -> Response:
        """The response that says `action`; InputError with the nearest command where it is not admissible."""
        if action not in prompt.admissible:
            allowed = f"one of {len(prompt.admissible)} admissible commands"
            raise UnknownNameError("action", repr(action), allowed, nearest(action, prompt.admissible))
        return _response(prompt, prompt.admissible.index(action), 0.0, 0.0)

    def count_tokens(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """(S,) int64 tokens of each prompt and its tree of commands."""
        rows = [self._row((prompt.text, prompt.admissible)) for prompt in prompts]
        return np.asarray([len(ids) + len(trie.token) for ids, trie in rows], np.int64)

    def _score(self, model: PreTrainedModel, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        chosen = []
        for prompt, response in zip(prompts, responses, strict=True):
            index = int(response.tokens[0])
            if not 0 <= index < len(prompt.admissible) or prompt.admissible[index] != response.action:
                raise InputError("response", repr(response.action), f"the command that token {index} of its prompt is")
            chosen.append(index)
        offsets = np.arange(len(prompts) + 1, dtype=np.int64)
        if not prompts:
            nothing = torch.zeros(0, device=self.language.device)
            return TokenLogProbs(nothing, nothing, offsets)
        laws = self._laws(model, prompts)
        index = self.language.tensor(np.asarray(chosen, np.int64))
        outside = torch.isinf(laws)
        entropy = -(laws.exp() * laws.masked_fill(outside, 0.0)).sum(-1)
        return TokenLogProbs(laws.gather(1, index[:, None])[:, 0], entropy, offsets)

    def _laws(self, model: PreTrainedModel, prompts: Sequence[Prompt]) -> Tensor:
        number: dict[Key, int] = {}
        back = [number.setdefault((prompt.text, prompt.admissible), len(number)) for prompt in prompts]
        rows = [self._row(key) for key in number]
        width = max(len(trie.length) for _, trie in rows)
        pieces, order = [], []
        for batch in micro_batches([len(ids) + len(trie.token) for ids, trie in rows], self.batch_tokens):
            batch_rows = [rows[i] for i in batch]
            likelihoods = self._token_sums(model, batch_rows, width)
            if self.length == "mean":
                likelihoods = likelihoods / self.language.tensor(_lengths([trie for _, trie in batch_rows], width))
            pieces.append((likelihoods / self.temperature).log_softmax(-1))
            order.append(batch)
        place = np.argsort(np.concatenate(order))[np.asarray(back)]
        return torch.cat(pieces)[self.language.tensor(place)]

    def _token_sums(self, model: PreTrainedModel, rows: Sequence[tuple[np.ndarray, Trie]], width: int) -> Tensor:
        """Return (B, width) sum_t log p(c_t | x, c_<t) of each row's commands, -inf beyond them."""
        language = self.language
        prompt_length = max(len(ids) for ids, _ in rows)
        ids, positions, sees = packed_inputs(rows, language.end)
        mask = language.tensor(sees)[:, None]
        additive = torch.zeros(mask.shape, dtype=model.dtype, device=language.device)
        additive.masked_fill_(~mask, torch.finfo(model.dtype).min)
        hidden = language.hidden(model, language.tensor(ids), additive, position_ids=language.tensor(positions))
        places = [len(trie.token) + 1 for _, trie in rows]
        first = np.concatenate([[0], np.cumsum(places)])
        row = np.repeat(np.arange(len(rows)), places)
        column = prompt_length - 1 + np.arange(first[-1]) - first[row]
        asked = hidden[language.tensor(row), language.tensor(column)]
        edge_place = np.concatenate([first[b] + trie.edge_place for b, (_, trie) in enumerate(rows)])
        edge_token = np.concatenate([trie.edge_token for _, trie in rows])
        with language.precision():
            edges, _ = gather_log_probs(
                language.head(model), asked, language.tensor(edge_place), language.tensor(edge_token), entropy=False
            )
        check_finite(edges)
        path = _paths([trie for _, trie in rows], width)
        edges = torch.cat([edges, edges.new_zeros(1)])
        real = np.arange(width) < np.asarray([len(trie.length) for _, trie in rows])[:, None]
        return edges[language.tensor(path)].sum(-1).masked_fill(~language.tensor(real), -torch.inf)

    def _row(self, key: Key) -> tuple[np.ndarray, Trie]:
        text, commands = key
        if not commands:
            raise InputError("admissible commands", "none", "at least one to choose among")
        ids, trie = self.language.encode_prompt(text), self._trie(commands)
        self.language.check_context(len(ids) + int(trie.depth.max(initial=-1)) + 1, "prompt and command")
        return ids, trie

    def _build_trie(self, commands: tuple[str, ...]) -> Trie:
        return build_trie([self.language.encode(self.lead + command) for command in commands], self.language.end)

    def _check_tree(self) -> None:
        """Compare a tree with its commands run one by one, plainly: a model with other attention is refused."""
        language, model = self.language, self.language.model
        prompt, commands = [3, 1, 4, 1], [[5, 9], [5, 2, 6], [7]]
        allowed = "full attention by given positions, so that commands can share their prompt"
        refusal = InputError("model", type(model).__name__, allowed)
        if set(getattr(model.config, "layer_types", None) or ()) - {"full_attention"}:
            raise refusal
        with torch.no_grad():
            try:
                tree = self._token_sums(model, [(np.asarray(prompt), build_trie(commands, language.end))], 3)[0]
            except (TypeError, ValueError, RuntimeError, IndexError) as error:
                raise refusal from error
            for command, likelihood in zip(commands, tree, strict=True):
                ids = torch.tensor([*prompt, *command, language.end], device=language.device)
                hidden = language.hidden(model, ids[None])[0, len(prompt) - 1 : -1]
                place = torch.arange(len(hidden), device=language.device)
                with language.precision():
                    plain, _ = gather_log_probs(language.head(model), hidden, place, ids[len(prompt) :], entropy=False)
                check_finite(plain)
                precise = model.dtype != torch.bfloat16 and not language.reduced
                if abs(float(plain.sum() - likelihood)) > (1e-3 if precise else 0.2):
                    raise refusal


def packed_inputs(rows: Sequence[tuple[np.ndarray, Trie]], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay decisions out as rows of [padding, prompt, nodes, padding]: all prompts end in one column.

    Returns ids (B, L) int64, positions (B, L) int64 and what each place sees (B, L, L) bool: prompt tokens what stands
    before them, nodes the whole prompt and their ancestors. Padding sees itself, so that no row of it is empty.
    """
    prompt = max(len(ids) for ids, _ in rows)
    total = prompt + max(len(trie.token) for _, trie in rows)
    ids = np.full((len(rows), total), pad, np.int64)
    positions = np.zeros((len(rows), total), np.int64)
    sees = np.zeros((len(rows), total, total), bool)
    sees[:, np.arange(total), np.arange(total)] = True
    causal = np.tri(prompt, dtype=bool)
    for b, (tokens, trie) in enumerate(rows):
        start, stop = prompt - len(tokens), prompt + len(trie.token)
        ids[b, start:prompt], ids[b, prompt:stop] = tokens, trie.token
        positions[b, start:prompt] = np.arange(len(tokens))
        positions[b, prompt:stop] = len(tokens) + trie.depth
        sees[b, start:prompt, start:prompt] = causal[start:, start:]
        sees[b, prompt:stop, start:prompt] = True
        sees[b, prompt:stop, prompt:stop] = trie.sees
    return ids, positions, sees


def _paths(tries: Sequence[Trie], width: int) -> np.ndarray:
    """Return the edges (B, width, D) of each command, counted over all rows; the number of edges stands for none."""
    edges = sum(len(trie.edge_token) for trie in tries)
    path = np.full((len(tries), width, max(trie.path.shape[1] for trie in tries)), edges, np.int64)
    first = 0
    for b, trie in enumerate(tries):
        own = np.where(trie.path == len(trie.edge_token), edges, trie.path + first)
        path[b, : own.shape[0], : own.shape[1]] = own
        first += len(trie.edge_token)
    return path


def _lengths(tries: Sequence[Trie], width: int) -> np.ndarray:
    """Return (B, width) the tokens of each command, the end token included; one beyond the commands."""
    lengths = np.ones((len(tries), width), np.int64)
    for b, trie in enumerate(tries):
        lengths[b, : len(trie.length)] = trie.length
    return lengths


def _chosen(prompt: Prompt, law: np.ndarray, draw: float | None) -> Response:
    law = law[: len(prompt.admissible)]
    probabilities = np.exp(law)
    index = int(np.argmax(law)) if draw is None else inverse_cdf(probabilities, draw)
    return _response(prompt, index, float(law[index]), float(-(probabilities * law).sum()))


def _response(prompt: Prompt, index: int, log_prob: float, entropy: float) -> Response:
    action = prompt.admissible[index]
    return Response(action, action, np.asarray([index], np.int64), np.asarray([log_prob]), entropy)
