"""One typed dataclass is the Python API, the command line and the TOML file; this is its way to and from TOML.

`load` checks a file or a mapping against the dataclass and names file, field, what was got and what was allowed;
`dump` writes text that `load` turns back into an equal instance.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from creditsim.errors import CorruptFileError, InputError, UnknownNameError, nearest

__all__ = ["dump", "load", "parse_value", "read_toml"]

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ALLOWED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "a whole number",
    "missing": "a value; it has no default",
    "string_type": "a string",
    "tuple_type": "a list",
}


def load(kind: type[T], source: str | Path | Mapping[str, Any]) -> T:
    """Return an instance of the dataclass `kind` from a TOML file or a mapping of its fields.

    Nothing is converted: a string is no number and 1.0 is no whole number. Errors (one line each): a file that cannot
    be read or is no TOML, an unknown field with its nearest match, a missing one, a value of the wrong type or not
    among the choices; each names the file and the field's path.
    """
    if isinstance(source, Mapping):
        values, where = dict(source), ""
    else:
        values, where = read_toml(source), f"{source}: "
    for path, name, fields in _unknown(kind, values, ""):
        raise UnknownNameError(f"{where}{path}field", repr(name), " | ".join(fields), nearest(name, fields))
    return _validated(kind, values, where)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return what a TOML file holds; errors name the file and, for bad syntax, the line."""
    try:
        text = Path(path).read_bytes().decode()
        return tomllib.loads(text)
    except OSError as error:
        raise InputError(str(path), error.strerror or "an unreadable file", "a readable TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(str(path), str(error).replace("\n", " "), "TOML in UTF-8") from None


def parse_value(text: str, field: str) -> Any:
    """Read one value as TOML would: 0.5, true, [1, 2], {start = 1.0, end = 0.0}; a bare word or path is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if re.fullmatch(r"(?:[A-Za-z_/~]|\.{1,2}/)[\w.,@:/~-]*", text):
            return text
        raise InputError(field, repr(text), "a TOML value: number, true, false, string, [list] or {table}") from None


def dump(instance: Any) -> str:
    """Return TOML text of a dataclass instance; fields that are None are left out, so their default must be None."""
    return "\n".join(_table(_fields(instance), ())) + "\n"


def _validated(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    from pydantic import TypeAdapter, ValidationError

    try:
        # JSON rules under `strict`: lists are tuples, and nothing else is converted.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        raise InputError(f"{where}{path}", "nothing", _ALLOWED["missing"])
    got = repr(first["input"])
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
        raise UnknownNameError(f"{where}{path}", got, " | ".join(choices), nearest(str(first["input"]), choices))
    raise InputError(f"{where}{path}", got, _ALLOWED.get(first["type"], first["msg"]))


def _unknown(kind: Any, value: Any, path: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (path, key, fields) for keys of mappings that the dataclass in their place does not know."""
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind)
        names = [field.name for field in dataclasses.fields(kind)]
        for key, inner in value.items():
            if key not in names:
                yield path, str(key), names
            else:
                yield from _unknown(hints[key], inner, f"{path}{key}.")
        return
    for inner_kind in typing.get_args(kind):
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from _unknown(inner_kind, inner, f"{path}{key}.")
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                yield from _unknown(inner_kind, inner, f"{path}{index}.")


def _fields(instance: Any) -> dict[str, Any]:
    out = {}
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if value is None and field.default is not None:
            raise InputError(field.name, "None", "a value; TOML has none, and the field's default is another")
        out[field.name] = value
    return out


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    values = {key: _fields(v) if dataclasses.is_dataclass(v) else v for key, v in values.items()}
    plain = {key: v for key, v in values.items() if not isinstance(v, Mapping) and v is not None}
    lines = [f"{_key(key)} = {_value(v, key)}" for key, v in plain.items()]
    for key, inner in values.items():
        if isinstance(inner, Mapping):
            lines += ["", f"[{'.'.join(map(_key, (*path, key)))}]", *_table(inner, (*path, key))]
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # TOML's basic strings are JSON's, but for the delete character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any, key: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    if isinstance(value, (str, Path)):
        return _string(str(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item, key) for item in value)}]"
    if dataclasses.is_dataclass(value):
        value = _fields(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_value(v, k)}" for k, v in value.items() if v is not None)
        return f"{{{inner}}}"
    raise InputError(key, f"a {type(value).__name__}", "what TOML can hold")
