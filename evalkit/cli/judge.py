"""`evalkit judge SOURCE`: score responses, compare those of two runs, or let a jury of several judges do it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli import options
from evalkit.cli.asking import Asking, asks_models
from evalkit.errors import UsageError
from evalkit.record import RUN_FILE

if TYPE_CHECKING:
    from evalkit.cli.output import Output
    from evalkit.judge.session import JudgeSettings
    from evalkit.record import Run
    from evalkit.runner import RunOptions

_METHODS = ("mean", "median", "majority")


@asks_models
def judge(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="A run, or a JSON file of entries with model_response.")],
    judge_name: Annotated[
        list[str] | None,
        typer.Option("--judge", help="reference (no model, the default), or provider/name; several are a jury."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Compare with this run's responses, in both orders.")
    ] = None,
    rubric: Annotated[str | None, typer.Option("--rubric", help="Rubric name or YAML file.")] = None,
    jury: Annotated[
        str | None,
        typer.Option("--jury", help="How a jury decides: mean, median or majority; default: mean, of pairs majority."),
    ] = None,
    canary: Annotated[
        int, typer.Option("--canary", help="Plant N known-bad answers and say if they were caught.", min=0)
    ] = 0,
    retries: Annotated[
        int, typer.Option("--retries", help="Ask again so often for a reply without a verdict.", min=0)
    ] = 2,
    embedding: Annotated[
        str | None,
        typer.Option("--embedding", help="Reference judge: show the likeness by this sentence-transformers model too."),
    ] = None,
    *,
    asking: Asking,
) -> None:
    """Score the responses of a run or of a file."""
    from evalkit.cli.show import show_plans, show_run
    from evalkit.judge.session import JudgeSettings
    from evalkit.judge.task_parts import REFERENCE
    from evalkit.runner import DryRun

    output = context.obj
    method = _jury_method(jury, pairs=against is not None)
    if canary and against is not None:
        raise UsageError("--canary plants answers among those that are scored: leave it out with --against")
    judges = judge_name or [REFERENCE]
    if embedding is not None and REFERENCE not in judges:
        raise UsageError("--embedding is for the reference judge: add --judge reference, or leave it out")
    runs: dict[str, Run] = {}
    plans: list[DryRun] = []
    with asking.opened_cache(output) as cache:
        settings = JudgeSettings(rubric, retries, canary, asking.server_options(cache), embedding)
        for number, judge_id in enumerate(judges, start=1):
            own_name = f"{asking.name}-{number}" if asking.name and len(judges) > 1 else asking.name
            with output.progress(f"judge {judge_id}") as progress:
                kept = asking.run_options(cache, progress, output, own_name)
                try:
                    runs[judge_id] = _judge(source, against, judge_id, settings, kept)
                except DryRun as plan:
                    plans.append(plan)
    if len(plans) == 1:
        raise plans[0]
    if plans:
        show_plans(plans, output)
        return
    if REFERENCE in judges:
        output.note("reference judge: no language model judged; it compares each response with its reference answer")
    for judge_id, run in runs.items() if canary else ():
        output.note(_told_canaries(judge_id, run, canary))
    if len(runs) == 1:
        show_run(runs[judges[0]], output, groups=("family",))
    else:
        _show_jury(runs, method, output, pairs=against is not None)


def _jury_method(named: str | None, *, pairs: bool) -> str:
    method = named or ("majority" if pairs else "mean")
    if method not in _METHODS:
        raise UsageError(f"--jury {method}: choose one of {', '.join(_METHODS)}")
    if pairs and method != "majority":
        raise UsageError(f"--jury {method} needs scores: pairs are decided by majority")
    return method


def _judge(source: str, against: str | None, judge: str, settings: "JudgeSettings", kept: "RunOptions") -> "Run":
    from evalkit.judge import sources
    from evalkit.judge.session import judge_pairs, judge_responses

    if against is not None:
        return judge_pairs(
            options.find_run(source, kept.reports), options.find_run(against, kept.reports), judge, settings, kept
        )
    if source.endswith((".json", ".jsonl")) and Path(source).name != RUN_FILE:
        return judge_responses(*sources.from_file(Path(source)), judge, settings, kept)
    return judge_responses(*sources.from_run(options.find_run(source, kept.reports)), judge, settings, kept)


def _told_canaries(judge: str, run: "Run", wanted: int) -> str:
    """Whether a judge fell for the bad answers planted among the others."""
    caught = run.manifest.metrics.overall.get("canary_caught")
    if caught is None or caught.value is None:
        return f"{judge}: no planted answer was judged; it takes samples with reference answers"
    fell = round((1 - caught.value) * caught.n)
    few = f" ({wanted} were wanted)" if caught.n + caught.unscored < wanted else ""
    verdict = "fell for none" if not fell else f"fell for {fell}"
    advice = ": do not trust its scores before you have read why" if fell else ""
    return f"{judge} {verdict} of {caught.n} planted bad answers{few}{advice}"


def _show_jury(runs: dict[str, "Run"], method: str, output: "Output", *, pairs: bool) -> None:
    from dataclasses import asdict
    from typing import Any, cast

    from evalkit.judge.jury import ballots, disagreements, jury_verdicts, result, standings

    votes = ballots({name: run.rows for name, run in runs.items()})
    chosen = cast(Any, method)
    verdicts = jury_verdicts(votes, chosen)
    lines = [
        (one.judge, _number(one.agreement.value), _interval(one.agreement.low, one.agreement.high),
         _number(one.difference if one.difference is not None else one.same), _number(one.without), str(one.unscored))
        for one in standings(votes, chosen)
    ]  # fmt: skip
    compared = "same as the others" if pairs else "difference"
    columns = ("judge", "agreement", "95 % interval", compared, "jury without it", "unscored")
    output.table(columns, lines)
    output.say(f"jury ({method} of {len(runs)}): {_number(result(verdicts))} over {len(verdicts)} items")
    for run in runs.values():
        output.note(f"run: {run.path}")
    worst = disagreements(votes)[:3]
    if worst:
        output.note("judges differ most on: " + ", ".join(f"{item} ({spread:.3g})" for item, spread in worst))
    output.document(
        {
            "method": method,
            "result": result(verdicts),
            "standings": [asdict(one) for one in standings(votes, chosen)],
            "verdicts": {item: asdict(verdict) for item, verdict in verdicts.items()},
            "runs": {judge: str(run.path) for judge, run in runs.items()},
        }
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(*ends: float | None) -> str:
    given: Sequence[float] = [end for end in ends if end is not None]
    return "–" if len(given) < 2 else f"[{given[0]:.4f}, {given[1]:.4f}]"
