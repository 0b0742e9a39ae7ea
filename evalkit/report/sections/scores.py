"""What a mean hides: how the scores of a task are distributed, and whether a model knows when it is right."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.metrics.calibration import ece_equal_width
from evalkit.record import Row
from evalkit.report import svg
from evalkit.report.html import Child, Html, tag
from evalkit.report.parts import legend, note
from evalkit.report.scale import Scale
from evalkit.report.text import number, share
from evalkit.report.view import Cell, TaskView, View

_STEPS = 10
_MOST_GRADES = 11
"""Scales with more whole numbers are cut into steps."""


def distribution(view: View, task: TaskView) -> Html | None:
    """Histograms of a graded score, one line of bars for each model; None for right-or-wrong scores."""
    if task.scale.binary or task.scale.top is None or not task.is_plain:
        return None
    bins = _bins(task.scale, [score for entry in task.cells for score in entry.scores.values()])
    counts = [_histogram(entry.scores.values(), bins) for entry in task.cells]
    if not any(map(sum, counts)):
        return None
    tallest = max((max(c) / (sum(c) or 1) for c in counts), default=1.0)
    area = svg.frame((bins.low, bins.low + bins.count * bins.size), (0.0, tallest * 100 * 1.05))
    names = [svg.Label(bins.low + (place + 0.5) * bins.size, name) for place, name in enumerate(bins.names)]
    marks: list[Child] = [*svg.axes(area, _axis_name(task, bins), "% of samples", x_labels=names)]
    for place, (entry, count) in enumerate(zip(task.cells, counts, strict=True)):
        marks.extend(_bars(area, count, (place, len(task.cells)), view.model_index(entry.model)))
    words = "; ".join(_spread(entry, count, bins) for entry, count in zip(task.cells, counts, strict=True))
    drawing = svg.chart(area, f"Distribution of {task.metric} on {task.name}", words, marks)
    return _figure("How the scores are spread", drawing, legend(view, [c.model for c in task.cells]), words)


def _figure(title: str, drawing: Html, names: Html, words: str) -> Html:
    return tag("figure", tag("figcaption", title), drawing, names, note(words))


@dataclass(frozen=True)
class _Bins:
    """How a scale is cut into bars."""

    low: float
    size: float
    count: int
    names: tuple[str, ...] = ()
    """The grades, where every bar is one grade."""


def _bins(scale: Scale, values: Sequence[float]) -> _Bins:
    """One bar for each grade where only a few whole numbers are given, else ten steps over the whole scale."""
    low, top = scale.ends
    if top - low + 1 <= _MOST_GRADES and low == int(low) and all(value == int(value) for value in values):
        count = int(top - low) + 1
        return _Bins(low - 0.5, 1.0, count, tuple(f"{low + place:g}" for place in range(count)))
    return _Bins(low, (top - low) / _STEPS, _STEPS)


def _axis_name(task: TaskView, bins: _Bins) -> str:
    return task.metric if bins.names else f"{task.metric}, in {bins.count} steps"


def _histogram(values: Iterable[float], bins: _Bins) -> list[int]:
    counts = [0] * bins.count
    for value in values:
        counts[min(max(int((value - bins.low) / bins.size), 0), bins.count - 1)] += 1
    return counts


def _bars(area: svg.Frame, counts: Sequence[int], place: tuple[int, int], index: int) -> Iterator[Html]:
    total = sum(counts) or 1
    step = (area.x.end - area.x.start) / len(counts)
    width = 0.86 * step / place[1]
    for bar, count in enumerate(counts):
        left = area.x.start + (bar + 0.07) * step + place[0] * width
        height = area.y.start - area.y.at(100 * count / total)
        if count:
            yield tag(
                "rect",
                x=round(left, 1),
                y=round(area.y.start - height, 1),
                width=round(width * 0.92, 1),
                height=round(height, 1),
                class_=f"fill m{index % 8}",
            )


def _spread(entry: Cell, counts: Sequence[int], bins: _Bins) -> str:
    total = sum(counts)
    lowest, highest = (
        (f"at {bins.names[0]}", f"at {bins.names[-1]}") if bins.names else ("in the lowest tenth", "in the highest")
    )
    return f"{entry.model}: {share(counts[0], total)} {lowest}, {share(counts[-1], total)} {highest}, {total:,} scored"


def reliability(view: View, task: TaskView) -> Html | None:
    """How often a model is right at each level of confidence; None where Runs carry no probabilities."""
    curves = [(entry, _curve(entry)) for entry in task.cells]
    curves = [(entry, curve) for entry, curve in curves if curve]
    if not curves:
        return None
    area = svg.frame((0.0, 100.0), (0.0, 100.0))
    marks: list[Child] = [*svg.axes(area, "confidence, %", "right, %")]
    marks.append(svg.line((area.x.at(0), area.y.at(0)), (area.x.at(100), area.y.at(100)), "ideal"))
    for entry, curve in curves:
        index = view.model_index(entry.model)
        points = [(area.x.at(100 * confidence), area.y.at(100 * right)) for confidence, right, _ in curve]
        marks.append(svg.path(points, f"series m{index % 8}"))
        marks.extend(
            svg.marker(point, index, size=2.5 + 4 * (n / max(c[2] for c in curve)) ** 0.5)
            for point, (_, _, n) in zip(points, curve, strict=True)
        )
    words = "; ".join(_calibration_words(entry, curve) for entry, curve in curves)
    drawing = svg.chart(area, f"Reliability of {task.name}", words, marks)
    names = legend(view, [entry.model for entry, _ in curves])
    return _figure("Does a model know when it is right? (on the dashed line: yes)", drawing, names, words)


def _curve(entry: Cell) -> list[tuple[float, float, int]]:
    """(mean confidence, share right, samples) of each tenth of confidence that has samples."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for confidence, right in _confidences(entry):
        bins.setdefault(min(int(confidence * _STEPS), _STEPS - 1), []).append((confidence, right))
    return [
        (sum(c for c, _ in pairs) / len(pairs), sum(r for _, r in pairs) / len(pairs), len(pairs))
        for _, pairs in sorted(bins.items())
    ]


def _confidences(entry: Cell) -> list[tuple[float, float]]:
    """(confidence, score) of every scored row that has both."""
    metric = entry.run.manifest.primary
    found = ((_confidence(row), row) for row in entry.run.rows if row.unscored is None and metric in row.scores)
    return [(confidence, row.scores[metric]) for confidence, row in found if confidence is not None]


def _confidence(row: Row) -> float | None:
    probabilities = row.extra.get("probabilities")
    if not isinstance(probabilities, Mapping) or not probabilities:
        return None
    return max(float(p) for p in probabilities.values())


def _calibration_error(entry: Cell) -> float:
    """The Run's own where it has one, so that the page does not name two."""
    own = entry.run.manifest.metrics.overall.get("ece")
    if own is not None and own.value is not None:
        return own.value
    pairs = _confidences(entry)
    return ece_equal_width([c for c, _ in pairs], [r > 0.5 for _, r in pairs])


def _calibration_words(entry: Cell, curve: Sequence[tuple[float, float, int]]) -> str:
    total = sum(n for _, _, n in curve)
    confidence = sum(c * n for c, _, n in curve) / total
    right = sum(r * n for _, r, n in curve) / total
    gap = _calibration_error(entry)
    return (
        f"{entry.model}: {number(100 * confidence)} % sure on average, {number(100 * right)} % right, "
        f"expected calibration error {number(100 * gap)} points"
    )
