"""What a purchase earns, exactly as WebShop pays it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from creditsim.errors import ExtraMissingError
from llm_bridge.envs.webshop.colours import normalise_colour
from llm_bridge.envs.webshop.data import Product
from llm_bridge.envs.webshop.goals import Goal, GoalOption
from llm_bridge.envs.webshop.tagger import Tagger

__all__ = ["RULES", "Rules", "Score", "attribute_hits", "option_hits", "score_purchase", "type_score"]


@dataclass(frozen=True)
class Rules:
    """The constants of the reward."""

    fuzzy: int = 85
    """A token-set ratio above this is a hit."""
    no_nouns: float = 0.2
    """Title score where the goal's title has no noun."""
    title: float = 0.2
    """A title score above this makes the types match."""
    shared_parts: int = 2
    """So do this many shared parts of the category path."""
    unlike: float = 0.5
    """Type factor where nothing makes the types match."""
    faint: float = 0.1
    """Below this title score the factor is `barely`, whatever else matches."""
    barely: float = 0.1
    nothing: float = 0.0
    """Factor at a title score of zero."""


RULES = Rules()


@dataclass(frozen=True)
class Score:
    """The reward and what it is made of."""

    total: float
    type_factor: float
    attributes: int
    """Goal attributes found in the product."""
    options: int
    """Goal options found among the chosen ones."""
    price: bool
    title_score: float
    parts: int
    """Denominator: goal attributes, goal options and the price."""


def score_purchase(
    product: Product,
    goal: Goal,
    price: float,
    chosen: Mapping[str, str],
    nouns: Tagger,
    rules: Rules = RULES,
) -> Score:
    """Score the purchase of `product` at `price` dollars with the `chosen` options.

    r = r_type (attributes hit + options hit + [price <= bound]) / (attributes + options + 1), in [0, 1]; it is 1 for
    the goal's own product with the options asked for. Source: the public WebShop code (code).
    """
    factor, title = type_score(product, goal, nouns, rules)
    attributes = attribute_hits(product, goal.attributes, rules)
    options = option_hits(chosen.values(), goal.options, rules)
    within = price <= goal.price_upper
    parts = len(goal.attributes) + len(goal.options) + 1
    return Score(
        total=(attributes + options + within) / parts * factor,
        type_factor=factor,
        attributes=attributes,
        options=options,
        price=within,
        title_score=title,
        parts=parts,
    )


def type_score(product: Product, goal: Goal, nouns: Tagger, rules: Rules = RULES) -> tuple[float, float]:
    """Return the type factor and the title score.

    Title score = distinct nouns that both titles have / nouns of the goal's title, repetitions counted.
    """
    wanted = nouns(goal.name)
    shared = set(nouns(product.title)) & set(wanted)
    title = len(shared) / len(wanted) if wanted else rules.no_nouns
    parts = _parts(product.product_category) & _parts(goal.product_category)
    alike = product.query == goal.query or len(parts) >= rules.shared_parts or title > rules.title
    factor = 1.0 if alike else rules.unlike
    if title < rules.faint:
        factor = rules.barely
    if title == 0.0:
        factor = rules.nothing
    return factor, title


def attribute_hits(product: Product, wanted: Iterable[str], rules: Rules = RULES) -> int:
    """Count goal attributes that resemble one of the product's, or stand literally in its lower-cased words."""
    ratio = _token_set_ratio()
    texts = (product.title.lower(), " ".join(product.bullets).lower(), product.description.lower())
    return sum(
        any(ratio(own, attribute) > rules.fuzzy for own in product.attributes)
        or any(attribute in text for text in texts)
        for attribute in wanted
    )


def option_hits(chosen: Iterable[str], wanted: Iterable[GoalOption], rules: Rules = RULES) -> int:
    """Count goal options that resemble one of the chosen values, colours normalised on both sides.

    A synthetic goal's option is a (name, value) pair, compared as its text "name value"; a colour word replaces it
    only where name or value is exactly that word.
    """
    ratio = _token_set_ratio()
    own = [normalise_colour(value) for value in chosen]
    return sum(any(ratio(value, normalise_colour(option)) > rules.fuzzy for value in own) for option in wanted)


def _parts(path: str) -> set[str]:
    return {part.strip() for part in path.split("\u203a")}


@lru_cache(maxsize=1)
def _token_set_ratio() -> Callable[[object, object], int]:
    # thefuzz lower-cases, drops Latin-1 letters beyond ASCII, turns punctuation into spaces and rounds: raw
    # rapidfuzz does none of this.
    try:
        from thefuzz import fuzz
    except ImportError:
        raise ExtraMissingError("thefuzz", "webshop") from None
    return lru_cache(maxsize=65_536)(fuzz.token_set_ratio)
