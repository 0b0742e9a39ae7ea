"""Runs in, lm-eval's results folder out: `DIR/<model>/results_<time>.json` and `samples_<task>_<time>.jsonl`.

The layout is that of lm-eval 0.4.13 (`lm_eval/loggers/evaluation_tracker.py`, `lm_eval/result_schema.py`): keys
`metric,filter`, standard errors beside them ("N/A" where there is none), one sample line for each document and filter.
What lm-eval has no place for, intervals and unscored counts and where the numbers come from, lies under the key
`evalkit`, which its tools pass over.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from evalkit.compare import higher_is_better
from evalkit.record import Metric, Run, write_atomically
from evalkit.report.exporters.lm_eval_samples import GROUPS, TASKS, is_harness, sample_lines, split_name, task_hash
from evalkit.report.exporters.numbers import clean
from evalkit.report.strict_json import to_json


def write_results(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the Runs of each model as one evaluation of lm-eval.

    Args:
        runs: the Runs; two of one model and task get names of their own.
        folder: what lm-eval calls its output path.

    Returns:
        The files written; the same Runs give the same names, so that nothing stands twice.

    Raises OSError where the disk refuses.
    """
    models: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        models.setdefault((run.manifest.model, run.manifest.model_fingerprint), []).append(run)
    names = [model for model, _ in models]
    written = []
    for (model, fingerprint), own in models.items():
        name = model if names.count(model) == 1 else f"{model}@{fingerprint[:8]}"
        written += _write_model(own, name, folder / _folder_name(name))
    return written


def _write_model(runs: Sequence[Run], model: str, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    time = _file_time(runs)
    tasks = dict(zip(_task_names(runs), runs, strict=True))
    samples = {name: lines for task, run in tasks.items() for name, lines in sample_lines(task, run).items()}
    results = folder / f"results_{time}.json"
    write_atomically(results, [to_json(_results(tasks, samples, model), indent=2)])
    written = [results]
    for task, lines in samples.items():
        path = folder / f"samples_{task}_{time}.jsonl"
        write_atomically(path, (to_json(line) + "\n" for line in lines))
        written.append(path)
    return written


def _folder_name(model: str) -> str:
    """As lm-eval names a model's folder; what is no name of a file (dots alone, control characters) is cleaned."""
    name = re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)
    return name if name.strip(".") and re.fullmatch(r"[^\x00-\x1f\ud800-\udfff]{1,150}", name) else clean(model)


def _file_time(runs: Sequence[Run]) -> str:
    """When the last Run ended, as lm-eval writes times into names; no underscore may stand in it."""
    stated = max((run.manifest.finished or run.manifest.started for run in runs), default="")
    try:
        moment = datetime.fromisoformat(stated).replace(tzinfo=None)
    except ValueError:
        moment = datetime.min
    return moment.isoformat().replace(":", "-")


def _task_names(runs: Sequence[Run]) -> list[str]:
    names = [clean(run.manifest.task) for run in runs]
    protocols = [clean(f"{run.manifest.task}-{run.manifest.protocol}".replace("/", "-")) for run in runs]
    names = [protocols[place] if names.count(name) > 1 else name for place, name in enumerate(names)]
    return [
        clean(f"{name}-{runs[place].id[-8:]}") if names.count(name) > 1 else name for place, name in enumerate(names)
    ]


