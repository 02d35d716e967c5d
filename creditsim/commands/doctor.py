"""`creditsim doctor`: versions, extras and how to install them, devices, and where compiled kernels are kept."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Config:
    """Tell what is installed, what runs on what, and what a missing extra would need."""

    json: bool = False
    """Print JSON, for scripts."""


def run(config: Config) -> int:
    """Print the report; exit code 0 whatever is missing, because every extra is optional."""
    report = examine()
    print(json.dumps(report, indent=2) if config.json else "\n".join(_lines(report)))
    return 0


def examine() -> dict[str, Any]:
    """What the machine and the environment offer, as JSON can hold it."""
    packages = _packages()
    return {
        "creditsim": importlib.metadata.version("creditsim"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "core": {name: _version(name) for name in packages.pop("", [])},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in sorted(packages.items())},
        "devices": _devices(),
        "kernel_cache": _kernel_cache(),
    }


def _packages() -> dict[str, list[str]]:
    """Required distributions by extra, "" for the core, as the installed metadata tell."""
    out: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("creditsim") or []:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if name:
            out.setdefault(extra[1] if extra else "", []).append(name[0])
    return out


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    import numba
    from numba import cuda

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    out = {"cpu": f"{os.cpu_count()} cores, {usable} usable, {numba.get_num_threads()} Numba threads"}
    out["numba.cuda"] = "a CUDA device answers" if cuda.is_available() else "no CUDA device answers"
    if importlib.util.find_spec("cupy") is None:
        out["cupy"] = "not installed"
        return out
    try:
        import cupy  # pyright: ignore[reportMissingImports]

        out["cupy"] = "a CUDA device answers" if cupy.cuda.is_available() else "no CUDA device answers"
    except Exception as error:
        # A broken CUDA set-up fails in many ways, and telling which is what this command is for.
        out["cupy"] = f"cannot be imported: {' '.join(str(error).split())}"
    return out


def _kernel_cache() -> dict[str, Any]:
    from creditsim.jit import cache_folder

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return {"folder": str(folder), "megabytes": round(size / 1e6, 1), "writable": os.access(above, os.W_OK)}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"creditsim {report['creditsim']}, Python {report['python']}, {report['platform']}"
    yield "core      " + ", ".join(f"{name} {version or 'MISSING'}" for name, version in report["core"].items())
    for extra, packages in report["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        if missing:
            yield f"{extra:<9} missing {', '.join(missing)}: pip install 'creditsim[{extra}]'"
        else:
            yield f"{extra:<9} " + ", ".join(f"{name} {version}" for name, version in packages.items())
    for device, state in report["devices"].items():
        yield f"{device:<9} {state}"
    cache = report["kernel_cache"]
    yield f"kernels   {cache['folder']} ({cache['megabytes']} MB{'' if cache['writable'] else ', NOT writable'})"
