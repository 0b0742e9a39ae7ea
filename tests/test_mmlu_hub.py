"""MMLU from the hub: a hub in a process of its own, the same Run as from the CSV files, and what happens without it."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from servers.loopback import Loopback

from evalkit.record import read_run

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("huggingface_hub")

SUBJECTS = ("anatomy", "college_physics", "virology")
_PARTS = {"dev": "dev", "val": "validation", "test": "test"}


def _rows(path: Path, subject: str) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {"question": row[0], "subject": subject, "choices": row[1:5], "answer": "ABCD".index(row[5])}
            for row in csv.reader(stream)
        ]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def csv_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects in the official layout."""
    folder = tmp_path_factory.mktemp("csv")
    for part in _PARTS:
        (folder / part).mkdir()
        for subject in SUBJECTS:
            name = f"{part}/{subject}_{part}.csv"
            (folder / name).write_bytes((shared / "mmlu" / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def hub(csv_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A hub with the same questions in the layout of cais/mmlu."""
    root = tmp_path_factory.mktemp("hub")
    folder = root / "cais" / "mmlu"
    card = ["---", "configs:"]
    for configuration in (*SUBJECTS, "all"):
        card += [f"- config_name: {configuration}", "  data_files:"]
        card += [f"  - {{split: {split}, path: {configuration}/{split}-*}}" for split in _PARTS.values()]
    for part, split in _PARTS.items():
        by_subject = {one: _rows(csv_folder / part / f"{one}_{part}.csv", one) for one in SUBJECTS}
        for subject, rows in by_subject.items():
            _write(folder / subject / f"{split}-00000-of-00001.parquet", rows)
        _write(
            folder / "all" / f"{split}-00000-of-00001.parquet", [row for rows in by_subject.values() for row in rows]
        )
    (folder / "README.md").write_text("\n".join([*card, "---", "# MMLU", ""]))
    with Loopback("hub", str(root)) as server:
        yield server


def _evalkit(
    folder: Path, hub: Loopback | str, *words: str, home: str = "home", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder, with a hub's cache of its own."""
    url = hub if isinstance(hub, str) else hub.url
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(folder / home), "XDG_CACHE_HOME": str(folder / "cache")}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "evalkit", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**kept, **settings, **environment},
        check=False,
    )


def _same_run(folder: Path, first: str, second: str) -> None:
    one, two = read_run(folder / "reports" / first), read_run(folder / "reports" / second)
    # The second command finds the first one's answers, which says as well that the same was asked.
    assert [replace(row, cached=False) for row in one.rows] == [replace(row, cached=False) for row in two.rows]
    assert len(one.rows) > 100
    assert one.manifest.metrics == two.manifest.metrics
    assert one.manifest.data_hash == two.manifest.data_hash
    assert one.manifest.settings == two.manifest.settings


def test_the_hubs_questions_give_the_run_of_the_csv_files_and_are_found_again_offline(
    tmp_path: Path, hub: Loopback, csv_folder: Path
) -> None:
    hub.plan()
    done = _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", "cais/mmlu", "--name", "hub")
    assert done.returncode == 0, done.stderr
    fetched = [call for call in hub.stats()["asked"] if call.startswith("GET /large/")]
    assert sorted(fetched) == [f"GET /large/cais/mmlu/all/{part}-00000-of-00001.parquet" for part in ("dev", "test")]
    # Nothing of the hub's own: no bars, no warnings.
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["asked", "run:"]
    _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", str(csv_folder), "--name", "csv")
    _same_run(tmp_path, "hub", "csv")
    hub.plan()
    words = ("mmlu", "fake/hash", "--data", "cais/mmlu", "--name", "offline")
    assert _evalkit(tmp_path, hub, *words, HF_HUB_OFFLINE="1").returncode == 0
    _same_run(tmp_path, "offline", "csv")
    assert hub.stats()["asked"] == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"])
def test_offline_with_nothing_fetched_one_sentence_says_what_is_missing(
    tmp_path: Path, hub: Loopback, variable: str
) -> None:
    hub.plan()
    done = _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", "cais/mmlu", **{variable: "1"})
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "cais/mmlu" in done.stderr
    assert f"HF_HUB_OFFLINE forbids the network and {tmp_path / 'home' / 'hub'} does not hold it" in done.stderr
    assert "evalkit data pull mmlu --data-dir DIR" in done.stderr
    assert hub.stats()["asked"] == []
    assert not (tmp_path / "reports").exists() or not list((tmp_path / "reports").glob("*/run.json"))


