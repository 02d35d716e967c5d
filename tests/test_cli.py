"""The command line from outside: exit codes, one line for bad input, and nothing heavy before it is needed."""

from __future__ import annotations

import errno
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

import creditsim
from creditsim import cli
from creditsim.cli import COMMANDS, main
from creditsim.configs import load
from creditsim.train_config import TrainConfig

HEAVY = ("numba", "scipy", "torch", "matplotlib", "pandas", "pyarrow", "pydantic", "seaborn", "tqdm")
QUICK = ("--env", "chain", "--size", "tiny", "--updates", "2", "--replicates", "2", "--groups", "1")


def loaded_after(*args: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running the command line."""
    code = (
        "import sys\nfrom creditsim.cli import main\nfrom contextlib import redirect_stdout\nimport io\n"
        "with redirect_stdout(io.StringIO()):\n    code = main(sys.argv[1:])\n"
        "print(code, *sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    code_text, *modules = ran.stdout.split()
    assert code_text == "0", ran.stderr
    return set(modules)


@pytest.mark.parametrize("args", [("--help",), ("--version",), *((name, "--help") for name in COMMANDS)])
def test_help_loads_nothing_heavy(args: tuple[str, ...]) -> None:
    modules = loaded_after(*args)
    assert not modules.intersection(HEAVY)


def test_the_import_check_sees_a_heavy_command() -> None:
    # Broken twin: a command that computes does load Numba, and the same look at the modules tells.
    assert "numba" in loaded_after("doctor")


def test_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == told
    for name, command in COMMANDS.items():
        assert f"  {name} " in told
        assert command.help in told


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_tells_its_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = importlib.import_module(COMMANDS[name].module).Config
    for words in [[name, kind] for kind in kinds] if isinstance(kinds, Mapping) else [[name]]:
        assert main([*words, "--help"]) == 0
        told = capsys.readouterr().out
        assert f"creditsim {' '.join(words)}" in told
        assert "--json" in told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"creditsim {creditsim.__version__}\n"


def test_module_runs_as_a_program() -> None:
    ran = subprocess.run([sys.executable, "-m", "creditsim", "lst"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == (f"creditsim: command: got 'lst', allowed {' | '.join(COMMANDS)}; nearest: list\n")


WRONG: list[tuple[list[str], list[str]]] = [
    (["trian"], ["command", "'trian'", "study | train", "nearest: train"]),
    (["--verion"], ["command", "'--verion'"]),
    (["list"], ["KIND", "nothing"]),
    (["list", "estimaters"], ["kind", "'estimaters'", "environments", "nearest: estimators"]),
    (["list", "estimators", "designs"], ["argument", "'designs'"]),
    (["list", "estimators", "--jsno"], ["option", "'--jsno'", "nearest: --json"]),
    (["list", "estimators", "--json=3"], ["'3'"]),
    (["show"], ["NAME", "nothing"]),
    (["show", "gigop"], ["name", "'gigop'", "nearest: gigpo"]),
    (["show", "gigpo", "--kind", "estimator"], ["kind", "'estimator'", "nearest: estimators"]),
    (["doctor", "now"], ["argument", "'now'", "--json"]),
    (["conformance"], ["nothing"]),
    (["train", "--metod", "grpo"], ["option", "'--metod'", "nearest: --method"]),
    (["train", "--updates"], ["--updates", "nothing"]),
    (["train", "--updates", "many"], ["--updates", "'many'", "a whole number"]),
    (["train", "--updates", "1.5"], ["--updates", "'1.5'", "a whole number"]),
    (["train", "--updates", "-1"], ["updates", "got -1", ">= 0"]),
    (["train", "--replicates", "0"], ["replicates", "got 0", ">= 1"]),
    (["train", "--group-size", "0"], ["group_size", "got 0", ">= 1"]),
    (["train", "--groups", "0"], ["groups", "got 0", ">= 1"]),
    (["train", "--threads", "0"], ["threads", "got 0", ">= 1"]),
    (["train", "--seed", "-3"], ["seed", "got -3"]),
    (["train", "--learning-rate", "fast"], ["--learning-rate", "'fast'", "a number"]),
    (["train", "--learning-rate", "nan"], ["learning_rate", "nan", "finite"]),
    (["train", "--learning-rate", "0"], ["learning_rate", "> 0"]),
    (["train", "--size", "huge"], ["--size", "'huge'", "tiny | small | large"]),
    (["train", "--method", "gipgo"], ["method", "'gipgo'", "nearest: gigpo"]),
    (["train", "--env", "chian"], ["environment", "'chian'", "nearest: chain"]),
    (["train", "--env", "chain@tny"], ["chain preset", "'tny'", "nearest: tiny"]),
    (["train", "--estimator", "grppo"], ["estimator", "'grppo'", "nearest: grpo"]),
    (["train", "--estimator", "grpo@verll"], ["preset", "'verll'", "nearest: verl"]),
    (["train", "--estimator", "no_such_module:f"], ["estimator", "no_such_module:f", "importable"]),
    (["train", "--estimator", "json:no_such"], ["estimator", "json:no_such", "importable"]),
    (["train", "--update", "renforce"], ["update", "nearest: reinforce"]),
    (["train", "--design", "indepndent"], ["design", "nearest: independent"]),
    (["train", "--signals", "critc"], ["signal", "nearest: critic"]),
    (["train", "--estimator", "gae"], ["estimator gae", "no column 'value'", "nearest: signal critic"]),
    (["train", "--params", "estimator.gama=0.9", "--method", "gigpo"], ["parameter", "'gama'", "nearest: gamma"]),
    (["train", "--params", "estimater.gamma=0.9"], ["params", "estimater", "nearest: estimator"]),
    (["train", "--params", "gamma=0.9"], ["params", "part.name=value"]),
    (["train", "--params", "estimator.gamma=0 9"], ["params estimator.gamma", "'0 9'", "TOML"]),
    (["train", "--params", "estimator.gamma=7", "--method", "gigpo"], ["gamma", "7"]),
    (["train", "--params", "env.lenght=3"], ["parameter", "'lenght'", "nearest: length"]),
    (["train", "--params", "update.loss=pop@grpo"], ["loss", "'pop'", "nearest: ppo"]),
    (["train", "--params", "update.learning_rate={start=1.0,end='a'}"], ["learning_rate end", "'a'"]),
    (["train", "--out", "no/such/folder/a.parquet"], ["out", "no folder"]),
    (["train", "--config", "none.toml"], ["none.toml", "No such file"]),
]


@pytest.mark.parametrize(("args", "told"), WRONG, ids=lambda value: " ".join(value))
def test_bad_input_is_one_line_and_exit_2(args: list[str], told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    quick = list(QUICK) if args[0] == "train" else []
    assert main([args[0], *quick, *args[1:]]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("creditsim: ")
    assert captured.err.count("\n") == 1
    for part in told:
        assert part in captured.err


def fake(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Put a command `fake` into the table that ends in `error`."""

    def run(_: Any) -> int:
        if error is not None:
            raise error
        return 1

    module = SimpleNamespace(Config=importable_config(), run=run)
    monkeypatch.setitem(COMMANDS, "fake", cli.Command("fake_command", "for this test"))
    monkeypatch.setitem(sys.modules, "fake_command", module)  # pyright: ignore[reportArgumentType]


def importable_config() -> type:
    from creditsim.commands.doctor import Config

    return Config


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (None, 1, ""),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 3, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "out of disk space"),
        (creditsim.errors.InputError("a", "b\nc", "d"), 2, "a: got b c, allowed d"),
    ],
)
def test_exit_codes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException | None,
    code: int,
    told: str,
) -> None:
    fake(monkeypatch, error)
    assert main(["fake"]) == code
    assert told in capsys.readouterr().err


