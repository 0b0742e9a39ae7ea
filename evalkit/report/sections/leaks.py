"""What training and test data have in common, where a Run says so: a model knows what it has seen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalkit.record import Run
from evalkit.report.html import Html, tag
from evalkit.report.parts import Column, Part, cell, details, note, row, table
from evalkit.report.scale import scale_of
from evalkit.report.text import listed, one_line
from evalkit.report.view import View

KEYS = ("leaks", "contamination")
"""Where settings or a training record say what was found, as counts: {"test in train": {"exact": 0, "near": 3}}."""
EXAMPLES = "leaked"
"""Where a training record names the questions found."""
CHECKED = "leaks_checked"
"""Where a training record says how many questions of which benchmarks were looked for."""
GROUP = "contamination"
"""The group of a Run's metrics that keeps questions seen in training apart."""
_WORDS = {"exact": "word for word", "near": "nearly word for word"}
_SHOWN = 20


def leaks(view: View) -> Part:
    """Every finding, and examples of the questions."""
    lines = dict.fromkeys(line for run in view.runs for line in findings(run))
    if not lines:
        return Part("leaks", "Leaks", note("These runs carry no findings on leaks between training and test data."))
    trained = {run.manifest.model: run for run in view.runs if (run.manifest.training or {}).get(EXAMPLES)}
    examples = [_examples(run) for run in trained.values()]
    return Part("leaks", "Leaks", [tag("ul", (tag("li", line) for line in lines)), examples])


def findings(run: Run) -> Iterator[str]:
    """Findings of one Run in sentences."""
    model, training = run.manifest.model, run.manifest.training or {}
    for source in (run.manifest.settings, training):
        for key in KEYS:
            yield from (f"{model}: {line}." for line in _lines(source.get(key)))
    yield from (f"{model}: {line}." for line in _clean(training))
    yield from (f"{model}: {line}." for line in _seen(run))


def _clean(training: Mapping[str, Any]) -> Iterator[str]:
    """Benchmarks that were looked for in the training data and not found."""
    checked, found = training.get(CHECKED), training.get(KEYS[0])
    if isinstance(checked, Mapping) and isinstance(found, Mapping):
        for name, questions in checked.items():
            if not _counted(found.get(f"{name} in train")):
                yield f"none of the {questions:,} questions of {name} stands in its training data"


def _seen(run: Run) -> Iterator[str]:
    """How a model does on questions seen in training, and on the others."""
    metric, parts = run.manifest.primary, run.manifest.metrics.groups.get(GROUP, {})
    scores = {name: values[metric] for name, values in parts.items() if metric in values}
    scale = scale_of([run])
    words = [f"{name} {scale.with_unit(one.value)} (n = {one.n:,})" for name, one in scores.items()]
    if words:
        yield f"{metric} on {run.manifest.task} by what training has seen: {listed(words)}"


def warnings(view: View) -> list[str]:
    """What must be known before the numbers are believed: test questions that stand in the training data."""
    found: dict[str, dict[str, None]] = {}
    for task in view.tasks:
        for entry in task.cells:
            counts = (entry.run.manifest.training or {}).get("leaks")
            if not isinstance(counts, Mapping):
                continue
            for part in ("test", entry.run.manifest.task):
                if words := _counted(counts.get(f"{part} in train")):
                    asked = "test questions" if part == "test" else f"questions of {part}"
                    found.setdefault(f"{asked}: {words}", {})[entry.model] = None
    return [f"The training data of {listed(list(models))} holds {words}." for words, models in found.items()]


def _lines(value: Any) -> list[str]:
    """Such as "test in train: 2 word for word, 36 nearly word for word"; pairs without any are left out."""
    if isinstance(value, Mapping):
        found = [(str(name), _counted(content)) for name, content in value.items()]
        return [f"{name}: {words}" for name, words in found if words]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(item) for item in value[:_SHOWN]]
    return [] if value is None else [str(value)]


def _counted(content: Any) -> str:
    if isinstance(content, Mapping):
        return listed([f"{count} {_WORDS.get(kind, kind)}" for kind, count in content.items() if count])
    return "" if content is None else str(content)


def _examples(run: Run) -> Html:
    found = [one for one in (run.manifest.training or {})[EXAMPLES] if isinstance(one, Mapping)]
    columns = [Column("Question", numeric=False), Column("Stands in", numeric=False), Column("Also in", numeric=False)]
    columns.append(Column("Likeness"))
    shown = found[:_SHOWN]
    name = f"Questions in the data of {run.manifest.model} that stand twice"
    return details(f"{name} ({len(shown)} of {len(found):,})", table(name, columns, map(_example, shown)))


def _example(found: Mapping[str, Any]) -> Html:
    ratio = found.get("ratio")
    return row(
        one_line(str(found.get("question", "")), 120),
        cell(f"{found.get('part')} {found.get('place')}", class_="words"),
        cell(f"{found.get('known_part')} {found.get('known_place')}", class_="words"),
        cell(f"{ratio:.2f}", value=ratio) if isinstance(ratio, float) else cell("–"),
    )