@pytest.mark.parametrize(
    ("fault", "words"), [("gated", "set HF_TOKEN"), ("down", "Server error '500"), ("nobody", "Connection refused")]
)
def test_a_hub_that_does_not_give_the_set_is_one_sentence(
    tmp_path: Path, hub: Loopback, fault: str, words: str
) -> None:
    hub.plan(fault=fault)
    where: Loopback | str = "http://127.0.0.1:9" if fault == "nobody" else hub
    done = _evalkit(tmp_path, where, "mmlu", "fake/hash", "--data", "cais/mmlu")
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_file_that_is_torn_again_and_again_is_one_sentence(tmp_path: Path, hub: Loopback) -> None:
    hub.plan(fault="torn")
    done = _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", "cais/mmlu")
    assert done.returncode == 2
    assert "peer closed connection" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_subjects_that_another_program_fetched_suffice_offline(tmp_path: Path, hub: Loopback, csv_folder: Path) -> None:
    hub.plan()
    fetch = (
        "from huggingface_hub import snapshot_download as fetch; import sys; fetch('cais/mmlu', repo_type='dataset', "
    )
    fetch += "allow_patterns=['anatomy/*'], endpoint=sys.argv[1], cache_dir=sys.argv[2])"
    # In a process of its own: whether the hub may be reached is decided once in each.
    online = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    cache = str(tmp_path / "home" / "hub")
    subprocess.run([sys.executable, "-c", fetch, hub.url, cache], env=online, check=True, capture_output=True)
    words = ("mmlu", "fake/hash", "--data", "cais/mmlu")
    done = _evalkit(tmp_path, hub, *words, "--subject", "anatomy", "--name", "one", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    missing = _evalkit(tmp_path, hub, *words, "--subject", "virology", HF_HUB_OFFLINE="1")
    assert missing.returncode == 2
    assert "virology" in missing.stderr


@pytest.mark.slow
def test_what_was_pulled_on_a_connected_machine_serves_mmlu_and_lm_evals_tasks_offline(
    tmp_path: Path, hub: Loopback, csv_folder: Path
) -> None:
    pytest.importorskip("lm_eval")
    hub.plan()
    tasks = ("mmlu_anatomy", "mmlu_college_physics", "mmlu_virology")
    # Two commands: a folder that holds a part of a data set is added to.
    for names in (tasks[:1], tasks[1:]):
        pulled = _evalkit(tmp_path, hub, "data", "pull", *names, "--data-dir", "made")
        assert pulled.returncode == 0, pulled.stderr
    (tmp_path / "made").rename(tmp_path / "brought")
    hub.plan()
    offline = {"home": "other-home", "HF_HUB_OFFLINE": "1"}
    own = _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", "brought", "--name", "pulled", **offline)
    assert own.returncode == 0, own.stderr
    _evalkit(tmp_path, hub, "mmlu", "fake/hash", "--data", str(csv_folder), "--name", "csv", **offline)
    _same_run(tmp_path, "pulled", "csv")
    words = ("harness", "fake/hash", "--tasks", tasks[0], "--num-fewshot", "5", "--data-dir", "brought", "--json")
    theirs = _evalkit(tmp_path, hub, *words, **offline)
    assert json.loads(theirs.stdout)["metrics"]["overall"]["acc"]["n"] == len(
        _rows(csv_folder / "test" / "anatomy_test.csv", "anatomy")
    )
    assert hub.stats()["asked"] == []


def test_a_mirror_that_lacks_a_subject_names_it(tmp_path: Path) -> None:
    from evalkit.benchmarks.mmlu import MmluOptions, load
    from evalkit.errors import UsageError

    row = {"question": "Which?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 2}
    _write(tmp_path / "cais" / "mmlu" / "anatomy" / "test.parquet", [row])
    with pytest.raises(UsageError, match="no test questions of virology"):
        load(tmp_path, MmluOptions(num_fewshot=0, subjects=("virology",)))


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("answer", 4, "0 to 3"), ("choices", ["a", "b"], "four texts"), ("question", None, "'question'")],
)
def test_a_row_of_the_hub_that_is_no_question_is_a_data_error(
    tmp_path: Path, column: str, value: Any, problem: str
) -> None:
    from evalkit.benchmarks.mmlu import MmluOptions, load
    from evalkit.errors import DataError

    good = {"question": "Which?", "subject": "anatomy", "choices": ["None", "NA", "nan", ""], "answer": 2}
    _write(tmp_path / "anatomy" / "test.parquet", [good, {**good, column: value}])
    with pytest.raises(DataError, match=r"test\.parquet: row 2") as caught:
        load(tmp_path, MmluOptions(num_fewshot=0))
    assert problem in str(caught.value)


def test_choices_of_the_hub_that_read_none_or_na_are_text(tmp_path: Path) -> None:
    from evalkit.benchmarks.mmlu import MmluOptions, load

    row = {"question": "Which?", "subject": "anatomy", "choices": ["None", "NA", "nan", ""], "answer": 2}
    _write(tmp_path / "all" / "test-00000-of-00002.parquet", [row])
    _write(tmp_path / "all" / "test-00001-of-00002.parquet", [{**row, "question": "And?"}])
    task = load(tmp_path, MmluOptions(num_fewshot=0))
    assert [sample.fields["choices"] for sample in task.samples] == [["None", "NA", "nan", ""]] * 2
    assert [sample.target for sample in task.samples] == ["C", "C"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    from evalkit.benchmarks.mmlu import MmluOptions, load
    from evalkit.errors import DataError

    (tmp_path / "anatomy").mkdir()
    (tmp_path / "anatomy" / "test.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"test\.parquet: not a Parquet file"):
        load(tmp_path, MmluOptions(num_fewshot=0))
