"""A Run in, what every tracker keeps out: numbers by name, settings as texts, losses by step, and the Run's files.

Each metric keeps the names that evalkit gives its parts: `mmlu/acc`, `mmlu/acc_stderr`, `mmlu/acc_low`,
`mmlu/acc_high`, `mmlu/acc_n`, `mmlu/acc_unscored`. A part that is undefined is absent, never zero.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalkit.digest import digest
from evalkit.record import RUN_FILE, SAMPLES_FILE, Metric, Run

_UNCLEAN = re.compile(r"[^A-Za-z0-9_. -]")
_LONGEST = 60
_BESIDE = ("stderr", "low", "high", "n", "unscored")
"""What stands beside a metric's value."""
_ABOUT = ("task", "protocol", "model", "model_fingerprint", "data_hash", "status", "samples", "repeats")


def numbers(run: Run) -> dict[str, float]:
    """Every metric of a Run, overall and by group, why rows are unscored, and what the Run took."""
    manifest = run.manifest
    task = clean(manifest.task)
    found: dict[str, float] = {}
    for name, metric in manifest.metrics.overall.items():
        found |= _parts(f"{task}/{clean(name)}", metric)
    for group, members in manifest.metrics.groups.items():
        for member, values in members.items():
            for name, metric in values.items():
                found |= _parts(f"{task}/{clean(group)}/{clean(member)}/{clean(name)}", metric)
    found |= {f"{task}/unscored/{clean(reason)}": float(count) for reason, count in manifest.unscored.items()}
    found |= {f"{task}/usage/{clean(name)}": float(value) for name, value in manifest.usage.items()}
    return found


def _parts(name: str, metric: Metric) -> dict[str, float]:
    named = {name: metric.value, **{f"{name}_{part}": getattr(metric, part) for part in _BESIDE}}
    return {key: float(value) for key, value in named.items() if value is not None and math.isfinite(value)}


def clean(name: str) -> str:
    """A part of a name as every tracker takes it, `acc,strict` as `acc.strict`.

    What had to be changed otherwise ends in a digest, so that two names stay two.
    """
    plain = name.replace(",", ".")
    made = _UNCLEAN.sub("_", plain)[:_LONGEST].strip(" .")
    return made if made == plain and made else f"{made}_{digest(name)[:6]}".lstrip("_")


def settings(run: Run) -> dict[str, str]:
    """What was asked of whom, how, by which versions: one text for each leaf of the manifest's mappings."""
    manifest = run.manifest
    found = {name: str(getattr(manifest, name)) for name in _ABOUT}
    for prefix, values in (
        ("settings", manifest.settings),
        ("judge", manifest.judge or {}),
        ("training", (manifest.training or {}).get("settings") or {}),
        ("versions", manifest.versions),
    ):
        found |= {f"{prefix}.{clean(str(name))}": _text(value) for name, value in values.items()}
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def losses(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, losses by name) of the training that made the checkpoint, where its folder tells."""
    for entry in (run.manifest.training or {}).get("metrics") or ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("step"), int):
            continue
        values = {
            f"training/{clean(name)}": float(value)
            for name, value in entry.items()
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value)
        }
        if values:
            yield entry["step"], values


def last_step(run: Run) -> int:
    """The training step that the numbers belong to; 0 where nothing is known of a training."""
    return max((step for step, _ in losses(run)), default=0)


def files(run: Run) -> list[Path]:
    """The Run's own files, as far as they are there."""
    if run.path is None or not run.path.is_dir():
        return []
    return [path for name in (RUN_FILE, SAMPLES_FILE) if (path := run.path / name).is_file()]
