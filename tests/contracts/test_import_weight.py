"""Importing the library, its command line and its config modules waits for nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("numba", "scipy.stats", "torch", "matplotlib", "seaborn", "pandas", "pyarrow", "pydantic", "cupy", "jax")
LIGHT = (
    "creditsim",
    "creditsim.cli",
    "creditsim.registry",
    "creditsim.errors",
    "creditsim.configs",
    "creditsim.schedules",
    "creditsim.store",
    "creditsim.train_config",
    "creditsim.methods",
    "creditsim.inventory",
    "creditsim.study.spec",
    *(f"creditsim.commands.{path.stem}" for path in sorted((ROOT / "creditsim/commands").glob("[!_]*.py"))),
)
SCRIPT = """
import importlib, json, sys
heavy, names = json.loads(sys.argv[1]), sys.argv[2:]
told = {}
for name in names:
    before = set(sys.modules)
    importlib.import_module(name)
    told[name] = sorted(h for h in heavy if h in set(sys.modules) - before)
print(json.dumps(told))
"""


def loaded(*names: str) -> dict[str, list[str]]:
    """Heavy modules that each import newly brings into a fresh interpreter, in the order given."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(HEAVY), *names]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def test_light_modules_load_nothing_heavy() -> None:
    assert {name: found for name, found in loaded(*LIGHT).items() if found} == {}


def test_the_look_sees_a_heavy_module() -> None:
    # Broken twin: a module that does compute brings Numba, and the same look tells.
    assert loaded("creditsim.errors", "creditsim.jit") == {"creditsim.errors": [], "creditsim.jit": ["numba"]}


def top_level_imports(text: str) -> set[str]:
    """Packages that a module imports when it is imported, type-checking blocks left out."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "creditsim/commands").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_commands_import_what_they_use_when_they_run(path: Path) -> None:
    outside = {name.split(".")[0] for name in top_level_imports(path.read_text())} - set(sys.stdlib_module_names)
    assert outside <= {"creditsim", "__future__"}


def test_the_packages_beside_the_library_are_named_as_strings_only() -> None:
    """creditsim never imports theory, figures or llm_bridge, not even inside a function."""
    told = []
    for path in (ROOT / "creditsim").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            told += [f"{path}: {each}" for each in names if each.split(".")[0] in ("theory", "figures", "llm_bridge")]
    assert told == []


def test_lazy_names_of_the_package_are_all_there_and_no_others() -> None:
    import creditsim

    for name in creditsim.__all__:
        assert getattr(creditsim, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = creditsim.no_such_name
    import creditsim.sampling as sampling

    for name in sampling.__all__:
        assert getattr(sampling, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = sampling.no_such_name


def test_estimators_are_listed_however_often_and_whatever_was_imported_before() -> None:
    """Importing `creditsim.estimators` puts a package where the function of that name was: both must answer."""
    script = (
        "import creditsim\nfirst = creditsim.estimators()\nagain = creditsim.estimators()\n"
        "import creditsim.estimators.rloo\nfrom creditsim import estimators\n"
        "print(first == again == estimators() == sorted(first), 'gigpo' in first)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ran.stdout.split(), ran.stderr) == (["True", "True"], "")
