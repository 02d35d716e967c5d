"""Numbers, prose and verdict words as a reader should meet them; everything comes back escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup, escape

__all__ = ["count", "detail_rows", "headline", "interval", "number", "p_value", "predicted", "prose", "sentence"]

_NOISE = 1e-13
"""Numbers below are rounding of sums of order one and shown as 0."""
_ENTRIES = 12
_HEADLINE = (60, 260)
"""Characters from which a sentence may end, and at which a long one is cut."""
_ROWS = 60


def number(value: Any) -> str:
    """Four significant digits; 0 for rounding noise; a dash for what is not finite or not there."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return count(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) < _NOISE:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        decimals = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        text = f"{mantissa} × 10{_raised(int(exponent))}"
    return text.replace("-", "−")


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def count(value: int) -> str:
    """Whole number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u2009").replace("-", "−")


def interval(ends: Any) -> str:
    """[low, high]; an end that is missing is infinite."""
    low, high = ends
    return f"[{number(-math.inf if low is None else low)}, {number(math.inf if high is None else high)}]"


def p_value(value: float) -> str:
    """`= 0.003`; a p-value at the floor of the inversion is shown as a bound."""
    return "< 10⁻⁹" if value < 1e-9 else f"= {number(value)}"


_RELATIONS = {"equality": "=\u00a0", "<=": "≤\u00a0", ">=": "≥\u00a0", "monotone": "steps ≥\u00a0"}


def predicted(evidence: Any) -> str:
    """What the statement asks of the statistic: `= 0.5 ± 0.01`, `≤ 0.3`, or the number of the entry that decides.

    Takes a row of the ledger or stored evidence; of a conditional one, what is asked inside its regime.
    """
    stored = isinstance(evidence, Mapping)
    parts = evidence["parts"] if stored else evidence.parts
    if parts:
        return predicted(parts[0])
    kind, aim, margin, alpha = (
        evidence[name] if stored else getattr(evidence, "relation" if name == "kind" else name)
        for name in ("kind", "prediction", "margin", "alpha")
    )
    # A tolerance for rounding is no part of the statement; the margin of a sampled or approximate equality is.
    width = f" ± {number(margin)}" if margin and (alpha > 0 or margin > 1e-6) else ""
    return f"{_RELATIONS.get(kind, '')}{number(aim)}{width}"


_CODE = re.compile(r"``?([^`]+)``?")


def sentence(text: str) -> Markup:
    """One line of prose: escaped, `code` set as code."""
    out, last = Markup(), 0
    for match in _CODE.finditer(text):
        out += escape(text[last : match.start()]) + Markup("<code>{}</code>").format(match[1])
        last = match.end()
    return out + escape(text[last:])


def headline(text: str) -> Markup:
    """The first sentence or clause of a statement, for tables; cut at a word where it is long."""
    flat = _flow(text.split("\n\n")[0])
    # No stop inside brackets ends a sentence: (README, fig. 9), E[g . d], (paper: 50).
    ends = [m.end() for m in re.finditer(r"(?<!\.)[.;:](?= )", flat) if _closed(flat[: m.end()])]
    end = next((e for e in ends if e >= _HEADLINE[0]), len(flat))
    if end <= _HEADLINE[1]:
        return sentence(flat[:end].rstrip(":;.") + ".")
    return sentence(flat[: flat.rfind(" ", 0, _HEADLINE[1])] + " …")


def _closed(text: str) -> bool:
    return text.count("(") == text.count(")") and text.count("[") == text.count("]")


def prose(text: str) -> Markup:
    """Paragraphs of a docstring: blank lines separate them, indented blocks are formulas and keep their lines."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]
    return Markup("\n").join(_block(block) for block in blocks)


def _block(block: str) -> Markup:
    lines = block.splitlines()
    if all(line.startswith((" ", "\t")) for line in lines):
        return Markup("<pre>{}</pre>").format("\n".join(line.strip() for line in lines))
    if all(line.startswith(("- ", "* ", "  ")) for line in lines) and lines[0][:2] in ("- ", "* "):
        items = re.split(r"\n[-*] ", "\n" + block)[1:]
        return Markup("<ul>{}</ul>").format(
            Markup().join(Markup("<li>{}</li>").format(sentence(_flow(i))) for i in items)
        )
    return Markup("<p>{}</p>").format(sentence(_flow(block)))


def _flow(text: str) -> str:
    return " ".join(text.split())


def detail_rows(detail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Flattened `name -> value` lines of an Evidence's detail; long lists are cut and say so."""
    lines = list(_flatten("", detail))
    more = [("…", f"{len(lines) - _ROWS} more lines in verdicts.json")] if len(lines) > _ROWS else []
    return lines[:_ROWS] + more


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and prefix and value and not any(_is_nested(v) for v in value.values()):
        shown = [f"{name}: {number(v)}" for name, v in value.items()]
        yield prefix, "; ".join(shown[:_ENTRIES]) + (f"; … ({len(shown)} entries)" if len(shown) > _ENTRIES else "")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(f"{prefix} · {name}" if prefix else str(name), inner)
    elif isinstance(value, (list, tuple)):
        shown = ", ".join(number(v) if not _is_nested(v) else "(…)" for v in value[:_ENTRIES])
        yield prefix, shown + (f", … ({len(value)} entries)" if len(value) > _ENTRIES else "")
    else:
        yield prefix, number(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple, Mapping))
