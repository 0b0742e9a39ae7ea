"""What CI compares to: an accepted Run in, a small JSON file for the repository out, and back again as a Run.

The file holds the scores of every sample and repeat, one sample per line in the order of ids, so that a change shows as
the lines that changed; beside them what makes numbers comparable (protocol, data hash, settings, judge). It is written
by `evalkit baseline accept` and by nothing else.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, RecordError, UsageError
from evalkit.record import RUN_FILE, Manifest, Metric, Metrics, Row, Run, count_unscored, read_run, write_atomically
from evalkit.task import check_unique_ids

FORMAT = 1
FOLDER = "baseline"
"""Under the reports folder; the one part of it that belongs in the repository."""
ADVISED_REPEATS = 4
"""A single lucky run in the baseline turns commits red for months; four repeats end that."""

_KIND = "evalkit_baseline"
_HEADER = ("task", "protocol", "primary", "scale", "data_hash", "model", "model_fingerprint", "settings", "judge")


def accept(run: Run, folder: Path, *, reason: str = "", name: str | None = None) -> Path:
    """Write a Run as the baseline of its task.

    Args:
        run: a complete Run.
        folder: where baselines lie.
        reason: why it is accepted; kept in the file.
        name: the file's name without its suffix; the task's where None.

    Returns:
        The file written, `folder`/<task>.json; what stood there before is replaced.

    Raises:
        UsageError: the Run is not complete, is damaged, has nothing scored, or a score that is no number.
        RecordError: the disk refuses.
    """
    _check_acceptable(run)
    path = folder / f"{name or _file_name(run.manifest.task)}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _pieces(run, reason))
    except OSError as error:
        raise RecordError(f"cannot write the baseline {path}: {error.strerror}") from error
    return path


def read_baseline(path: Path) -> Run:
    """Read a baseline file as a Run without prompts and responses.

    Raises:
        EvalkitError: there is no such file (exit code 3: without a baseline nothing is decided).
        RecordError: the file is damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except FileNotFoundError:
        raise EvalkitError(f"{path}: no such baseline; make one with `evalkit baseline accept RUN`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: damaged ({error}); restore it from the repository's history") from None
    version = content.get(_KIND) if isinstance(content, dict) else None
    if version != FORMAT:
        raise RecordError(f"{path}: not a baseline of this version ({_KIND} is {version!r}, expected {FORMAT})")
    try:
        return _run_of(content, path)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, UsageError) as error:
        raise RecordError(f"{path}: damaged ({error!r}); restore it from the repository's history") from None


def read_baselines(folder: Path) -> list[Run]:
    """Every baseline in a folder, by file name; none where there is no such folder."""
    return [read_baseline(path) for path in sorted(folder.glob("*.json"))]


def find_runs(reference: str, reports: Path) -> list[Run]:
    """The Runs a name stands for: a Run, a baseline file, or a folder of baselines.

    Raises:
        EvalkitError: there is nothing of that name (exit code 3), or it cannot be read.
    """
    for path in (Path(reference), reports / reference, reports / FOLDER / f"{reference}.json"):
        if (path / RUN_FILE).is_file() or (path.name == RUN_FILE and path.is_file()):
            return [read_run(path)]
        if path.is_file() and path.suffix == ".json":
            return [read_baseline(path)]
        if path.is_dir() and (found := read_baselines(path)):
            return found
    raise EvalkitError(f"{reference}: no run and no baseline of that name here or under {reports}")


def is_baseline(run: Run) -> bool:
    """Whether a Run was read from a baseline file, so that its rows hold neither prompts nor responses."""
    return run.path is not None and run.path.suffix == ".json"


