"""The command line: a table of commands, each in a module of its own that is imported when it is used.

Exit codes: 0 done, 1 a check failed or a verdict changed, 2 bad input (one line), 3 out of memory or disk, 130
interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import importlib
import io
import os
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from creditsim import __version__
from creditsim.errors import CreditsimError, InputError, ResourceError, UnknownNameError, choose, nearest

__all__ = ["COMMANDS", "main"]


class Command(NamedTuple):
    """Where a command lives: a module with `Config` and `run(config) -> exit code`.

    `Config` is a dataclass, or a mapping of one for each subcommand.
    """

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "bridge": Command(
        "llm_bridge.commands.bridge", "text environments: make data, play, roll out, train, evaluate, rank on a twin"
    ),
    "claims": Command("creditsim.commands.claims", "list the claims, check them, show one"),
    "conformance": Command("creditsim.commands.conformance", "compare estimators and losses with golden files"),
    "doctor": Command("creditsim.commands.doctor", "versions, extras, devices and the kernel cache"),
    "figures": Command(
        "creditsim.commands.figures", "draw the figures of a results folder, the gallery, the questions"
    ),
    "list": Command("creditsim.commands.list", "names of estimators, environments, methods, designs, ..."),
    "reproduce": Command("creditsim.commands.reproduce", "check all claims, draw them, write report.html"),
    "show": Command("creditsim.commands.show", "formula, presets, needs and evidence of anything that `list` names"),
    "study": Command("creditsim.commands.study", "grids of estimators or methods: bias, variance, gradients, curves"),
    "train": Command("creditsim.commands.train", "train tabular policies by a method, with the exact return"),
}

_WIDE = "4000"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except CreditsimError as error:
        print(f"creditsim: {_one_line(str(error))}", file=sys.stderr)
        return 3 if isinstance(error, ResourceError) else 2
    except KeyboardInterrupt:
        print("creditsim: interrupted", file=sys.stderr)
        return 130
    except MemoryError:
        print("creditsim: out of memory; nothing was half-written", file=sys.stderr)
        return 3
    except BrokenPipeError:
        # The reader has all it wanted; Python's flush at exit must not meet the closed pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print("creditsim: out of disk space; files written before are whole", file=sys.stderr)
        return 3


def _dispatch(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    name, rest = args[0], args[1:]
    if name in ("-V", "--version"):
        print(f"creditsim {__version__}")
        return 0
    if name not in COMMANDS:
        raise UnknownNameError("command", repr(name), " | ".join(COMMANDS), nearest(name, COMMANDS))
    module = importlib.import_module(COMMANDS[name].module)
    kind, prog = module.Config, f"creditsim {name}"
    if isinstance(kind, Mapping):
        if not rest or rest[0] in ("-h", "--help"):
            print(_suboverview(kind, prog))
            return 0
        kind, rest, prog = kind[choose(prog, rest[0], kind)], rest[1:], f"{prog} {rest[0]}"
    config = _parse(kind, rest, prog)
    return 0 if config is None else int(module.run(config))


def _suboverview(kinds: Mapping[str, type[Any]], prog: str) -> str:
    width = max(map(len, kinds))
    rows = [f"  {name:<{width}}  {(kind.__doc__ or '').splitlines()[0]}" for name, kind in kinds.items()]
    return "\n".join([f"usage: {prog} WHAT [OPTIONS]", "", *rows, "", f"{prog} WHAT --help tells its options."])


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: creditsim COMMAND [OPTIONS]",
            "",
            "Check credit-assignment estimators for LLM agents against exact values on tabular MDPs.",
            "",
            "commands:",
            *rows,
            "",
            "creditsim COMMAND --help tells a command's options; creditsim --version tells the version.",
        ]
    )


def _parse(kind: type[Any], args: list[str], prog: str) -> Any | None:
    """Return a `kind` from the arguments, its fields without default as positional ones; None after --help."""
    import tyro

    _check_options(kind, args, prog)
    default = _defaults(kind, args) or tyro.MISSING_NONPROP
    styles = (tyro.conf.PositionalRequiredArgs, tyro.conf.FlagCreatePairsOff)
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    wants_help = any(arg in ("-h", "--help") for arg in args)
    if not wants_help:
        os.environ["COLUMNS"] = _WIDE
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=args, prog=prog, default=default, config=styles)
    except SystemExit as stop:
        if not stop.code:
            return None
        raise _told(said.getvalue(), kind, prog) from None
    finally:
        os.environ.pop("COLUMNS", None)
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _defaults(kind: type[Any], args: list[str]) -> Any | None:
    """What options begin with: a preset of the command's `PRESETS`, and over it a TOML file; None without either."""
    presets = getattr(kind, "PRESETS", {})
    path = _said(args, "config") if "config" in _names(kind) else None
    name = _said(args, "preset") if presets else None
    if path is None and name is None:
        return None
    from creditsim.configs import load, read_toml

    alone = None if path is None else load(kind, path)
    values = {} if path is None else read_toml(path)
    name = values.get("preset") if name is None and presets else name
    return alone if name is None else load(kind, _over(presets[choose("preset", name, presets)], values))


