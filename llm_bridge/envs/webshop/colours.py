"""The store's fixed list of colour words, in the order in which they are looked for."""

from __future__ import annotations

from typing import Any

__all__ = ["COLOURS", "normalise_colour"]

COLOURS: tuple[str, ...] = tuple(
    "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo "
    "caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream "
    "crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather "
    "indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha "
    "multicolor mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal "
    "rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise "
    "violet walnut wheat white wine yellow".split()
)


def normalise_colour(value: Any) -> Any:
    """Return the first listed colour that `value` contains, or `value` itself.

    In a text that is any substring, case and word borders apart ("tan" in "titanium"). A (name, value) pair, as
    synthetic goals have, contains a colour only where one of its two halves is exactly that word.
    """
    return next((colour for colour in COLOURS if colour in value), value)
