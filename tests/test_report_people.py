"""What people said, in the report: votes of the arena, and scores of responses that a judge scored too."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from report_judges import duel, graded
from report_runs import SFT, instruct_run

from evalkit.arena.battles import Style
from evalkit.arena.journal import Journal, Turn
from evalkit.arena.runs import battles_from_runs
from evalkit.arena.voted_runs import is_journal, runs_of_journal
from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.judge.audit.people import PEOPLE_FIELD, score_card, shares_in, with_shares
from evalkit.record import Run, write_run
from evalkit.report import build_report
from evalkit.report.judging import services
from evalkit.report.people import graded as checked
from evalkit.report.verdicts import trial_answers
from evalkit.report.view import make_view
from evalkit.report.words import answers
from evalkit.review.labels import export_labels, people_shares, read_labels
from evalkit.review.session import Review, ReviewOptions
from evalkit.review.store import GivenLabel

A, B = "hf/a", "hf/b"


def command(*words: object) -> int:
    """The exit code of `evalkit …`."""
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def voted(path: Path, *votes: tuple[str, str, str, str], leaked: str | None = None) -> Path:
    """A journal with votes as (model shown first, model shown second, prompt, winner)."""
    journal = Journal(path)
    for first, second, prompt, winner in votes:
        turn = Turn(f"Ask {prompt}", f"{first} on {prompt}", f"{second} on {prompt}")
        name = journal.open_battle((first, second), prompt, [turn], "runs")
        journal.vote(name, winner, "ann", leaked=leaked)  # type: ignore[arg-type]
    journal.close()
    return path


# Votes -------------------------------------------------------------------------------------------------------


def test_votes_are_counted_for_the_model_whatever_was_shown_first(tmp_path: Path) -> None:
    (run,) = runs_of_journal(voted(tmp_path / "v.sqlite", (A, B, "p", "a"), (B, A, "q", "b"), (B, A, "r", "a")))
    assert [row.scores["win_rate"] for row in run.rows] == [1.0, 1.0, 0.0]
    assert run.primary.value == pytest.approx(2 / 3)
    assert [row.response for row in run.rows] == ["A is better.", "A is better.", "B is better."]


def test_both_bad_is_half_a_win_and_is_told(tmp_path: Path) -> None:
    (run,) = runs_of_journal(voted(tmp_path / "v.sqlite", (A, B, "p", "both_bad"), (A, B, "q", "tie")))
    assert run.primary.value == 0.5
    assert run.manifest.metrics.overall["both_bad"].value == 0.5


def test_votes_on_the_same_answers_are_repeats_of_one_sample(tmp_path: Path) -> None:
    (run,) = runs_of_journal(voted(tmp_path / "v.sqlite", (A, B, "p", "a"), (B, A, "p", "a"), (A, B, "q", "a")))
    assert [(row.id, row.repeat) for row in run.rows] == [("p", 0), ("p", 1), ("q", 0)]
    assert run.primary.n == 2


def test_other_answers_to_one_prompt_are_another_sample(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "v.sqlite")
    for answer in ("one", "two"):
        journal.vote(journal.open_battle((A, B), "p", [Turn("Ask", answer, "b")], "live"), "a", "ann")
    journal.close()
    (run,) = runs_of_journal(tmp_path / "v.sqlite")
    assert [(row.id, row.cluster) for row in run.rows] == [("p", "p"), ("p (2)", "p")]


def test_a_vote_after_a_leak_is_unscored_with_its_reason(tmp_path: Path) -> None:
    (run,) = runs_of_journal(voted(tmp_path / "v.sqlite", (A, B, "p", "a"), leaked="I am a"))
    assert (run.rows[0].unscored, run.manifest.unscored) == ("leaked", {"leaked": 1})
    assert "I am a" in run.rows[0].detail


def test_a_judges_verdicts_in_the_journal_stand_apart_from_peoples_votes(tmp_path: Path) -> None:
    path = voted(tmp_path / "v.sqlite", (A, B, "p", "a"))
    journal = Journal(path)
    journal.add_judged(duel(A, B, wins=9, count=12))
    journal.close()
    people, judge = runs_of_journal(path)
    assert [str((run.manifest.judge or {})["name"]) for run in (people, judge)] == ["people", "fake/judge"]
    assert judge.primary.value == 0.75


def test_votes_rate_like_the_judgements_they_stand_beside(tmp_path: Path) -> None:
    runs = runs_of_journal(voted(tmp_path / "v.sqlite", (A, B, "p", "a"), (B, A, "q", "a"), (A, B, "r", "tie")))
    log = battles_from_runs(runs, Style(control=True))
    assert log.outcome == [1.0, 0.0, 0.5]
    assert [len(side) for side in log.counts["length"]] == [3, 3]


def test_the_report_says_who_wins_by_peoples_votes(tmp_path: Path) -> None:
    votes = [(A, B, f"p{n}", "a") for n in range(30)] + [(B, A, f"q{n}", "b") for n in range(10)]
    view = make_view(runs_of_journal(voted(tmp_path / "v.sqlite", *votes)))
    assert [answer.headline for answer in answers(view)] == ["a beats b, say people."]
    assert services(view) == []
    page = build_report(view.runs)
    assert "Votes of people" in page
    assert "a and b head to head before people: 40 pairs" in page


def test_the_command_takes_a_journal_beside_runs(tmp_path: Path) -> None:
    journal = voted(tmp_path / "v.sqlite", (A, B, "p", "a"), (A, B, "q", "b"))
    write_run(instruct_run(SFT, 0.5), tmp_path / "run")
    out = tmp_path / "r.html"
    assert command("report", tmp_path / "run", journal, "-o", out) == 0
    assert "head to head" in out.read_text(encoding="utf-8")


def test_a_file_that_is_no_journal_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    labels = tmp_path / "labels.sqlite"
    write_run(instruct_run(SFT, 0.5), tmp_path / "run")
    Review([replace(instruct_run(SFT, 0.5), path=tmp_path)], ReviewOptions(labels=labels)).close()
    before = labels.read_bytes()
    assert not is_journal(labels)
    with pytest.raises(UsageError, match="neither a run nor a voting journal"):
        runs_of_journal(labels)
    assert labels.read_bytes() == before


def test_a_journal_without_a_vote_is_told(tmp_path: Path) -> None:
    Journal(tmp_path / "v.sqlite").close()
    with pytest.raises(UsageError, match="nobody has voted"):
        runs_of_journal(tmp_path / "v.sqlite")


# Scores ------------------------------------------------------------------------------------------------------


def scored() -> Run:
    """A judge's grades of 30 responses, of which people scored 20 alike but one."""
    run = graded("fake/judge", [1 + n % 5 for n in range(30)])
    return with_shares(run, {f"q{n:02d}": (n % 5) / 4 if n else 0.5 for n in range(20)})