def test_a_bug_is_not_dressed_up_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["fake"])
    fake(monkeypatch, PermissionError(errno.EACCES, "not ours"))
    with pytest.raises(PermissionError):
        main(["fake"])


def test_a_closed_pipe_is_no_error() -> None:
    # As after `creditsim --help | true`: the reader has gone before the text is written.
    code = (
        "import os, sys\nfrom creditsim.cli import main\nread, write = os.pipe()\nos.close(read)\n"
        "os.dup2(write, 1)\nsys.exit(main(['--help']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["estimators", "environments", "methods", "designs", "signals", "updates", "losses"])
def test_list_and_show_agree(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", kind, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [entry["name"] for entry in listed]
    for entry in listed:
        assert entry["summary"], entry["name"]
        assert set(entry["evidence"].values()) <= {"paper", "code", "notes", "inferred"}
    name = listed[0]["name"]
    assert main(["show", name, "--kind", kind, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [listed[0]]


def test_show_puts_presets_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "gigpo@verl-agent", "--kind", "estimators"]) == 0
    told = capsys.readouterr().out
    assert "arXiv:2505.10978" in told
    assert "needs: observation" in told
    assert "A^E = (S - mean) / (std + eps)" in told
    header = next(line for line in told.splitlines() if line.startswith("parameter"))
    assert "@paper" in header
    assert "@verl-agent" in header
    row = next(line for line in told.splitlines() if line.startswith("normalize"))
    assert row.split()[1:3] == ["mean_std", "mean_std"]


def test_show_tells_every_thing_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "reinforce"]) == 0
    told = capsys.readouterr().out
    for kind in ("method", "estimator", "update", "loss"):
        assert f"{kind} reinforce" in told


