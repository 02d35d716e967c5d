"""How long a user waits for a fresh process: help, commands that compute nothing, the first simulated number."""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Callable

from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.cli import COMMANDS

__all__: list[str] = []

_HELP = 0.5
_HEAVY = ("numba", "scipy.stats", "torch", "matplotlib", "seaborn", "pyarrow", "cupy", "jax")
_FIRST = (
    "from creditsim.mdp import SoftmaxPolicy, make; from creditsim.sampling import sample_returns;"
    "mdp = make('chain@small'); sample_returns(mdp, SoftmaxPolicy.uniform(mdp), 1000).value.mean()"
)


def _process(*arguments: str) -> Callable[[], object]:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, capture_output=True)


def _cli(*arguments: str) -> Callable[[], object]:
    return _process("-c", f"import sys; from creditsim.cli import main; sys.exit(main({list(arguments)!r}))")


@line("creditsim --help", "-", "seconds", _HELP)
def overview() -> Rounds:
    return compare(_cli("--help"))


@line("creditsim COMMAND --help, the slowest", "-", "seconds", _HELP)
def slowest_help() -> Rounds:
    return compare(max((_cli(name, "--help") for name in COMMANDS), key=_best_of_three))


def _best_of_three(call: Callable[[], object]) -> float:
    return min(timeit.repeat(call, number=1, repeat=3))


@line("creditsim --help, warm", "a process that imports NumPy", "cost", target=3)
def warm_start() -> Rounds:
    _check_light()
    return compare(_cli("--help"), _process("-c", "import numpy"))


@line("first simulated number, warm kernels", "a process that imports Numba", "cost", target=2.5)
def first_number() -> Rounds:
    return compare(_process("-c", _FIRST), _process("-c", "import numba"))


def _check_light() -> None:
    """Refuse to time a start that imports what a help text does not need."""
    code = (
        "import sys, contextlib, io; from creditsim.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['train', '--help'])\n"
        f"print(*[m for m in {_HEAVY!r} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    if found:
        raise RuntimeError(f"help imports {', '.join(found)}")
