"""Measure the lines and print the table. A missed line is a line of the table, not an error.

    python -m benchmarks [--only WORD ...] [--verl PYTHON] [--json]

Lines that need a module that is not installed, or a quieter machine, say so and are not judged. verl lives in an
environment of its own: `--verl` names its Python, which then measures these lines, both sides there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks import advantages, alfworld, bandits, bridge_training, exact, sampling, startup, training, webshop
from benchmarks.report import LINES, Line, Outcome, measured, not_judged, table
from benchmarks.timing import settle_allocator

__all__ = ["SUBJECTS", "main"]

SUBJECTS = (sampling, advantages, exact, bandits, startup, training, alfworld, webshop, bridge_training)
_ELSEWHERE = "verl"


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="lines whose name contains all words")
    parser.add_argument("--verl", type=Path, metavar="PYTHON", help="Python of the environment that has verl")
    parser.add_argument("--json", action="store_true", help="one JSON object per line instead of the table")
    options = parser.parse_args()
    settle_allocator()
    outcomes = []
    for line in LINES:
        if all(word.lower() in line.name.lower() for word in options.only):
            print(f"measuring: {line.name} / {line.against}", file=sys.stderr, flush=True)
            outcomes.append(_outcome(line, options.verl))
            if options.json:
                print(json.dumps(outcomes[-1].as_dict()), flush=True)
    if not options.json:
        print(table(outcomes))
    return 0


def _outcome(line: Line, verl: Path | None) -> Outcome:
    missing = line.missing
    if missing == _ELSEWHERE and verl is not None:
        return _elsewhere(line, verl)
    if missing is not None:
        return not_judged(line, f"{missing} is not installed (make bench)")
    try:
        return measured(line, line.measure())
    except RuntimeError as error:
        return not_judged(line, str(error))


def _elsewhere(line: Line, python: Path) -> Outcome:
    if not python.exists():
        return not_judged(line, f"no environment with verl at {python}")
    command = [str(python), "-m", "benchmarks", "--json", "--only", line.name]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    answers = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    if len(answers) != 1:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        return not_judged(line, f"the environment with verl said: {last[:100]}")
    return Outcome(**answers[0])


if __name__ == "__main__":
    sys.exit(main())
