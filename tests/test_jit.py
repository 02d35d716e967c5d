"""The kernel cache: an edit anywhere is seen, and a folder that cannot be written is no obstacle."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import creditsim.jit as jit

_HELPER = "from creditsim.jit import kernel\n\n\n@kernel\ndef factor(x):\n    return {factor} * x\n"
_CALLER = """from creditsim.helper import factor
from creditsim.jit import kernel


@kernel
def scaled(x):
    return factor(x) + 1.0
"""
_SCRIPT = (
    "from creditsim.caller import scaled; from creditsim.jit import cache_folder; print(scaled(10.0), cache_folder())"
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of the same name with the real `jit.py`, one kernel module and one that uses its kernel."""
    folder = tmp_path / "creditsim"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "jit.py").write_text(Path(jit.__file__).read_text())
    (folder / "caller.py").write_text(_CALLER)
    (folder / "helper.py").write_text(_HELPER.format(factor="2.0"))
    return folder


def _run(package: Path) -> tuple[float, str]:
    env = {**os.environ, "PYTHONPATH": str(package.parent), "CREDITSIM_CACHE": str(package.parent / "cache")}
    command = [sys.executable, "-B", "-c", _SCRIPT]
    done = subprocess.run(command, env=env, cwd=package.parent, capture_output=True, text=True, check=True, timeout=120)
    value, folder = done.stdout.split()
    return float(value), folder


def test_an_edit_in_a_helper_module_is_compiled(package: Path) -> None:
    value, folder = _run(package)
    assert value == 21.0
    (package / "helper.py").write_text(_HELPER.format(factor="3.0"))
    edited, other = _run(package)
    assert edited == 31.0 and other != folder


def test_one_folder_for_all_sources_serves_the_stale_kernel(package: Path) -> None:
    """The broken twin: without the hash in its name the folder serves the old helper, as the test above would see."""
    source = (package / "jit.py").read_text()
    fixed = source.replace("digest.hexdigest()[:16]", "0")
    assert fixed != source
    (package / "jit.py").write_text(fixed)
    assert _run(package)[0] == 21.0
    (package / "helper.py").write_text(_HELPER.format(factor="3.0"))
    assert _run(package)[0] == 21.0


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache path that cannot be made, since a file is in the way, and a temporary folder of the test's own."""
    (tmp_path / "file").write_text("")
    (tmp_path / "spare").mkdir()
    monkeypatch.setenv("CREDITSIM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path / "spare"))
    monkeypatch.setattr(jit.tempfile, "tempdir", str(tmp_path / "spare"))
    return tmp_path / "spare"


def test_a_cache_that_cannot_be_written_moves_to_the_temporary_folder(no_cache: Path) -> None:
    folder = jit.cache_folder.__wrapped__()
    assert folder.parent == no_cache and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert jit.cache_folder.__wrapped__() == folder


def test_a_folder_that_others_may_write_is_not_trusted(no_cache: Path) -> None:
    folder = jit.cache_folder.__wrapped__()
    folder.chmod(0o777)
    other = jit.cache_folder.__wrapped__()
    assert other != folder and stat.S_IMODE(other.stat().st_mode) == 0o700
