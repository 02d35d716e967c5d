"""Nouns of a product title, for the part of the reward that compares product types."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from functools import lru_cache

from creditsim.errors import InputError, choose

__all__ = ["TAGGERS", "Tagger", "make_tagger", "rule_nouns"]

Tagger = Callable[[str], tuple[str, ...]]
"""A title to its nouns, lower-cased, in order and with repetitions."""

TAGGERS = ("auto", "rule", "spacy")
MODELS = ("en_core_web_sm", "en_core_web_lg")
_NOUNS = frozenset({"NOUN", "PROPN"})
_TOKEN = re.compile(r"\w+")
# Words of the closed classes: whatever else is alphabetic passes for a noun.
_CLOSED = frozenset(
    "a about above across after all also am an and another any anyone are around as at away be because been before "
    "behind being below best better between both but by can could did do does down during each either else even ever "
    "every few for from further had has have he her here hers him his how i if in inside into is it its just least "
    "less like made make many may me might mine more most much must my near neither no nor not of off on once one "
    "only onto or other our ours out outside over own per plus she should since so some such than that the their "
    "them then there these they this those through to too toward under until up upon us very via was we were what "
    "when where which while who whom whose why will with within without would you your yours".split()
)


def rule_nouns(title: str) -> tuple[str, ...]:
    """Take every alphabetic word outside the closed classes for a noun; deterministic, no model needed."""
    words = (word.lower() for word in _TOKEN.findall(title) if word.isalpha())
    return tuple(word for word in words if word not in _CLOSED)


@lru_cache(maxsize=4)
def make_tagger(kind: str) -> Tagger:
    """Return the tagger: `spacy` (NOUN and PROPN of a small or large English model), `rule`, or `auto`.

    `auto` is spaCy where one of its models can be imported and the rule elsewhere. The two agree on the type factor
    except at its margins; the rest of the reward does not ask.
    """
    choose("tagger", kind, TAGGERS)
    model = next((name for name in MODELS if importlib.util.find_spec(name)), None) if kind != "rule" else None
    if model is None:
        if kind == "spacy":
            raise InputError("tagger", "'spacy', but no model can be imported", "rule, auto, or " + " or ".join(MODELS))
        return rule_nouns
    pipeline = importlib.import_module(model).load()

    @lru_cache(maxsize=16_384)
    def nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in pipeline(title) if token.pos_ in _NOUNS)

    return nouns
