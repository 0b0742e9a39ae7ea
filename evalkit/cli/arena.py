"""`evalkit arena rate`, `winrate` and `serve`: battles to ratings, pairs to win rates, and the page to vote on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evalkit.cli import arena_serve, options
from evalkit.cli.arena_helm import show_scenario_win_rates

if TYPE_CHECKING:
    from evalkit.arena.annotations import Annotated as Annotations
    from evalkit.arena.battles import BattleLog, Style
    from evalkit.arena.published import RankingAgreement
    from evalkit.arena.rating import Standings
    from evalkit.arena.win_rates import ModelWinRates, WinRates
    from evalkit.cli.output import Output
    from evalkit.record import Run
    from evalkit.stats.intervals import Estimate

_LOGS = {".csv", ".jsonl", ".gz"}
"""What a name ends in that can only be a file's."""

app = typer.Typer(help="Rate models from battles, and compute win rates.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def rate(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(help="Battle logs (CSV, JSON, JSONL), or runs whose models meet.")],
    independent: Annotated[
        bool,
        typer.Option(
            "--independent/--by-prompt", help="Battles on one prompt are independent, as leaderboards have it."
        ),
    ] = False,
    bootstrap: Annotated[int | None, typer.Option("--bootstrap", help="Intervals from N resamples.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    style_control: Annotated[
        bool, typer.Option("--style-control/--no-style-control", help="Control for length, headers, lists and bold.")
    ] = False,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="Control for a column, or for NAME_a and NAME_b; repeatable.")
    ] = None,
    l2: Annotated[
        float, typer.Option("--l2", help="Penalty on all parameters, as in FastChat's style control (0.5 there).")
    ] = 0.0,
    feature_l2: Annotated[float, typer.Option("--feature-l2", help="Penalty on style coefficients alone.")] = 0.0,
    reweight: Annotated[
        bool, typer.Option("--reweight/--no-reweight", help="Let no pair of models dominate, as arena-rank does.")
    ] = False,
    fit: Annotated[
        str, typer.Option("--fit", help="maximum, or where a published optimiser stops: fastchat or arena-rank.")
    ] = "maximum",
    anchor: Annotated[str | None, typer.Option("--anchor", help="MODEL=RATING that fixes the scale.")] = None,
    elo: Annotated[bool, typer.Option("--elo/--no-elo", help="Also online Elo, in the order of the log.")] = False,
    k: Annotated[float, typer.Option("--k", help="Most points one battle moves, for --elo.")] = 4.0,
    home: Annotated[float, typer.Option("--home", help="Log-odds the first position is worth, for --elo.")] = 0.0,
    matrix: Annotated[bool, typer.Option("--matrix/--no-matrix", help="Also print who beats whom.")] = False,
    published: Annotated[Path | None, typer.Option("--published", help="Ranking to compare with.")] = None,
    published_column: Annotated[str | None, typer.Option("--published-column", help="Its column of ratings.")] = None,
    reports: options.Reports = Path("reports"),
) -> None:
    """Bradley-Terry ratings with intervals and ranks."""
    import math

    from evalkit.arena.battles import Style
    from evalkit.arena.published import agreement_with, read_published
    from evalkit.arena.rating import RateSettings, anchor_of, fit_of, rate
    from evalkit.stats.bradley_terry import RatingSettings
    from evalkit.stats.elo import EloSettings

    output = context.obj
    style = Style(style_control, tuple(feature or ()))
    log, runs = _battles(sources, style, reports, output)
    # FastChat's parameters are ours divided by ln 10, and the style coefficients follow the penalty itself.
    rating = RatingSettings(
        anchor=anchor_of(anchor) if anchor else None,
        reweight=reweight,
        rating_l2=l2 / math.log(10) ** 2,
        feature_l2=l2 + feature_l2,
        fit=fit_of(fit),
    )
    settings = RateSettings(rating, independent, bootstrap, seed, EloSettings(k=k, home=home) if elo else None)
    standings = rate(log, settings)
    agreement = agreement_with(standings, read_published(published, published_column)) if published else None
    scenarios = _mean_win_rates(runs)
    _show_standings(standings, scenarios, output)
    if matrix:
        _show_matrix(standings, output)
    if agreement:
        _show_agreement(agreement, output)
    for warning in standings.warnings:
        output.note(f"warning: {warning}")
    output.document(_standings_document(standings, scenarios, agreement))


