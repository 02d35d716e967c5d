"""`creditsim conformance DIR`: recompute golden files and compare."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Recompute the golden files of a folder and compare; docs/golden-files.md tells how to write them."""

    folder: str
    """Folder of golden files (*.json), or one file."""
    json: bool = False
    """Print JSON, for scripts."""


def run(config: Config) -> int:
    """Print one line per file and the first failing case of each in full; exit code 1 on any miss."""
    from creditsim.conformance import report
    from creditsim.conformance.run import read_folder, run_files

    files = read_folder(config.folder)
    results = []
    width = max(len(file.path.name) for file in files)
    for result in run_files(files):
        results.append(result)
        if not config.json:
            print(report.file_line(result, width), flush=True)
    if config.json:
        print(json.dumps(report.as_data(results), indent=2))
    else:
        for result in results:
            for line in report.failure_lines(result):
                print(line)
        print(report.summary_line(results))
    return 0 if all(result.ok for result in results) else 1
