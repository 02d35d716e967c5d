"""A byte-level BPE tokenizer of our own, trained on environment text in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from creditsim.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["END", "PAD", "train_tokenizer"]

PAD, END = "<|pad|>", "<|end|>"
_TAGS = ("<think>", "</think>", "<action>", "</action>")


def train_tokenizer(texts: Iterable[str], *, vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """Train byte-level BPE on `texts` and return it as a transformers tokenizer.

    Any text can be encoded, since all 256 bytes are tokens; decoding gives it back unchanged. The answer tags are one
    token each. `vocabulary` counts everything, and is an upper bound: merges end when no pair is seen twice. Save with
    `save_pretrained(folder)`. Errors: InputError for no text, or fewer entries than bytes, tags and specials.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [text for text in texts if text]
    least = 256 + 2 + len(_TAGS)
    if not texts:
        raise InputError("tokenizer texts", "none", "at least one text to train on")
    if vocabulary < least:
        raise InputError("vocabulary", vocabulary, f"at least {least}: bytes, tags and two special tokens")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(_TAGS),
        min_frequency=2,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in _TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
