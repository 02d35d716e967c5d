"""`creditsim study`: settings, refusals, own estimators, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.configs import dump, load
from creditsim.study import launch, results, runner
from creditsim.study.cells import table_hash
from creditsim.study.files import read_file
from creditsim.study.launch import How
from creditsim.study.spec import LearningStudy, VarianceStudy
from creditsim.study.store import Store

DOCS = Path(__file__).parents[2] / "docs" / "studies.md"
SMALL = ["--environments", "chain@tiny", "--replicates", "300", "--workers", "1"]


def _study(*words: str) -> int:
    return main(["study", *words])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = _study(*words)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_study_prints_what_it_will_do_and_what_came_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("variance", "--estimators", "grpo", "rloo", "--group-sizes", "2", "3", *SMALL, "--out", "out")
    code, out, err = _run(capsys, *words)
    assert code == 0
    assert "4 cells, 0 of them finished before, 1 at a time; predicted memory" in err
    lines = out.splitlines()
    assert lines[0] == "environment chain@tiny, horizon 4, policy uniform, groups 1, replicates 300"
    assert lines[3].split() == ["estimator", "group", "size", "bias", "variance", "mse", "cosine", "snr"]
    assert [line.split()[:2] for line in lines[4:8]] == [["grpo", "2"], ["rloo", "2"], ["grpo", "3"], ["rloo", "3"]]
    assert all(line.count("+-") == 5 for line in lines[4:8])
    assert lines[8] == "4 cells in out, settings in out/variance.toml"
    again = _run(capsys, *words)
    assert again[0] == 0 and again[1] == out and "all of them finished before" in again[2]


def test_flags_toml_and_dataclass_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    _run(capsys, "variance", "--estimators", "grpo", "gigpo(step_weight=0.5)", *SMALL, "--out", "one")
    kept = Path("one/variance.toml")
    study = load(VarianceStudy, kept)
    assert study == VarianceStudy(
        estimators=("grpo", "gigpo(step_weight=0.5)"), environments=("chain@tiny",), replicates=300
    )
    assert dump(study) == kept.read_text()
    code, out, _ = _run(capsys, "variance", "--config", "one/variance.toml", "--out", "two", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["run"]["computed"] == 2
    launch.launch(study, How(Path("three"), workers=1))
    hashes = [
        sorted(table_hash(read_file(path)[0].table) for path in Path(folder).glob("*.parquet"))
        for folder in ("one", "two", "three")
    ]
    assert hashes[0] == hashes[1] == hashes[2] and len(set(hashes[0])) == 2


def test_json_has_every_number_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--estimators", "grpo", *SMALL, "--out", "out", "--json", "--exact", "--group-sizes", "2")
    code, out, _ = _run(capsys, "variance", *words)
    assert code == 0
    (cell,) = json.loads(out)["cells"]
    assert cell["estimator"] == "grpo" and cell["replicates"] == 300 and cell["estimator_ns_per_row"] > 0
    for name in results.SHOWN:
        quantity = cell["quantities"][name]
        assert quantity["low"] <= quantity["value"] <= quantity["high"]
    assert cell["quantities"]["degenerate"]["exact"] == pytest.approx((3 / 16) ** 2 + (13 / 16) ** 2)


def test_the_example_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCS.read_text()
    toml, python = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[0] for kind in ("toml", "python"))
    Path("gae-or-groups.toml").write_text(toml)
    code, out, _ = _run(capsys, "variance", "--config", "gae-or-groups.toml", "--out", "out", "--workers", "1")
    assert code == 0 and "12 cells in out" in out
    namespace: dict[str, Any] = {}
    exec(python, namespace)  # noqa: S102 # the page's own example
    table = namespace["table"]
    assert {"estimator", "environment", "group_size", "quantity", "value", "exact"} <= set(table)
    assert len(set(table["estimator"])) == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--estimators grpoo", "estimator: got 'grpoo', allowed one of"),
        ("--estimators grpo@pepar", "estimator grpo preset: got 'pepar'"),
        ("--estimators grpo(dof=1)", "estimator grpo parameter: got 'dof'"),
        ("--estimators grpo(", "estimators: got 'grpo('"),
        ("--estimators gae", "estimator gae: got no column 'value'"),
        ("--estimators remax", "estimator remax: got no column 'greedy_score'"),
        ("--estimators", "estimators: got none"),
        ("--environments chian", "; nearest: chain"),
        ("--environments chain(lenght=3)", "environment chain parameter: got 'lenght'"),
        ("--environments chain(length=0)", "length: got 0"),
        ("--environments chain@huge", "environment chain preset: got 'huge'"),
        ("--policies greedy", "policies: got 'greedy'"),
        ("--group-sizes 0", "group_sizes: got 0"),
        ("--group-sizes x", "--group-sizes: got 'x'"),
        ("--horizons -1", "horizons: got -1"),
        ("--groups 0", "groups: got 0"),
        ("--replicates 0", "replicates: got 0"),
        ("--precision 0", "precision: got 0.0"),
        ("--alpha 0.5", "alpha: got 0.5"),
        ("--gamma 1.5", "gamma: got 1.5"),
        ("--seed -3", "seed: got -3"),
        ("--by time_step", "--by: got 'time_step', allowed state | time"),
        ("--name ../up", "name: got '../up'"),
        ("--design fitlered", "sampling design: got 'fitlered'"),
        ("--design independent(group_size=3)", "design: got group_size in"),
        ("--signals crtic", "signal: got 'crtic'"),
        ("--exact --environments chain@small", "exact moments on chain@small with group size 8: got 970,939,5"),
        ("--exact --design filtered", "exact: got true"),
        ("--shard 5/4", "shard: got '5/4'"),
        ("--workers 0", "workers: got 0"),
        ("--memory 0", "memory: got 0"),
        ("--memory 1 --environments random@large", "memory: got"),
        ("--executor ray", "executor: got 'ray', allowed processes | serial | dask=ADDRESS"),
        ("--executor dask", "executor: got 'dask'"),
        ("--out /proc/none", "output folder: got /proc/none"),
        ("--config none.toml", "none.toml: got No such file"),
        ("--repliactes 3", "creditsim study variance option: got '--repliactes'"),
    ],
)
def test_bad_settings_are_one_line_and_leave_nothing(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    code, out, err = _run(capsys, "variance", "--environments", "chain@tiny", "--replicates", "50", *words.split())
    assert code == 2 and out == ""
    assert len(err.splitlines()) == 1 and told in err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("words", ["varience", "variance extra"])
def test_unknown_kinds_of_studies(capsys: pytest.CaptureFixture[str], words: str) -> None:
    code, _, err = _run(capsys, *words.split())
    assert code == 2 and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("replicates = '3'", "replicates: got '3', allowed a whole number"),
        ("replicats = 3", "nearest: replicates"),
        ("= 3", "TOML"),
    ],
)
def test_bad_toml_names_file_and_field(capsys: pytest.CaptureFixture[str], field: str, told: str) -> None:
    Path("study.toml").write_text(field)
    code, _, err = _run(capsys, "variance", "--config", "study.toml")
    assert code == 2 and "study.toml" in err and told in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("wrong_shape", "got shape ("),
        ("not_a_number", "got nan at row 0"),
        ("mutating", "got rollouts changed in place"),
        ("raising", "got AttributeError: "),
        ("missing", "got 'study_cases:missing'"),
    ],
)
def test_a_wrong_estimator_of_ones_own(capsys: pytest.CaptureFixture[str], function: str, told: str) -> None:
    code, _, err = _run(capsys, "variance", "--estimator", f"study_cases:{function}", *SMALL, "--out", "out")
    assert code == 2 and told in err and len(err.splitlines()) == 1
    assert not Path("out").exists()


def test_an_estimator_that_fails_late_spares_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--estimators", "grpo", "--estimator", "study_cases:late_nan", *SMALL, "--out", "out")
    code, out, err = _run(capsys, "variance", *words)
    assert code == 2 and "grpo" in out
    assert "1 cells failed, the first of them study_cases:late_nan chain@tiny" in err and "got nan at row" in err
    assert len(list(Path("out").glob("*.parquet"))) == 1


def test_an_estimator_of_ones_own_stands_beside_the_published(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "own_helper.py").write_text("def half(x):\n    return x / 2\n")
    own = (
        "import own_helper\ndef credit(rollouts, *, scale=1.0):\n    return own_helper.half(scale * rollouts.reward)\n"
    )
    (tmp_path / "own_estimator.py").write_text(own)
    words = ("variance", "--estimators", "grpo", "--estimator", "own_estimator:credit(scale=2)", *SMALL)
    command = [sys.executable, "-m", "creditsim", "study", *words[:1], *words[1:], "--out", "out", "--json"]

    def run() -> dict[str, Any]:
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return json.loads(found.stdout)

    first = run()
    assert [cell["estimator"] for cell in first["cells"]] == ["grpo", "own_estimator:credit(scale=2)"]
    assert run()["run"]["skipped"] == 2
    (tmp_path / "own_helper.py").write_text("def half(x):\n    return x / 4\n")
    edited = run()  # what it uses from its folder counts as well
    assert edited["run"]["skipped"] == 1 and edited["run"]["computed"] == 1
    values = [run_["cells"][1]["quantities"]["mse"]["value"] for run_ in (first, edited)]
    assert values[0] != values[1]


def test_precision_out_of_reach_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capsys, "variance", "--estimators", "grpo", *SMALL, "--precision", "1e-5", "--out", "out")
    assert code == 0
    assert re.search(
        r"precision 1e-05 was not reached in 1 of 1 cells within 300 .* reached bias [\d.]+, gradient", err
    )


def test_corrupt_cells_are_computed_again_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("variance", "--estimators", "grpo", "rloo", *SMALL, "--out", "out", "--json")
    before = json.loads(_run(capsys, *words)[1])["cells"]
    path = sorted(Path("out").glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = _run(capsys, *words)
    assert code == 0 and "1 corrupt files were put aside as .bad and computed again" in err
    found = json.loads(out)
    assert found["run"]["quarantined"] == 1
    for cell in (*before, *found["cells"]):
        del cell["estimator_ns_per_row"]
    assert found["cells"] == before


def test_newer_results_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/creditsim-results.json").write_text('{"schema": 99}')
    code, _, err = _run(capsys, "variance", "--estimators", "grpo", *SMALL, "--out", "out")
    assert code == 2 and "schema 99" in err
    assert [path.name for path in Path("out").iterdir()] == ["creditsim-results.json"]


def test_a_full_disk_is_exit_code_3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = runner.Store.put, 0

    def put(self: Store, *arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(runner.Store, "put", put)
        code, _, err = _run(capsys, "variance", "--estimators", "grpo", "rloo", "gigpo", *SMALL, "--out", "out")
    assert code == 3 and "no room left on the disk at rloo chain@tiny" in err and "1 of 3 cells are safe in out" in err
    code, _, err = _run(capsys, "variance", "--estimators", "grpo", "rloo", "gigpo", *SMALL, "--out", "out")
    assert code == 0 and "3 cells, 1 of them finished before" in err


def test_shards_make_up_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("variance", "--estimators", "grpo", "rloo", "gigpo", *SMALL, "--out", "out")
    for i in (1, 2):
        assert _run(capsys, *words, "--shard", f"{i}/2")[0] == 0
    assert "3 cells, all of them finished before" in _run(capsys, *words)[2]


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_130_within_two_seconds_and_resumable(tmp_path: Path, workers: str) -> None:
    # fmt: off
    command = [
        sys.executable, "-m", "creditsim", "study", "variance", "--estimators", "grpo", "rloo",
        "--environments", "chain@small", "--replicates", "60000", "--horizons", "2", "12", "--workers", workers,
        "--out", "out", "--json",
    ]
    # fmt: on
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, err = process.communicate(timeout=30)
    crowded = max(1.0, os.getloadavg()[0] / runner.cpus())  # neighbours on the machine are no fault of ours
    assert time.monotonic() - begin < 2.0 * crowded
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "creditsim: interrupted" and "Traceback" not in err
    whole = sorted((tmp_path / "out").glob("*.parquet"))
    assert 1 <= len(whole) < 4
    before = [path.read_bytes() for path in whole]
    found = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert found["run"]["skipped"] == len(whole) and found["run"]["computed"] == 4 - len(whole)
    assert [path.read_bytes() for path in whole] == before
    assert not list((tmp_path / "out").glob(".*.tmp")) and not list((tmp_path / "out").glob("*.claim*"))


def test_a_second_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    """While workers are being ended the default handler is in place, and the old one afterwards."""
    before = signal.getsignal(signal.SIGINT)
    with runner._default_interrupt():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_learning(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--methods", "rloo", "gigpo(estimator.gamma=0.9)", "--environments", "chain@tiny", "--updates", "8")
    code, out, _ = _run(capsys, "learning", *words, "--replicates", "6", "--workers", "1", "--out", "out", "--json")
    assert code == 0
    found = json.loads(out)
    assert [cell["method"] for cell in found["cells"]] == ["rloo", "gigpo(estimator={gamma = 0.9})"]
    for cell in found["cells"]:
        assert cell["quantities"]["j_start"]["value"] < cell["quantities"]["j_end"]["value"] <= cell["optimum"] + 1e-12
    study = load(LearningStudy, Path("out/learning.toml"))
    cells, store, _ = launch.launch(study, How(Path("out"), workers=1))
    table = results.collect(cells, store)
    assert table["j"].size == 2 * 9 * 6 and set(table) >= {"method", "update", "replicate", "j", "success"}
    assert np.isnan(table["success"][table["update"] == 8]).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--methods grpoo", "method: got 'grpoo'"),
        ("--methods gigpo(estimator.gama=1)", "got 'gama'"),
        ("--methods gigpo(gamma=1)", "params: got 'gamma=1'"),
        ("--environments chian", "environment: got 'chian'"),
        ("--learning-rates 0", "learning_rates: got 0.0"),
        ("--updates -1", "updates: got -1"),
    ],
)
def test_bad_learning_studies(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    code, _, err = _run(capsys, "learning", *words.split())
    assert code == 2 and told in err and len(err.splitlines()) == 1
    assert list(Path().iterdir()) == []