def _results(tasks: Mapping[str, Run], samples: Mapping[str, Sequence[Any]], model: str) -> dict[str, Any]:
    parts = {name: part for task, run in tasks.items() for name, part in _parts(task, run).items()}
    groups = {task: _metrics(task, run.manifest.metrics.overall) for task, run in tasks.items() if _members(task, run)}
    first = next(iter(tasks.values())).manifest
    shots = {name: run.manifest.settings.get("num_fewshot") for name, (run, _) in parts.items()}
    return {
        "results": {name: _metrics(name, metrics) for name, (_, metrics) in parts.items()},
        **({"groups": groups} if groups else {}),
        "group_subtasks": {task: [*_members(task, run)] for task, run in tasks.items()},
        "configs": {name: _config(name, run) for name, (run, _) in sorted(parts.items())},
        "versions": {name: _version(name, run) for name, (run, _) in sorted(parts.items())},
        "n-shot": {name: int(count) for name, count in sorted(shots.items()) if count is not None},
        "higher_is_better": {name: _directions(run, metrics) for name, (run, metrics) in sorted(parts.items())},
        "n-samples": {name: _counts(run, metrics) for name, (run, metrics) in parts.items()},
        "config": _execution(first.settings, model),
        "git_hash": None,
        "date": _seconds(first.started),
        "task_hashes": {task: task_hash(lines) for task, lines in samples.items()},
        "model_source": "evalkit",
        "model_name": model,
        "model_name_sanitized": _folder_name(model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(sum(run.manifest.usage.get("seconds", 0.0) for run in tasks.values())),
        "evalkit": {task: _about(run) for task, run in tasks.items()},
    }


def _parts(task: str, run: Run) -> dict[str, tuple[Run, Mapping[str, Metric]]]:
    """A Run's numbers by lm-eval's task names: the whole and, below it, the members of its groups."""
    return {task: (run, run.manifest.metrics.overall)} | {
        name: (run, metrics) for name, metrics in _members(task, run).items()
    }


def _members(task: str, run: Run) -> dict[str, Mapping[str, Metric]]:
    found: dict[str, Mapping[str, Metric]] = {}
    for group, members in run.manifest.metrics.groups.items():
        named_by_lm_eval = is_harness(run) and group in {TASKS, GROUPS}
        for member, metrics in members.items():
            name = clean(member) if named_by_lm_eval else clean(f"{task}_{member}")
            found[name if name not in found and name != task else clean(f"{task}_{group}_{member}")] = metrics
    return found


def _metrics(name: str, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "alias": name, "sample_len": max((m.n for m in metrics.values()), default=0)}
    for key, metric in metrics.items():
        first, filtered_by = split_name(key)
        if metric.value is not None:
            made[f"{first},{filtered_by}"] = metric.value
            made[f"{first}_stderr,{filtered_by}"] = "N/A" if metric.stderr is None else metric.stderr
    return made


def _config(name: str, run: Run) -> dict[str, Any]:
    manifest = run.manifest
    scored = any("logprobs" in row.extra for row in run.rows[:1])
    return {
        "task": name,
        "output_type": "multiple_choice" if scored else "generate_until",
        "metric_list": [{"metric": metric} for metric in dict.fromkeys(split_name(name)[0] for name in _scores(run))],
        "repeats": manifest.repeats,
        "num_fewshot": manifest.settings.get("num_fewshot"),
        "metadata": {"version": _version(name, run), **manifest.settings},
    }


def _scores(run: Run) -> list[str]:
    """The metrics that single samples have; others exist of the whole alone."""
    return list(dict.fromkeys(name for row in run.rows for name in row.scores))


def _version(name: str, run: Run) -> str:
    """lm-eval's version of its own tasks; elsewhere the protocol, which is what makes numbers comparable."""
    known = run.manifest.settings.get("task_version")
    if isinstance(known, Mapping):
        known = known.get(name)
    return str(known) if known is not None else run.manifest.protocol


def _directions(run: Run, metrics: Mapping[str, Metric]) -> dict[str, bool | None]:
    """Which way is better, as far as is known: by lm-eval's task, or of the primary metric and of losses."""
    known = run.manifest.settings.get("higher_is_better") or {}
    found = {}
    for name in metrics:
        metric, more = split_name(name)[0], higher_is_better(name)
        found[metric] = known.get(metric, more if name == run.manifest.primary or not more else None)
    return found


def _counts(run: Run, metrics: Mapping[str, Metric]) -> dict[str, int]:
    """Documents there are, and documents behind the numbers: what could not be scored is not among the second."""
    manifest = run.manifest
    if metrics is manifest.metrics.overall:
        scored = len({row.id for row in run.rows if row.unscored is None})
        return {"original": manifest.samples // max(manifest.repeats, 1), "effective": scored}
    largest = max(metrics.values(), key=lambda metric: metric.n + metric.unscored, default=None)
    return {"original": largest.n + largest.unscored, "effective": largest.n} if largest else {}


def _execution(settings: Mapping[str, Any], model: str) -> dict[str, Any]:
    return {
        "model": "evalkit",
        "model_args": {"model": model},
        "batch_size": None,
        "batch_sizes": [],
        "device": None,
        "use_cache": None,
        "limit": settings.get("limit"),
        "bootstrap_iters": 0,
        "gen_kwargs": {name: settings[name] for name in ("max_tokens", "temperature") if name in settings},
        "random_seed": settings.get("seed"),
        "numpy_seed": None,
        "torch_seed": None,
        "fewshot_seed": None,
    }


def _seconds(stated: str) -> float | None:
    try:
        return datetime.fromisoformat(stated).timestamp()
    except ValueError:
        return None


def _about(run: Run) -> dict[str, Any]:
    """What lm-eval has no place for."""
    manifest = run.manifest
    return {
        "run": run.id,
        "task": manifest.task,
        "protocol": manifest.protocol,
        "status": manifest.status,
        "model_fingerprint": manifest.model_fingerprint,
        "data_hash": manifest.data_hash,
        "judge": dict(manifest.judge) if manifest.judge else None,
        "metrics": asdict(manifest.metrics),
        "unscored": dict(manifest.unscored),
        "usage": dict(manifest.usage),
        "versions": dict(manifest.versions),
    }
