"""The judge report card: agreement with people, order, length, self-consistency, attacks, juries, canaries."""

from collections.abc import Sequence

from evalkit.judge.jury import Standing
from evalkit.report.html import Child, Html, tag
from evalkit.report.judging import Jury, Service, attacked, juries, services
from evalkit.report.parts import Column, Part, cell, note, row, samples_link, table
from evalkit.report.people import graded
from evalkit.report.sections.people import people
from evalkit.report.sections.trials import attacks, reasons, trial
from evalkit.report.shares import ends, estimate_cell, percent, plain
from evalkit.report.svg import interval_bar
from evalkit.report.text import plural, share, signed
from evalkit.report.view import View
from evalkit.stats.intervals import Estimate


def judges(view: View) -> Part | None:
    """Everything the Runs know of their judges; None where nothing was judged."""
    blocks: list[Child] = [trial(task) for task in view.of_kind("audit")]
    blocks += [people(found) for found in [graded(view)] if found]
    blocks += [attacks(found) for found in [attacked(view)] if found]
    blocks += [_service_table(found) for found in [services(view)] if found]
    blocks += [_jury(jury) for jury in juries(view)]
    return Part("report-card", "Judge report card", blocks) if blocks else None


def _service_table(found: Sequence[Service]) -> Html:
    columns = [Column("Judge", numeric=False), Column("What it judged", numeric=False), Column("Without a verdict")]
    columns += [Column("Asked again"), Column("Orders agree"), Column("First shown wins"), Column("Longer wins")]
    columns += [Column("Same when asked again"), Column("Canaries caught")]
    used = [place for place in range(4, 9) if any(not _is_empty(one, place) for one in found)]
    kept = [column for place, column in enumerate(columns) if place < 4 or place in used]
    return tag(
        "article",
        tag("h3", "What its work shows"),
        table("Judges in the runs of this report", kept, [_service(one, used) for one in found], class_="services"),
        note(
            "Canaries are planted bad answers; caught means scored in the lower half. Longer responses can be better: "
            "only an audit with people's labels tells a preference for length from a good eye."
        ),
    )


def _is_empty(one: Service, place: int) -> bool:
    return _columns(one)[place - 4] is None


def _columns(one: Service) -> tuple[Estimate | None, ...]:
    """Orders agree, first shown, longer, asked again, canaries caught."""
    caught = one.metric("canary_caught")
    canary = Estimate(caught.value, caught.stderr, caught.low, caught.high, caught.n) if caught else None
    order = (one.position.consistency, one.position.first_rate) if one.position else (None, None)
    return (*order, one.length, one.again, canary)


def _service(one: Service, used: Sequence[int]) -> Html:
    counts = one.run.manifest.unscored
    total = sum(counts.values())
    rubric = (one.run.manifest.judge or {}).get("rubric", "unknown")
    lost = cell(f"{total:,} of {len(one.run.rows):,}", tag("span", reasons(counts), class_="small"), value=total)
    estimates = [estimate_cell(_columns(one)[place - 4]) for place in used]
    return row(
        (one.judge, tag("span", f"rubric {rubric}", class_="small")),
        cell(_judged(one), class_="words"),
        lost,
        cell(f"{one.retries:,}", value=one.retries),
        *estimates,
        value=one.judge,
    )


def _judged(one: Service) -> str:
    if one.task.kind == "duel":
        return one.task.name
    model = next(c.model for c in one.task.cells if c.run is one.run)
    return f"{model} on {one.task.name.partition(' · ')[0]}"


def _jury(jury: Jury) -> Html:
    agreement = "Agreement: Cohen's kappa" if jury.is_choice else "Agreement: Pearson's r"
    columns = [Column("Judge", numeric=False), Column(agreement)]
    columns += [Column("Says what the others say" if jury.is_choice else "Scores above the others by")]
    columns += [Column("Jury without it"), Column("Without a verdict")]
    rows = [_member(one, place, jury) for place, one in enumerate(jury.members)]
    unit = percent if jury.is_choice else plain
    said = f"The jury ({jury.method} of {len(jury.members)} judges) says {unit(jury.result)} over "
    split = f"{plural(jury.items, 'item')}; on {jury.split:,} ({share(jury.split, jury.items)}) its judges differ."
    return tag(
        "article",
        tag("h3", f"A jury on {jury.subject}, rubric “{jury.rubric}”"),
        note(
            said,
            split,
            " ",
            tag("a", "Look at where they disagree", href=samples_link(jury.task, judges="differ")),
            ".",
        ),
        table("Each judge against what the others say together", columns, rows, class_="jury"),
    )


def _member(one: Standing, place: int, jury: Jury) -> Html:
    limits = (one.agreement.low, one.agreement.high)
    third = percent(one.same) if jury.is_choice else signed(one.difference, 2)
    unit = percent if jury.is_choice else plain
    return row(
        one.judge,
        cell(
            tag("span", plain(one.agreement.value), class_="value"),
            interval_bar((-1.0, 1.0), one.agreement.value, limits, place, middle=0.0),
            tag("span", f"{ends(*limits, as_percent=False)}, n = {one.agreement.n:,}", class_="small"),
            value=one.agreement.value,
        ),
        cell(third, value=one.same if jury.is_choice else one.difference),
        cell(unit(one.without), value=one.without),
        cell(f"{one.unscored:,}", value=one.unscored),
    )
