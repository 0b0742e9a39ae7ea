"""lm-eval's own command line with only the named tasks in its index."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness_tasks import write_tasks

from evalkit.errors import UsageError
from evalkit.harness import index

pytest.importorskip("lm_eval")

from evalkit.harness.command import quick_command


@pytest.fixture(autouse=True)
def _own_index(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "index"))
    index._names.cache_clear()
    yield
    index._names.cache_clear()


def _processed(tasks: str | list[str], include: Path | None = None) -> tuple[Any, Any]:
    """What lm-eval makes of `--tasks`: the manager, and the tasks it will run."""
    from lm_eval.config.evaluate_config import EvaluatorConfig

    config = EvaluatorConfig(model="evalkit", tasks=tasks, include_path=None if include is None else str(include))
    with quick_command():
        manager = config.process_tasks()
    return manager, config.tasks


def test_only_the_folders_of_the_named_tasks_are_read() -> None:
    manager, tasks = _processed("mmlu_anatomy,hellaswag")
    assert tasks == ["mmlu_anatomy", "hellaswag"]
    assert 60 < len(manager.all_tasks) < 300
    assert len(manager.task_index["mmlu_stem_tasks"].tags) == 19


def test_patterns_files_and_folders_mean_what_they_mean_to_lm_eval(tmp_path: Path) -> None:
    folder = write_tasks(tmp_path / "tasks")
    assert "mmlu_anatomy_continuation" in _processed("mmlu_anat*")[1]
    assert {one["task"] for one in _processed(str(folder / "choice_*.yaml"))[1]} == {"choice_a", "choice_b"}
    assert {one.get("task", "group") if "group" not in one else one["group"] for one in _processed(str(folder))[1]} == {
        "choice_a", "choice_b", "choices", "scores", "answers", "texts", "blanks", "words",
    }  # fmt: skip
    assert _processed(["choices"], folder)[1] == ["choices"]


def test_a_name_nobody_knows_is_refused_with_similar_ones() -> None:
    with pytest.raises(UsageError, match=r"no task, group or tag 'hellaswa'; similar: .*hellaswag"):
        _processed("hellaswa")


def test_everything_is_as_before_outside_the_context() -> None:
    import lm_eval.tasks
    from lm_eval import evaluator_utils
    from lm_eval.api.metrics import stderr_for_metric
    from lm_eval.config.evaluate_config import EvaluatorConfig

    process = EvaluatorConfig.process_tasks
    with quick_command():
        assert EvaluatorConfig.process_tasks is not process
    assert EvaluatorConfig.process_tasks is process
    assert evaluator_utils.stderr_for_metric is stderr_for_metric
    assert lm_eval.tasks.TaskManager is lm_eval.tasks.manager.TaskManager


def test_errors_of_means_are_lm_evals_and_the_others_need_no_bootstrap() -> None:
    from lm_eval import evaluator_utils
    from lm_eval.api import metrics

    with quick_command():
        find = evaluator_utils.stderr_for_metric
        assert find(metrics.mean, 100_000)([0.0, 1.0, 1.0]) == metrics.mean_stderr([0.0, 1.0, 1.0])
        assert 0 < find(metrics.f1_score, 100_000)([(0, 1), (1, 1), (1, 0), (0, 0)] * 10) < 0.2
        assert find(metrics.mean, 0) is None


@pytest.mark.slow
def test_the_command_prints_and_writes_what_lm_evals_own_does(tmp_path: Path) -> None:
    """The same table, with the whole index and with the quick one."""
    tasks = write_tasks(tmp_path / "tasks")
    words = ["run", "--model", "evalkit", "--model_args", "model=fake/hash,cache=", "--num_fewshot", "2"]
    words += ["--tasks", "choices,answers,words", "--include_path", str(tasks)]
    slow = "import evalkit.harness.lm\nfrom lm_eval.__main__ import cli_evaluate\ncli_evaluate()"
    quick = "from evalkit.harness.__main__ import main\nmain()"
    tables = []
    for program in (slow, quick):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "DISABLE_MULTIPROC": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # The error of a perplexity is a bootstrap there and the delta method here.
        tables.append([line for line in done.stdout.splitlines() if line.startswith("|") and "perplexity" not in line])
    assert len(tables[0]) > 8
    assert tables[0] == tables[1]
