"""What may not stand in the sources: unsafe calls, prints, files too long to read. By syntax, not text."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("creditsim", "theory", "figures", "llm_bridge")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PRINTERS = ("creditsim/cli.py", "creditsim/commands/", "creditsim/reference.py", "llm_bridge/commands/")
MOST_LINES = 600
UNSAFE = {
    "pickle.load", "pickle.loads", "cPickle.load", "dill.load", "dill.loads", "joblib.load", "marshal.loads",
    "eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen", "breakpoint", "pdb.set_trace",
    "np.random.seed", "numpy.random.seed", "tempfile.mktemp",
}  # fmt: skip
BAD_KEYWORDS = {
    ("shell", True), ("trust_remote_code", True), ("allow_pickle", True), ("weights_only", False),
    ("autoescape", False), ("fastmath", True), ("verify", False),
}  # fmt: skip


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def faulty(look: Callable[[Path], list[Any]]) -> dict[str, list[Any]]:
    """What a look at every source finds, by file."""
    found = {name(path): look(path) for path in FILES}
    return {path: faults for path, faults in found.items() if faults}


@cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    """All nodes of a source."""
    return tuple(ast.walk(ast.parse(text)))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, else an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def unsafe(text: str, prints: bool = False) -> list[str]:
    """Unsafe calls in a source, with their lines; `prints` allows print."""
    found = []
    for node in nodes(text):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            found += [f"{node.lineno}: import {each}" for each in names if each.split(".")[0] in ("pickle", "dill")]
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in UNSAFE or (called == "print" and not prints):
            found.append(f"{node.lineno}: {called}")
        for keyword in node.keywords:
            if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in BAD_KEYWORDS:
                found.append(f"{node.lineno}: {keyword.arg}={keyword.value.value}")
    return found


def test_no_unsafe_call() -> None:
    assert faulty(lambda path: unsafe(path.read_text(), prints=name(path).startswith(PRINTERS))) == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle\npickle.load(f)", "2: pickle.load"),
        ("from pickle import loads", "1: import pickle"),
        ("x = eval('1')", "1: eval"),
        ("yaml.load(f)", "1: yaml.load"),
        ("subprocess.run('ls', shell=True)", "1: shell=True"),
        ("m.from_pretrained(p, trust_remote_code=True)", "1: trust_remote_code=True"),
        ("np.load(p, allow_pickle=True)", "1: allow_pickle=True"),
        ("torch.load(p, weights_only=False)", "1: weights_only=False"),
        ("breakpoint()", "1: breakpoint"),
        ("print('x')", "1: print"),
    ],
)
def test_the_scan_sees_what_it_is_for(text: str, what: str) -> None:
    assert what in unsafe(text)
    # The same words in a string or a comment are no call.
    assert unsafe(f"words = {text!r}  # {text.splitlines()[0]}") == []


def test_no_file_is_too_long() -> None:
    assert faulty(lambda path: path.read_text().splitlines()[MOST_LINES:]) == {}


def test_half_of_the_files_are_short_and_few_are_long() -> None:
    lines = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert lines[len(lines) // 2] <= 180
    assert sum(count > 350 for count in lines) <= len(lines) // 20


def test_names_of_test_files_are_unique() -> None:
    # Without __init__.py pytest imports test files by their bare names.
    names = [path.name for path in TESTS if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def outside_strings(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def commented_code(text: str) -> list[str]:
    """Comments that parse as an assignment, a call, an import or a return: code that was switched off."""
    found = []
    for line, comment in outside_strings(text):
        try:
            body = ast.parse(comment).body
        except SyntaxError:
            continue
        statement = body[0] if body else None
        is_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        if is_call or isinstance(statement, (ast.Assign, ast.AugAssign, ast.Import, ast.ImportFrom, ast.Return)):
            found.append(f"{line}: {comment}")
    return found


def test_no_code_is_commented_out() -> None:
    assert faulty(lambda path: commented_code(path.read_text())) == {}


def test_the_look_for_commented_code_sees_it() -> None:
    assert commented_code("x = 1  # y = 2\n# print(x)\n# why: the sum is exact\n") == ["1: y = 2", "2: print(x)"]


def asserts(text: str) -> list[int]:
    """Lines of asserts without a marker that says why no user can reach them."""
    lines = text.splitlines()
    found = (node for node in nodes(text) if isinstance(node, ast.Assert))
    return [node.lineno for node in found if "noqa: S101" not in lines[node.lineno - 1]]


def test_input_is_not_checked_by_assert() -> None:
    # Asserts vanish under -O; each one left tells in its line why it is no check of input.
    assert faulty(lambda path: asserts(path.read_text())) == {}
    assert asserts("assert x > 0, 'bad x'") == [1]


def kernels_of(text: str) -> Iterator[ast.FunctionDef]:
    for node in nodes(text):
        if isinstance(node, ast.FunctionDef):
            marks = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
            if "kernel" in marks:
                yield node


def careless(text: str) -> list[str]:
    """Random numbers of NumPy inside kernels, and compilations that bypass the keyed cache."""
    found = [
        f"{node.name}: {dotted(inner)}"
        for node in kernels_of(text)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and dotted(inner) in ("np.random", "numpy.random")
    ]
    for node in nodes(text):
        if isinstance(node, ast.Call) and dotted(node.func) in ("numba.njit", "njit", "numba.jit"):
            found += [f"{node.lineno}: cache=True" for k in node.keywords if k.arg == "cache"]
    return found


def test_kernels_draw_nothing_and_share_one_cache() -> None:
    assert set(faulty(lambda path: careless(path.read_text()))) <= {"creditsim/jit.py"}


def test_the_look_at_kernels_sees_both_faults() -> None:
    text = "@kernel(parallel=True)\ndef f(x):\n    return np.random.rand()\n\ng = numba.njit(f, cache=True)\n"
    assert careless(text) == ["f: np.random", "5: cache=True"]
    assert sum(1 for path in FILES for _ in kernels_of(path.read_text())) > 20


def test_public_names_are_there_and_told_in_order() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert len(names) == len(set(names)), name(path)
                bound = {n.id for n in nodes(path.read_text()) if isinstance(n, ast.Name)}
                bound |= {
                    a.asname or a.name
                    for n in nodes(path.read_text())
                    if isinstance(n, ast.ImportFrom)
                    for a in n.names
                }
                bound |= {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
                missing = [each for each in names if each not in bound]
                assert not missing or "__getattr__" in bound, (name(path), missing)