def test_the_report_tells_how_far_a_judge_scores_as_people_do() -> None:
    (found,) = checked(make_view([scored()]))
    assert (found.card.labelled, found.card.judged) == (20, 30)
    assert 0.9 < (found.card.spearman.value or 0) < 1
    page = build_report([scored()])
    assert "Does it score as people do?" in page
    assert "judge ranks as people do: rank correlation 0.9" in page


def test_the_card_is_that_of_the_audit() -> None:
    run = scored()
    (found,) = checked(make_view([run]))
    from evalkit.judge.rubric_files import load_rubric

    assert found.card == score_card([(run, shares_in(run))], load_rubric("anchored-1-5"))


def test_a_run_without_peoples_scores_has_no_such_card() -> None:
    view = make_view([graded("fake/judge", [1, 2, 3])])
    assert checked(view) == []
    assert list(trial_answers(view)) == []


def test_labels_of_the_review_reach_the_report(tmp_path: Path) -> None:
    answered = instruct_run(SFT, 0.5)
    judged = graded("fake/judge", [1 + n % 5 for n in range(30)])
    about = {**(judged.manifest.judge or {}), "run": answered.id}
    rows = tuple(replace(row, id=answered.rows[n].id) for n, row in enumerate(judged.rows))
    judged = replace(judged, manifest=replace(judged.manifest, judge=about), rows=rows)
    answered = write_run(answered, tmp_path / answered.id)
    write_run(judged, tmp_path / "judged")
    review = Review([answered], ReviewOptions(scale="1-5"))
    for place, item in enumerate(review.items):
        review.add(GivenLabel(item.key, "ann", float(1 + place % 5), "", (), "", 1.0), item.key)
    (labels,) = export_labels([answered], review.items, review.labels(), review.scale)
    assert set(people_shares(judged, read_labels(labels))) == {row.id for row in answered.rows}
    out = tmp_path / "r.html"
    assert command("report", tmp_path / "judged", "--labels", labels, "-o", out) == 0
    assert re.search(r"of 30 responses by \S+ that people scored", out.read_text(encoding="utf-8"))


def test_labels_of_other_responses_are_refused(tmp_path: Path) -> None:
    write_run(graded("fake/judge", [1, 2, 3]), tmp_path / "judged")
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"id": "x", "run": "other", "model": "m", "scale": "1-5", "score": 3, "reviewer": "ann"}\n')
    assert command("report", tmp_path / "judged", "--labels", labels, "-o", tmp_path / "r.html") == 2
    assert not (tmp_path / "r.html").exists()


def test_peoples_scores_change_neither_the_judges_prompt_nor_its_score() -> None:
    plain, told = graded("fake/judge", [1, 2, 3]), with_shares(graded("fake/judge", [1, 2, 3]), {"q00": 0.5})
    assert told.rows[0].fields[PEOPLE_FIELD] == 0.5
    assert [(row.prompt, row.scores) for row in told.rows] == [(row.prompt, row.scores) for row in plain.rows]
    assert PEOPLE_FIELD not in plain.rows[0].fields


def test_a_judges_own_prompt_is_not_shown_as_what_the_model_was_asked() -> None:
    judged = make_view([graded("fake/judge", [1, 2, 3])])
    assert judged.tasks[0].shows_judge_prompt
    assert not make_view([instruct_run(SFT, 0.5)]).tasks[0].shows_judge_prompt
