"""A policy that writes its answer token by token with transformers `generate` and has the command read from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from creditsim.errors import InputError, NumericalError
from llm_bridge.parsing import parse, tagged
from llm_bridge.policies.base import Prompt, Response, Stream, TokenLogProbs
from llm_bridge.policies.draws import decision_uniforms
from llm_bridge.policies.gather import check_finite, gather_log_probs
from llm_bridge.policies.language_model import LanguageModel, micro_batches, right_padded
from llm_bridge.policies.shared import LanguageModelPolicy, offsets_of

__all__ = ["GeneratePolicy", "response_places"]

_CLOSE = "</action>"


class GeneratePolicy(LanguageModelPolicy):
    """Writes `<think> ... </think><action> ... </action>`, at most `max_new_tokens` tokens, ended by the closing tag.

    Token j of an answer is drawn from softmax(logits / temperature) by inverting the distribution function at number j
    of the decision's stream. Log-probabilities and entropies come from one further pass over prompt and answer, the
    pass that `score` makes. Prompts are padded on the left to multiples of `bucket` and decoded in lock step with a
    static cache. A command comes out as `llm_bridge.parsing.parse` reads it, with `tail` characters where the tags are
    missing.

    Parameters: `temperature`; `max_new_tokens`; `bucket`; `rows` decoded together; `tail`; `thought` what `answer`
    writes between the think tags; `batch_tokens` bounds a scoring pass; `chunk` positions have their logits at a
    time. Errors: InputError for a prompt that with its answer exceeds the context; NumericalError for logits that are
    not finite. Rounding differs between batches of another make-up, so a draw can turn there with a probability of
    the order of the rounding error (1e-7 a token in float32); nothing else can turn it.
    """

    def __init__(
        self,
        language: LanguageModel,
        *,
        temperature: float = 1.0,
        max_new_tokens: int = 128,
        bucket: int = 64,
        rows: int = 64,
        tail: int = 30,
        thought: str = "",
        batch_tokens: int = 8192,
        chunk: int = 1024,
    ) -> None:
        super().__init__(language, temperature=temperature, batch_tokens=batch_tokens)
        if min(max_new_tokens, bucket, rows, tail, chunk) < 1:
            got = (max_new_tokens, bucket, rows, tail, chunk)
            raise InputError("max_new_tokens, bucket, rows, tail, chunk", got, "whole numbers from 1 on")
        self.max_new_tokens, self.bucket, self.rows = max_new_tokens, bucket, rows
        self.tail, self.thought, self.chunk = tail, thought, chunk

    def act(self, prompts: Sequence[Prompt], streams: Sequence[Stream], *, greedy: bool = False) -> list[Response]:
        """Write an answer to each prompt; without gradients."""
        if len(prompts) != len(streams):
            raise InputError("streams", len(streams), f"one for each of {len(prompts)} prompts")
        if not prompts:
            return []
        rows = [self._ids(prompt) for prompt in prompts]
        answers: list[np.ndarray] = [np.zeros(0, np.int64)] * len(prompts)
        with torch.no_grad():
            padded = [-(-len(row) // self.bucket) * self.bucket for row in rows]
            for bucket in sorted(set(padded)):
                members = [i for i, length in enumerate(padded) if length == bucket]
                for start in range(0, len(members), self.rows):
                    batch = members[start : start + self.rows]
                    draws = None if greedy else decision_uniforms([streams[i] for i in batch], self.max_new_tokens)
                    for i, tokens in zip(batch, self._generate([rows[i] for i in batch], bucket, draws), strict=True):
                        answers[i] = tokens
            scored = self._score_ids(self.language.model, rows, answers)
        log_prob, entropy = scored.log_prob.cpu().numpy().astype(np.float64), scored.entropy.cpu().numpy()
        pieces = [slice(*pair) for pair in zip(scored.offsets[:-1], scored.offsets[1:], strict=True)]
        return [
            self._response(tokens, log_prob[piece], float(entropy[piece].mean()))
            for tokens, piece in zip(answers, pieces, strict=True)
        ]

    def answer(self, prompt: Prompt, action: str) -> Response:
        """The response that says `action` in tags after `thought`; any command can be said."""
        text = tagged(action, self.thought)
        tokens = self.language.encode(text)
        return Response(text, action, tokens, np.zeros(len(tokens)), 0.0)

    def count_tokens(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        """(S,) int64 tokens of each prompt and answer."""
        pairs = zip(prompts, responses, strict=True)
        return np.asarray([len(self.language.encode_prompt(p.text)) + len(r.tokens) for p, r in pairs], np.int64)

    def _score(self, model: PreTrainedModel, prompts: Sequence[Prompt], responses: Sequence[Response]) -> TokenLogProbs:
        rows = [self.language.encode_prompt(prompt.text) for prompt in prompts]
        return self._score_ids(model, rows, [np.asarray(response.tokens, np.int64) for response in responses])

    def _score_ids(
        self, model: PreTrainedModel, prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray]
    ) -> TokenLogProbs:
        offsets = offsets_of([len(answer) for answer in answers])
        language = self.language
        if offsets[-1] == 0:
            nothing = torch.zeros(0, device=language.device)
            return TokenLogProbs(nothing, nothing, offsets)
        lengths = np.asarray([len(p) + len(a) for p, a in zip(prompts, answers, strict=True)])
        language.check_context(int(lengths.max()), "prompt and answer")
        log_probs, entropies, order = [], [], []
        for batch in micro_batches(lengths, self.batch_tokens):
            ids = right_padded([np.concatenate([prompts[i], answers[i]]) for i in batch], language.end)
            row, column = response_places([len(prompts[i]) for i in batch], [len(answers[i]) for i in batch])
            hidden = language.hidden(model, language.tensor(ids))
            asked = hidden[language.tensor(row), language.tensor(column)]
            with language.precision():
                log_prob, entropy = gather_log_probs(
                    language.head(model),
                    asked,
                    torch.arange(len(row), device=language.device),
                    language.tensor(np.concatenate([answers[i] for i in batch])),
                    temperature=self.temperature,
                    chunk=self.chunk,
                )
            check_finite(log_prob)
            log_probs.append(log_prob)
            entropies.append(entropy)
            order += [np.arange(int(offsets[i]), int(offsets[i + 1])) for i in batch]
        place = language.tensor(np.argsort(np.concatenate(order)))
        return TokenLogProbs(torch.cat(log_probs)[place], torch.cat(entropies)[place], offsets)

    def _ids(self, prompt: Prompt) -> np.ndarray:
        ids = self.language.encode_prompt(prompt.text)
        padded = -(-len(ids) // self.bucket) * self.bucket
        self.language.check_context(padded + self.max_new_tokens, "prompt and answer")
        return ids

    def _generate(self, rows: Sequence[np.ndarray], length: int, draws: np.ndarray | None) -> list[np.ndarray]:
        language = self.language
        ids = np.full((len(rows), length), language.pad, np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for b, row in enumerate(rows):
            ids[b, length - len(row) :], mask[b, length - len(row) :] = row, 1
        uniforms = None if draws is None else torch.from_numpy(draws).to(language.device)
        stop = _Stop(language, length, len(rows))
        config = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=language.pad,
            eos_token_id=language.end,
            # autocast makes float32 keys beside bfloat16 values, which a static cache cannot hold
            cache_implementation=None if language.reduced else "static",
        )
        with language.precision():
            out = cast(Any, language.model).generate(
                language.tensor(ids),
                attention_mask=language.tensor(mask),
                generation_config=config,
                logits_processor=LogitsProcessorList([_KeyedDraw(uniforms, length, self.temperature)]),
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        written = out[:, length:].cpu().numpy()
        return [tokens[:count] if count else tokens for tokens, count in zip(written, stop.length, strict=True)]

    def _response(self, tokens: np.ndarray, log_probs: np.ndarray, entropy: float) -> Response:
        text = str(self.language.tokenizer.decode(tokens, skip_special_tokens=True))
        parsed = parse(text, tail=self.tail)
        return Response(text, parsed.action, tokens, log_probs, entropy, parsed.well_formed)


def response_places(prompts: Sequence[int], answers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column, in right-padded rows, of the hidden states that predict each token of the answers.

    Token j of an answer behind a prompt of p tokens stands at p + j and is predicted at p + j - 1.
    """
    row = np.repeat(np.arange(len(answers)), answers)
    inside = np.arange(len(row)) - np.repeat(np.cumsum(answers) - answers, answers)
    return row, np.repeat(prompts, answers) + inside - 1