@app.command()
def winrate(
    context: typer.Context,
    sources: Annotated[list[str], typer.Argument(help="AlpacaEval annotations (JSON, JSONL, CSV), or pairwise runs.")],
    helm: Annotated[
        bool, typer.Option("--helm", help="HELM's mean win rate over tasks instead, of runs of several models.")
    ] = False,
    metric: Annotated[
        str | None, typer.Option("--metric", help="With --helm: e.g. helm/robustness; default: each task's own.")
    ] = None,
    difficulty: Annotated[
        str | None,
        typer.Option(
            "--difficulty", help="File of item difficulties, joint, or none; default: joint from 20 models on."
        ),
    ] = None,
    gamed: Annotated[
        Path | None, typer.Option("--gamed", help="The baseline's own verbosity rows (AlpacaEval's df_gamed.csv).")
    ] = None,
    gamed_sums: Annotated[
        str | None, typer.Option("--gamed-sums", help="Two sums that stand for the gamed rows' preferences.")
    ] = None,
    instructions: Annotated[
        Path | None, typer.Option("--instructions", help="The instruction set, to find items by their text.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option("--strength", help="Inverse of the L1 penalty (C); chosen by default.")
    ] = None,
    reports: options.Reports = Path("reports"),
) -> None:
    """AlpacaEval's win rates (raw, discrete and length-controlled), or HELM's over tasks."""
    from evalkit.arena.annotations import annotations_of_run, models_in, read_annotations, read_instructions
    from evalkit.arena.win_rates import win_rates

    output = context.obj
    if helm:
        show_scenario_win_rates([options.find_run(source, reports) for source in sources], metric, output)
        return
    index = read_instructions(instructions) if instructions else None
    groups = []
    for source in sources:
        run = _run(source, reports, output)
        groups.append([annotations_of_run(run)] if run else read_annotations(Path(source), index))
    annotated: list[Annotations] = list(models_in(groups))
    found = win_rates(annotated, _length_settings(difficulty, gamed, gamed_sums, strength))
    _show_win_rates(found, output)
    output.document(_win_rates_document(found))


def _battles(sources: Sequence[str], style: "Style", reports: Path, output: "Output") -> "tuple[BattleLog, list[Run]]":
    from evalkit.arena.battles import joined
    from evalkit.arena.logs import read_battles
    from evalkit.arena.runs import battles_from_runs

    runs, logs = [], []
    for source in sources:
        run = _run(source, reports, output)
        if run:
            runs.append(run)
        else:
            logs.append(read_battles(Path(source), style))
    if runs:
        logs.append(battles_from_runs(runs, style))
    return joined(logs), runs


def _run(source: str, reports: Path, output: "Output") -> "Run | None":
    """The Run of that name; None where it is a file of something else."""
    from evalkit.errors import UsageError
    from evalkit.record import RUN_FILE

    path = Path(source)
    if path.is_file() and path.name != RUN_FILE:
        return None
    if path.suffix in _LOGS:
        raise UsageError(f"{source}: no such file")
    run = options.find_run(source, reports)
    options.warn_of_damage(run, output)
    return run


def _mean_win_rates(runs: "Sequence[Run]") -> "dict[str, float | None]":
    """HELM's mean win rate by model, where runs of several models on several tasks are given."""
    from evalkit.arena.runs import is_pairwise
    from evalkit.compare.scenarios import scenario_win_rates
    from evalkit.errors import UsageError

    try:
        found = scenario_win_rates([run for run in runs if not is_pairwise(run)])
    except UsageError:  # a model twice on one task: battles can be rated, scenarios cannot
        return {}
    if len(found.models) < 2 or len(found.scenarios) + len(found.alone) < 2:
        return {}
    return {model: one.mean for model, one in found.models.items()}


def _length_settings(difficulty: str | None, gamed: Path | None, sums: str | None, strength: float | None) -> Any:
    from evalkit.arena.annotations import read_difficulty, read_gamed
    from evalkit.arena.win_rates import LengthSettings

    joint = {"joint": True, "none": False}.get(difficulty or "")
    values = read_difficulty(Path(difficulty)) if difficulty and joint is None else None
    return LengthSettings(values, joint, read_gamed(gamed, _two_numbers(sums)) if gamed else None, strength)


def _two_numbers(text: str | None) -> tuple[float, ...] | None:
    from evalkit.errors import UsageError

    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--gamed-sums {text}: write two numbers, such as -182.709,412.93") from None
    return first, second


def _show_standings(standings: "Standings", scenarios: "dict[str, float | None]", output: "Output") -> None:
    from evalkit.ci.text import for_log

    has_elo = any(one.elo is not None for one in standings.models)
    columns = ["model", "rank", "rating", "95 % interval", "battles", "mean win share"]
    columns += (["Elo"] if has_elo else []) + (["mean win rate over tasks"] if scenarios else [])
    lines = []
    for one in standings.models:
        line = [for_log(one.model), str(one.rank), _number(one.rating.value), _interval(one.rating), str(one.rating.n)]
        line.append(_number(one.win_rate, 3))
        line += ([_number(one.elo)] if has_elo else []) + ([_number(scenarios.get(one.model), 3)] if scenarios else [])
        lines.append(tuple(line))
    output.table(columns, lines)
    for name, coefficient in standings.style:
        output.say(f"style: {name} {coefficient.value:+.3f} ({_interval(coefficient, 3)})")
    if standings.separability is not None:
        output.say(f"{standings.battles:,} battles; {standings.separability:.0%} of the pairs of models are separated")


def _show_matrix(standings: "Standings", output: "Output") -> None:
    if standings.matrix is None:
        output.note("no matrix: some verdicts are shares, not wins")
        return
    from evalkit.ci.text import for_log

    where = [standings.matrix.models.index(one.model) for one in standings.models]
    names = [for_log(one.model) for one in standings.models]
    lines = [
        (name, *(_number(standings.matrix.fractions[row][column], 2) for column in where))
        for name, row in zip(names, where, strict=True)
    ]
    output.table(("row beats column", *names), lines)


def _show_agreement(found: "RankingAgreement", output: "Output") -> None:
    output.say(
        f"published ranking, {len(found.shared)} models: Spearman {_number(found.spearman.value, 3)}, "
        f"Kendall {_number(found.kendall.value, 3)}, agreement {_number(found.agreement, 3)}, "
        f"separated {_number(found.separability, 3)} here and {_number(found.published_separability, 3)} there"
    )
    if found.missing:
        output.note(f"not in the published ranking: {', '.join(found.missing)}")


def _standings_document(
    standings: "Standings", scenarios: "dict[str, float | None]", agreement: "RankingAgreement | None"
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(standings),
        "style": {name: asdict(estimate) for name, estimate in standings.style},
        "mean_win_rates": scenarios,
        "published": asdict(agreement) if agreement else None,
    }


def _show_win_rates(found: "WinRates", output: "Output") -> None:
    columns = ("model", "length-controlled", "± se", "95 % interval", "win rate", "± se", "discrete", "n", "length")
    output.table(columns, [_win_rate_line(one) for one in found.models])
    for note in found.notes:
        output.note(note)
    for one in found.models:
        for note in one.notes:
            if not note.startswith("no "):
                output.note(f"{one.model}: {note}")


def _win_rate_line(one: "ModelWinRates") -> tuple[str, ...]:
    from evalkit.ci.text import for_log

    controlled = one.controlled.win_rate if one.controlled else None
    raw = one.raw.win_rate
    return (
        for_log(one.model),
        _number(controlled.value if controlled else None, 2),
        _number(controlled.stderr if controlled else None, 2),
        _interval(controlled, 2) if controlled else "–",
        _number(raw.value, 2), _number(raw.stderr, 2), _number(one.raw.discrete_win_rate.value, 2),
        str(one.raw.n_total), _number(one.average_length, 0),
    )  # fmt: skip


def _win_rates_document(found: "WinRates") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "difficulty": found.difficulty,
        "gamed": found.gamed,
        "notes": found.notes,
        "models": [{**asdict(one), "n_total": one.raw.n_total} for one in found.models],
    }


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(estimate: "Estimate", digits: int = 1) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


app.command("serve")(arena_serve.serve)