def _over(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values over those of a base, table by table."""
    inner = {key: _over(base[key], own) for key, own in values.items() if isinstance(base.get(key), Mapping)}
    return {**base, **values, **inner}


def _said(args: list[str], option: str) -> str | None:
    for index, arg in enumerate(args):
        if arg.startswith(f"--{option}="):
            return arg.partition("=")[2]
        if arg == f"--{option}" and index + 1 < len(args):
            return args[index + 1]
    return None


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _options(kind: type[Any], prefix: str = "--") -> list[str]:
    """Options of a dataclass; those of a dataclass in it have its name and a dot before theirs."""
    kinds, found = typing.get_type_hints(kind), []
    for field in dataclasses.fields(kind):
        name = prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(kinds[field.name]):
            found += _options(typing.cast(type, kinds[field.name]), f"{name}.")
        elif not _is_required(field):
            found.append(name)
    return found


def _check_options(kind: type[Any], args: list[str], prog: str) -> None:
    # Before anything is parsed, because the parser tells of a missing argument first and hides the misspelt one.
    known = _options(kind)
    for arg in args:
        option = arg.partition("=")[0].replace("_", "-")
        if arg.startswith("--") and option not in (*known, "--help"):
            raise UnknownNameError(f"{prog} option", repr(option), " ".join(known), nearest(option, known))


def _told(box: str, kind: type[Any], prog: str) -> InputError:
    """Turn the parser's box into the one line of bad input: field, got, allowed, nearest."""
    # The box is drawn in ASCII where the terminal has no more; its first line is a title, its rulers say nothing.
    lines = [line.strip(" │╭╮╰╯─|+") for line in box.splitlines()]
    text = " ".join([line for line in lines if line.strip("-")][1:]) or box
    if match := re.match(r"Unrecognized options: (\S+?),?(?: |$)", text):
        return UnknownNameError(f"{prog} argument", repr(match[1]), " ".join(_options(kind)))
    if match := re.match(r"Error parsing (\S+?): (.*?)(?: Argument helptext|$)", text):
        kinds = {field.name: str(field.type).removesuffix(" | None") for field in dataclasses.fields(kind)}
        wanted = kinds.get(match[1].strip("-").replace("-", "_"), "")
        allowed = {"int": "a whole number", "float": "a number"}.get(wanted, f"a value of type {wanted}")
        quoted = re.search(r"'[^']*'", match[2])
        return InputError(match[1], quoted[0] if quoted else match[2], allowed)
    if match := re.match(r"invalid choice (.+?) for argument '(\S+?)'\. Expected one of \((.*?)\)", text):
        choices = re.findall(r"'([^']*)'", match[3])
        return UnknownNameError(match[2], match[1], " | ".join(choices), nearest(match[1].strip("'"), choices))
    if match := re.match(r"Missing value for argument '(\S+?)'", text):
        return InputError(match[1], "nothing", "a value after it")
    if text.startswith("Missing from"):
        needed = [f.name for f in dataclasses.fields(kind) if _is_required(f)]
        return InputError(f"{prog} {needed[0].upper()}", "nothing", f"a value; see {prog} --help")
    return InputError(prog, text.split(" For full helptext")[0], f"what {prog} --help tells")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _one_line(text: str) -> str:
    return " ".join(text.split())