def _check_acceptable(run: Run) -> None:
    manifest = run.manifest
    if manifest.status != "complete" or run.damage:
        state = f"damaged ({run.damage[0]})" if run.damage else manifest.status
        raise UsageError(f"{run.id} is {state}: only a complete run can be a baseline; run the same command again")
    for row in run.rows:
        for name, value in row.scores.items():
            if not math.isfinite(value):
                raise UsageError(
                    f"{run.id}: {name} of sample {row.id!r} is {value}, which is no score: make the run again"
                )
    if not any(row.unscored is None and row.scores for row in run.rows):
        raise UsageError(f"{run.id} has no scored sample: it cannot be a baseline")


def _file_name(task: str) -> str:
    """The task's name as a file name: a task's own name is one, the stem of a data file may not be."""
    return "".join(char if char.isalnum() or char in "._-" else "-" for char in task).lstrip(".") or "task"


def _pieces(run: Run, reason: str) -> Iterator[str]:
    manifest = run.manifest
    header: dict[str, Any] = {_KIND: FORMAT}
    header |= {key: getattr(manifest, key) for key in _HEADER}
    header |= {"pseudo_values": list(manifest.pseudo_values)} if manifest.pseudo_values else {}
    header |= {"repeats": manifest.repeats, "run": run.id, "finished": manifest.finished, "reason": reason}
    header["metrics"] = {name: _metric(metric) for name, metric in sorted(manifest.metrics.overall.items())}
    text = json.dumps(header, ensure_ascii=False, indent=1, default=str)
    yield text[: text.rindex("\n}")] + ',\n "items": [\n'
    lines = [_item(sample, rows) for sample, rows in sorted(_by_sample(run).items())]
    yield ",\n".join(lines)
    yield "\n ]\n}\n"


def _by_sample(run: Run) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in run.rows:
        if "canary" not in row.tags:
            found.setdefault(row.id, []).append(row)
    return found


def _item(sample: str, rows: Sequence[Row]) -> str:
    names = sorted({name for row in rows for name in row.scores})
    content: dict[str, Any] = {"id": sample}
    if rows[0].cluster is not None:
        content["cluster"] = rows[0].cluster
    content["scores"] = {name: [_short(row.scores.get(name)) for row in rows] for name in names}
    if not names or any(row.unscored for row in rows):
        content["unscored"] = [row.unscored for row in rows]
    return "  " + json.dumps(content, ensure_ascii=False, allow_nan=False)


def _short(value: float | None) -> float | None:
    """A whole number without its ".0"; NaN as null, for JSON has none."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else value


def _metric(metric: Metric) -> dict[str, Any]:
    return {"value": metric.value, "stderr": metric.stderr, "low": metric.low, "high": metric.high, "n": metric.n}


def _run_of(content: Mapping[str, Any], path: Path) -> Run:
    check_unique_ids([str(item["id"]) for item in content["items"]], where="its items")
    if not (content["scale"] > 0 and content["repeats"] >= 1):
        raise ValueError(f"scale {content['scale']} or repeats {content['repeats']} is not above 0")
    rows = tuple(row for item in content["items"] for row in _rows_of(item))
    manifest = Manifest(
        id=str(content["run"]),
        status="complete",
        samples=len(rows),
        repeats=int(content["repeats"]),
        pseudo_values=tuple(content.get("pseudo_values", ())),
        metrics=Metrics({name: Metric(**value) for name, value in content["metrics"].items()}),
        unscored=count_unscored(rows),
        finished=str(content["finished"]),
        **{key: content[key] for key in _HEADER},
    )
    return Run(manifest, rows, path)


def _rows_of(item: Mapping[str, Any]) -> Iterator[Row]:
    scores: Mapping[str, Sequence[float | None]] = item["scores"]
    unscored = item.get("unscored")
    repeats = len(unscored) if unscored else max((len(values) for values in scores.values()), default=0)
    for repeat in range(repeats):
        known = {name: float(v[repeat]) for name, v in scores.items() if v[repeat] is not None}  # type: ignore[arg-type]
        reason = unscored[repeat] if unscored else None
        yield Row(str(item["id"]), repeat, "", None, "", known, unscored=reason, cluster=item.get("cluster"))