def test_doctor_tells_what_is_there_and_how_to_get_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"numpy", "numba", "tyro"} <= set(report["core"])
    assert {"figures", "llm", "cuda12"} <= set(report["extras"])
    assert {"cpu", "numba.cuda", "cupy"} <= set(report["devices"])
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for extra, packages in report["extras"].items():
        missing = None in packages.values()
        assert (f"pip install 'creditsim[{extra}]'" in told) == missing


def test_train_prints_a_table_and_writes_its_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "curves.parquet"
    assert main(["train", "--method", "gigpo", *QUICK, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("gigpo on chain(length=3")
    assert "exact return J" in captured.out
    assert captured.err == ""
    table = pq.ParquetFile(out).read(use_threads=False)
    assert table.num_rows == 3 * 2
    curves = {"j", "mean_return", "success", "generated", "silent", "met"}
    assert set(table.column_names) == {"update", "replicate", *curves}
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    (tmp_path / "again.toml").write_text(metadata["config"])
    config = load(TrainConfig, tmp_path / "again.toml")
    assert (config.method, config.updates, config.replicates) == ("gigpo", 2, 2)
    # The file's metadata are enough to run again, and the run is the same.
    assert main(["train", "--config", str(tmp_path / "again.toml"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    ends = [j for update, j in zip(*(table[name].to_pylist() for name in ("update", "j")), strict=True) if update == 2]
    assert summary["j_end"]["mean"] == pytest.approx(sum(ends) / 2, abs=1e-15)


def test_options_win_over_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text('method = "rloo"\nenv = "chain@tiny"\nupdates = 1\nreplicates = 3\nparams = ["env.length=2"]\n')
    assert main(["train", "--config", str(path), "--replicates", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["method"], summary["replicates"], summary["updates"]) == ("rloo", 2, 1)
    assert summary["environment"].startswith("chain(length=2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('methd = "rloo"\n', "run.toml: field: got 'methd'"),
        ('updates = "3"\n', "run.toml: updates: got '3', allowed a whole number"),
        ('size = "smal"\n', "nearest: small"),
        ("updates = \n", "run.toml: got Invalid value"),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert main(["train", "--config", str(path)]) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1