class _KeyedDraw(LogitsProcessor):
    """Leaves one token possible: that which the decision's uniform falls on, or the likeliest one."""

    def __init__(self, uniforms: Tensor | None, start: int, temperature: float) -> None:
        self.uniforms, self.start, self.temperature = uniforms, start, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not bool(torch.isfinite(scores).all()):
            raise NumericalError("policy: the model's logits are not finite; the model diverged")
        if self.uniforms is None:
            return scores
        law = (scores.double() / self.temperature).softmax(-1).cumsum(-1)
        place = self.uniforms[:, input_ids.shape[1] - self.start, None] * law[:, -1:]
        token = torch.searchsorted(law, place, right=True).clamp_(max=law.shape[1] - 1)
        only = torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)
        return only


class _Stop(StoppingCriteria):
    """Notes where each answer ends: behind the closing tag or the end token; 0 while it goes on."""

    def __init__(self, language: LanguageModel, start: int, rows: int) -> None:
        self.language, self.start = language, start
        self.length = [0] * rows

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> torch.BoolTensor:
        written = input_ids[:, self.start :].cpu().numpy()
        for b, tokens in enumerate(written):
            if not self.length[b] and self._ended(tokens):
                self.length[b] = len(tokens)
        return cast(torch.BoolTensor, torch.tensor([count > 0 for count in self.length], device=input_ids.device))

    def _ended(self, tokens: np.ndarray) -> bool:
        if tokens[-1] == self.language.end:
            return True
        # A token is a byte at least, so the tag lies within its own number of tokens from the end.
        recent = str(self.language.tokenizer.decode(tokens[-len(_CLOSE) :]))
        return _CLOSE in recent.lower()
