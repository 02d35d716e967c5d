"""Registries, errors and array libraries: the small contracts that everything else leans on."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim import arrays, errors
from creditsim.errors import (
    CorruptFileError,
    CreditsimError,
    ExtraMissingError,
    InputError,
    MissingColumnError,
    NumericalError,
    ResourceError,
    TooLargeError,
    UnknownNameError,
    choose,
    nearest,
)
from creditsim.registry import Bound, Part, Registry, import_function, parse_spec


def scaled(x: float, *, factor: float = 2.0, shift: float) -> float:
    """Scale and shift a number.

    y = factor x + shift
    """
    return factor * x + shift


def other(x: float) -> float:
    """Do something else."""
    return x


PART = Part("toy", "scaled", scaled, presets={"half": {"factor": 0.5}, "whole": {"factor": 1.0, "shift": 3.0}})


def test_parameters_are_defaults_then_preset_then_overrides() -> None:
    assert PART.bind(shift=1.0).params == {"factor": 2.0, "shift": 1.0}
    assert PART.bind("half", shift=1.0).params == {"factor": 0.5, "shift": 1.0}
    assert PART.bind("whole").params == {"factor": 1.0, "shift": 3.0}
    assert PART.bind("whole", factor=4.0)(10.0) == 43.0
    assert (PART.bind("whole").label, PART.bind(shift=0.0).label) == ("scaled@whole", "scaled")
    assert PART.summary == "Scale and shift a number."


def test_what_was_bound_cannot_be_changed() -> None:
    bound = PART.bind("whole")
    with pytest.raises(TypeError):
        bound.params["shift"] = 0.0  # pyright: ignore[reportIndexIssue]
    with pytest.raises(TypeError):
        PART.defaults["shift"] = 0.0  # pyright: ignore[reportIndexIssue]
    with pytest.raises(AttributeError):
        bound.preset = "half"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("preset", "overrides", "line"),
    [
        (None, {}, "toy scaled parameter shift: got nothing, allowed a value; it has no default"),
        ("hlaf", {}, "toy scaled preset: got 'hlaf', allowed half | whole; nearest: half"),
        ("whole", {"factr": 1}, "toy scaled parameter: got 'factr', allowed factor | shift; nearest: factor"),
        ("whole", {"x": 1}, "toy scaled parameter: got 'x', allowed factor | shift"),
    ],
)
def test_wrong_bindings_are_one_line(preset: str | None, overrides: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as error:
        PART.bind(preset, **overrides)
    assert str(error.value) == line
    with pytest.raises(UnknownNameError, match="allowed no presets"):
        Part("toy", "other", other).bind("any")
    with pytest.raises(UnknownNameError, match="allowed no parameters"):
        Part("toy", "other", other).bind(any=1)


def test_a_registry_holds_parts_by_name() -> None:
    registry: Registry[Part] = Registry("toy")
    registry.add(PART)
    registry.add(Part("toy", "other", other))
    assert registry.names() == ["other", "scaled"] and [part.name for part in registry] == ["other", "scaled"]
    assert registry["scaled"] is PART and "scaled" in registry and "scale" not in registry
    assert isinstance(registry.bind("scaled@half", shift=0.0), Bound)
    with pytest.raises(UnknownNameError, match=r"^toy: got 'scald', allowed other \| scaled; nearest: scaled$"):
        registry["scald"]
    with pytest.raises(InputError, match=r"toy name: got 'scaled', allowed a free name; .*test_registry\.scaled"):
        registry.add(Part("toy", "scaled", other))
    registry.remove("scaled")
    registry.remove("never there")
    assert registry.names() == ["other"]


def test_a_module_run_twice_registers_once() -> None:
    """A reloaded module makes new functions of the same source place; a changed one is another function."""
    registry: Registry[Part] = Registry("toy")
    text = "def f(x):\n    return x + {}\n"
    for source in (text.format(1), text.format(1)):
        names: dict[str, Any] = {"__name__": "some_module"}
        exec(source, names)  # noqa: S102 # two runs of one cell
        registry.add(Part("toy", "f", names["f"]))
    exec(text.format(2), names)  # noqa: S102 # the cell was edited
    with pytest.raises(InputError, match="a free name"):
        registry.add(Part("toy", "f", names["f"]))


def test_a_package_is_loaded_when_it_is_first_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_parts_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("loaded = []\n")
    (package / "base.py").write_text(
        "from creditsim.registry import Part, Registry\nTOYS = Registry('toy', 'toy_parts_for_test')\n"
    )
    for name in ("one", "two"):
        (package / f"{name}.py").write_text(
            "from creditsim.registry import Part\nimport toy_parts_for_test as home\n"
            "from toy_parts_for_test.base import TOYS\n"
            f"home.loaded.append('{name}')\n"
            f"def {name}(*, size=1):\n    'Toy.'\n    return size\n"
            f"TOYS.add(Part('toy', '{name}', {name}))\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    import toy_parts_for_test as home  # pyright: ignore[reportMissingImports]
    from toy_parts_for_test.base import TOYS  # pyright: ignore[reportMissingImports]

    assert home.loaded == []
    assert TOYS.names() == ["one", "two"] and home.loaded == ["one", "two"]
    assert TOYS.bind("two", size=5)() == 5 and home.loaded == ["one", "two"]
    for module in [name for name in sys.modules if name.startswith("toy_parts_for_test")]:
        monkeypatch.delitem(sys.modules, module)


@pytest.mark.parametrize(
    ("spec", "halves"), [("a", ("a", None)), ("a@b", ("a", "b")), ("a@", ("a", None)), ("m.n:f@p", ("m.n:f", "p"))]
)
def test_specs(spec: str, halves: tuple[str, str | None]) -> None:
    assert parse_spec(spec) == halves


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no_such_module_here:f", "an importable package.module:function"),
        ("math:no_such_function", "an importable package.module:function"),
        ("math:pi", "a function"),
        (":f", "an importable package.module:function"),
        ("math:", "an importable package.module:function"),
    ],
)
def test_functions_that_cannot_be_imported(name: str, line: str) -> None:
    with pytest.raises(InputError) as error:
        import_function("estimator", name)
    assert str(error.value).startswith(f"estimator: got {name!r}, allowed {line}")
    assert "\n" not in str(error.value)


def test_a_function_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside_for_test.py").write_text("def f(x):\n    return x + 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert import_function("estimator", "beside_for_test:f")(1) == 2
    monkeypatch.delitem(sys.modules, "beside_for_test")


ERRORS: list[tuple[CreditsimError, type[Exception], str]] = [
    (InputError("field", "got", "allowed"), ValueError, "field: got got, allowed allowed"),
    (InputError("f", 1, "2", "3"), ValueError, "f: got 1, allowed 2; nearest: 3"),
    (UnknownNameError("f", "'a'", "b"), LookupError, "f: got 'a', allowed b"),
    (MissingColumnError("f", "no 'a'", "b"), ValueError, "f: got no 'a', allowed b"),
    (TooLargeError("f", 9, "8"), ValueError, "f: got 9, allowed 8"),
    (CorruptFileError("f", "x", "y"), ValueError, "f: got x, allowed y"),
    (NumericalError("off by 1"), ArithmeticError, "off by 1"),
    (ResourceError("disk full"), RuntimeError, "disk full"),
    (ExtraMissingError("torch", "llm"), ImportError, "torch is not installed: pip install 'creditsim[llm]'"),
]


@pytest.mark.parametrize(("error", "kind", "line"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_are_standard_ones_and_survive_a_process_border(
    error: CreditsimError, kind: type[Exception], line: str
) -> None:
    assert isinstance(error, kind) and isinstance(error, CreditsimError)
    assert str(error) == line
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 # what a process pool does
    assert (type(again), str(again), vars(again)) == (type(error), line, vars(error))


def test_every_error_is_in_the_table() -> None:
    assert {type(error).__name__ for error, *_ in ERRORS} | {"CreditsimError"} == {
        name for name in errors.__all__ if name.endswith("Error")
    }


@given(st.lists(st.text(max_size=8), max_size=6), st.text(max_size=8))
def test_the_nearest_is_one_of_the_choices(choices: list[str], name: str) -> None:
    found = nearest(name, choices)
    assert found is None or found in choices
    if name in choices and name:
        assert found == name
    if name not in choices:
        with pytest.raises(UnknownNameError):
            choose("field", name, choices)
    else:
        assert choose("field", name, choices) == name


def test_array_libraries_are_told_apart() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, t = np.arange(3.0), torch.arange(3.0)
    assert arrays.namespace(x) is np and arrays.namespace(x, [1]) is np
    assert arrays.is_torch(t) and not arrays.is_torch(x) and not arrays.is_torch([1])
    assert arrays.native(x) is x and arrays.native(3) == 3
    shared = arrays.native(t)
    shared[0] = 9.0
    assert t[0] == 9.0 and arrays.native(t.clone().requires_grad_()).tolist() == [9.0, 1.0, 2.0]
    back = arrays.restorer(t)
    again = back(shared)
    assert isinstance(again, torch.Tensor) and again.data_ptr() == t.data_ptr()
    assert back("text") == "text" and back(np.array(["a"], object)).dtype == object
    assert arrays.restorer(x)(x) is x
    for given_array in (x, t, [0.0, 1.0, 2.0], t.clone().requires_grad_(), SimpleNamespace(get=lambda: x)):
        assert arrays.to_numpy(given_array)[1:].tolist() == [1.0, 2.0]


def test_no_array_library_is_imported_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    assert not arrays.is_torch(np.arange(2)) and arrays.namespace(np.arange(2)) is np
    assert "torch" not in sys.modules and "cupy" not in sys.modules


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("share", "x", "a number"), ("share", True, "a number"), ("share", [1.0], "a number"),
        ("times", 2.5, "a whole number"), ("times", "2", "a whole number"), ("times", False, "a whole number"),
        ("loud", 1, "true or false"), ("loud", "yes", "true or false"), ("mode", 3, "text"), ("mode", None, None),
        ("share", 2, None), ("share", np.float32(2), None), ("times", np.int64(2), None), ("loud", False, None),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_than_the_default_is_refused(name: str, value: Any, allowed: str | None) -> None:
    def part(*, share: float = 0.5, times: int = 1, loud: bool = True, mode: str = "mean") -> None:
        """Do nothing."""

    entry = Part("thing", "toy", part)
    if allowed is None:
        assert entry.bind(None, **{name: value}).params[name] is value
    else:
        with pytest.raises(InputError, match=f"thing toy parameter {name}: got .*, allowed {allowed}"):
            entry.bind(None, **{name: value})
