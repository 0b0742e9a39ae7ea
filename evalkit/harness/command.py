"""lm-eval's own command line, made to start at once: its index holds the named tasks, and errors need no bootstrap.

lm-eval parses about 14,000 YAML files before it looks at `--tasks`. As long as the context lasts, the names are known
first and only the folders that define them are read; what it prints and writes stays its own. A standard error that it
would find with 100,000 resamples is found as everywhere in evalkit; means keep lm-eval's own formula.
"""

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.harness.index import find_folders
from evalkit.harness.quick import quick_lm_eval
from evalkit.harness.spread import standard_error
from evalkit.harness.tasks import expand, find_tasks, unknown_task

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


@contextmanager
def quick_command() -> Iterator[None]:
    """Patch lm-eval's command line as long as the context lasts."""
    from lm_eval import evaluator_utils
    from lm_eval.config.evaluate_config import EvaluatorConfig

    process, errors = EvaluatorConfig.process_tasks, evaluator_utils.stderr_for_metric
    EvaluatorConfig.process_tasks = _with_named_tasks(process)
    evaluator_utils.stderr_for_metric = _error_of
    try:
        with quick_lm_eval():
            yield
    finally:
        EvaluatorConfig.process_tasks = process
        evaluator_utils.stderr_for_metric = errors


def _with_named_tasks(original: Callable[..., Any]) -> Callable[..., Any]:
    """`EvaluatorConfig.process_tasks`, with a TaskManager that knows the configuration's tasks alone."""

    def process_tasks(config: Any, metadata: Any = None) -> Any:
        import lm_eval.tasks

        manager = lm_eval.tasks.TaskManager
        lm_eval.tasks.TaskManager = partial(_named_tasks, _names(config.tasks))
        try:
            return original(config, metadata)
        finally:
            lm_eval.tasks.TaskManager = manager

    return process_tasks


def _names(tasks: str | Sequence[str]) -> list[str]:
    given = [tasks] if isinstance(tasks, str) else tasks
    return [name for words in given for name in words.split(",")]


def _named_tasks(
    names: Sequence[str], include_path: str | Path | None = None, metadata: Any = None, **_: Any
) -> "TaskManager":
    """What lm-eval would build from all its files, for these names; UsageError where nobody knows one of them."""
    wanted = [name for given in names for name in _spelled_out(given)]
    manager = find_tasks(wanted, Path(include_path) if include_path else None, metadata)
    for name in wanted:
        if name not in manager.task_index and not Path(name).exists():
            raise unknown_task(name)
    # What the manager lists was counted before the folders were added.
    manager._all_tasks = sorted(manager.task_index)
    return manager


def _spelled_out(name: str) -> list[str]:
    """The names or files behind a pattern, a pattern of files, or a folder of them."""
    if find_folders(name):
        return [name]
    if Path(name).is_dir():
        return glob.glob(str(Path(name) / "*.yaml"))  # noqa: PTH207 - as lm-eval
    return glob.glob(name) if name.endswith(".yaml") else expand(name)  # noqa: PTH207


def _error_of(metric: Callable[..., Any], bootstrap_iters: int) -> Callable[[Sequence[Any]], Any] | None:
    """lm-eval's `stderr_for_metric`: a function from documents to a standard error, or None."""
    if bootstrap_iters <= 0:
        return None
    return lambda items: "N/A" if (found := standard_error(metric, items).error) is None else found
