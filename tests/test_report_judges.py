"""Judged Runs in a report: report cards, attacks, juries, duels, ratings, disagreement, grades on their own scale."""

import re
from dataclasses import replace

import pytest
from report_judges import audit_runs, duel, first, good, graded, verdict
from report_runs import BASE, SFT, changed, instruct_run, judged_run, make_run, mmlu_run
from test_report_samples import unpacked

from evalkit.arena.rating import rate
from evalkit.arena.runs import battles_from_runs
from evalkit.judge.audit.measures import report_card
from evalkit.judge.audit.pairs import bundled_pairs
from evalkit.record import Metric, Metrics, Row, Run
from evalkit.report import build_csv, build_markdown, build_report
from evalkit.report.disagreement import disagreements
from evalkit.report.duels import duels, tournaments
from evalkit.report.judging import attacked, juries, services, successes, trials
from evalkit.report.scale import Scale, scale_of
from evalkit.report.text import short_names
from evalkit.report.view import make_view
from evalkit.report.words import answers


@pytest.fixture(scope="module")
def audited() -> list[Run]:
    return audit_runs()


def plain_text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[: page.index('id="index"')])).replace("\xa0", " ")


def test_the_card_of_a_judge_on_trial_is_that_of_the_audit(audited: list[Run]) -> None:
    view = make_view(audited)
    (task,) = view.of_kind("audit")
    (trial,) = trials(task)
    assert trial.card == report_card(bundled_pairs(), view.runs[0].rows)
    assert trial.card.position.first_rate.value == 1.0


def test_the_page_says_that_a_judge_of_positions_is_worse_than_one_that_does_not_read(
    audited: list[Run],
) -> None:
    text = plain_text(build_report(audited))
    assert "judge agrees with people on 0.0 % of pairs" in text
    assert "worse than not reading at all" in text
    assert "Prefers what is shown first 50 % is fair 100.0 %" in text


def test_attacks_stand_with_the_defences_off_and_on_and_the_control_beside(audited: list[Run]) -> None:
    view = make_view(audited)
    (one,) = attacked(view)
    assert one.open is not None
    assert one.fenced is not None
    assert successes(one.open)["control"].success.value == 0.5
    assert "judge, defences off" in build_report(audited)


def test_a_judge_on_trial_is_no_model_of_the_matrix(audited: list[Run]) -> None:
    view = make_view([instruct_run(BASE, 0.4), *audited])
    assert view.models == ("base",)
    assert [task.kind for task in view.tasks] == ["scored", "audit", "attack", "attack"]


def test_a_verdict_that_people_contradict_is_wrong_in_the_sample_browser(audited: list[Run]) -> None:
    index, _ = unpacked(build_report(audited))
    words = index["tasks"][0]["words"][0]
    assert all(text.startswith("✗ orders disagree, people say ") for text in words)
    assert set(index["tasks"][0]["scores"][0]) == {0.0}


def test_a_duel_is_one_sample_for_each_pair_with_both_responses_and_both_orders() -> None:
    index, chunks = unpacked(build_report([duel("hf/a", "hf/b")]))
    assert len(index["tasks"][0]["ids"]) == 12
    assert index["tasks"][0]["words"][0][:10] == ["A wins"] * 9 + ["B wins"]
    sample = chunks["chunk-0-0"]["samples"][0]
    assert sample["c"] == [["A · a", "right"], ["B · b", "wrong"]]
    assert [row["h"] for row in sample["r"][0]] == ["A shown first", "B shown first"]


def test_who_wins_is_said_in_words_with_the_interval() -> None:
    (answer,) = answers(make_view([duel("hf/a", "hf/b", wins=12)]))
    assert answer.headline == "a beats b, says judge."
    assert answer.rest[0].startswith("a wins 100.0\xa0% against b (")
    assert answer.change == "better"


def test_a_lost_duel_is_told_from_the_winners_side() -> None:
    (answer,) = answers(make_view([duel("hf/a", "hf/b", wins=0)]))
    assert answer.headline == "b beats a, says judge."
    assert answer.rest[0].startswith("b wins 100.0\xa0% against a (")


def test_an_even_duel_proves_nothing() -> None:
    (answer,) = answers(make_view([duel("hf/a", "hf/b", wins=6)]))
    assert answer.headline == "Neither a nor b is proven to win, says judge."


def test_three_models_get_the_ratings_of_their_battles_and_a_win_matrix() -> None:
    runs = [
        duel("hf/a", "hf/b", wins=30, count=40),
        duel("hf/b", "hf/c", wins=30, count=40),
        duel("hf/a", "hf/c", wins=35, count=40),
    ]
    (one,) = tournaments(make_view(runs))
    assert one.standings == rate(battles_from_runs(runs))
    assert one.meetings["hf/c", "hf/a"].share == pytest.approx(5 / 40)
    text = plain_text(build_report(runs))
    assert "a is the best of 3 models, says judge." in text
    assert "Bradley–Terry ratings of 240 verdicts" in text
    assert "70 / 0 / 10" in text


def test_a_pairwise_run_is_not_compared_with_a_run_of_other_models() -> None:
    view = make_view([duel("hf/a", "hf/b"), duel("hf/c", "hf/b")])
    assert all(cell.pair is None for task in view.tasks for cell in task.cells)
    assert len(duels(view)) == 2


def test_order_and_length_are_read_from_ordinary_duels() -> None:
    (one,) = services(make_view([duel("hf/a", "hf/b", says=first)]))
    assert one.position is not None
    assert one.position.first_rate.value == 1.0
    assert one.position.consistency.value == 0.0


def test_two_judges_of_one_duel_are_a_jury_and_their_splits_can_be_listed() -> None:
    def other(prompt: str) -> str:
        return verdict("tie") if "Question 3?" in prompt else good(prompt)

    runs = [duel("hf/a", "hf/b", judge="fake/one"), duel("hf/a", "hf/b", judge="fake/two", says=other)]
    view = make_view(runs)
    assert disagreements(view.tasks[0]) == {"q03"}
    (jury,) = juries(view)
    assert [member.judge for member in jury.members] == ["one", "two"]
    assert jury.split == 1
    index, _ = unpacked(build_report(runs))
    assert index["tasks"][0]["split"] == [3]


def test_judges_with_scores_disagree_where_a_quarter_of_the_scale_lies_between() -> None:
    runs = [graded("fake/one", [1, 3, 5, 4]), graded("fake/two", [1, 4, 3, None])]
    view = make_view(runs)
    assert [disagreements(task) for task in view.tasks] == [{"q01", "q02"}] * 2


def test_judges_with_other_scales_are_compared_on_their_own() -> None:
    """Grade 1 of 1 to 5 is as low as 1 of 1 to 10, and 5 as high as 10."""
    runs = [graded("fake/one", [1, 5, 3]), graded("fake/two", [1, 10, 10], rubric="mt-bench-single")]
    assert disagreements(make_view(runs).tasks[0]) == {"q02"}


def test_what_other_judges_said_stands_with_the_response() -> None:
    _, chunks = unpacked(build_report([graded("fake/one", [2, 4]), graded("fake/two", [5, None])]))
    first_, second = (sample["o"] for sample in chunks["chunk-0-0"]["samples"])
    assert first_ == [[["two", "5.00 from 1 to 5", "Fair enough.\nScore: [[5]]"]]]
    assert second[0][0][:2] == ["two", "unparsable"]


def test_a_jury_of_scores_says_who_is_strict_and_what_it_would_say_without() -> None:
    runs = [graded("fake/one", [1, 2, 3, 4]), graded("fake/two", [2, 3, 4, 5])]
    (jury,) = juries(make_view(runs))
    assert jury.result == pytest.approx(3.0)
    assert [member.difference for member in jury.members] == [-1.0, 1.0]
    assert [member.without for member in jury.members] == [3.5, 2.5]


def test_grades_from_1_to_5_are_drawn_from_1_to_5() -> None:
    run = graded("fake/one", [1, 1, 3, 5])
    scale = scale_of([run])
    assert (scale.low, scale.top, scale.middle, scale.share(1.0), scale.share(3.0)) == (1.0, 5.0, 3.0, 0.0, 0.5)
    text = plain_text(build_report([run]))
    assert "score from 1 to 5, judge/anchored-1-5@1" in text
    assert "50.0 % at 1, 25.0 % at 5, 4 scored" in text


def test_mt_bench_grades_begin_at_1_also_where_only_recorded() -> None:
    rows = [Row(f"81/{n}", 0, f"81/{n}", None, "7", {"score": 7.0}) for n in (1, 2)]
    run = make_run(rows, BASE, task="mt_bench", protocol="mt-bench/predictions", primary="score", scale=10.0)
    assert (scale_of([run]).low, scale_of([run]).top) == (1.0, 10.0)


def test_a_share_of_zero_to_one_is_still_shown_in_percent() -> None:
    assert Scale(1.0).with_unit(0.5) == "50.0 %"
    assert Scale(5.0, 1.0).with_unit(3.0) == "3.00"


def correlated(model: str, prediction: str, value: float) -> Run:
    rows = [
        Row(
            f"CoLA/{n}", 0, f"CoLA/{n}", "1", prediction, {"accuracy": float(prediction == "1"), "mcc": 3.7},
            {"task": "CoLA", "text1": "He sleeps."}, extra={"prediction": prediction},
        )
        for n in range(4)
    ]  # fmt: skip
    metrics = Metrics({"mcc": Metric(value, 0.1, value - 0.2, value + 0.2, 4), "accuracy": Metric(1.0, 0, 1, 1, 4)})
    return make_run(rows, model, task="glue", primary="mcc", metrics=metrics, pseudo_values=("mcc",))


def test_a_sample_of_a_correlation_is_right_or_wrong_and_no_strange_number() -> None:
    page = build_report([correlated(BASE, "1", 0.5), correlated(SFT, "0", 0.1)])
    index, chunks = unpacked(page)
    assert index["tasks"][0]["words"] == [["✓ says 1, is 1"] * 4, ["✗ says 0, is 1"] * 4]
    assert index["tasks"][0]["scores"] == [[1.0] * 4, [0.0] * 4]
    assert "mcc" not in chunks["chunk-0-0"]["samples"][0]["r"][0][0]["s"]
    assert "3.7" not in plain_text(page)


def test_predictions_of_a_number_show_it_beside_the_truth() -> None:
    rows = [
        Row("STS-B/0", 0, "STS-B/0", 5.0, "2.5", {"corr": 0.4}, {"text1": "A man."}, extra={"prediction": 2.5}),
        Row("STS-B/1", 0, "STS-B/1", 1.0, "1.0", {"corr": 0.9}, {"text1": "A dog."}, extra={"prediction": 1.0}),
    ]
    metrics = Metrics({"corr": Metric(0.8, 0.1, 0.6, 0.9, 2)})
    run = make_run(rows, BASE, task="glue", primary="corr", metrics=metrics, pseudo_values=("corr",))
    index, _ = unpacked(build_report([run]))
    assert index["tasks"][0]["words"] == [["says 2.5, is 5", "says 1, is 1"]]
    assert index["tasks"][0]["scores"] == [[2.5, 0.0]]
    assert index["tasks"][0]["asks"] == ["A man.", "A dog."]


def test_one_model_is_the_baseline_of_every_task_that_it_ran() -> None:
    runs = [instruct_run(BASE, 0.1), instruct_run(SFT, 0.5), judged_run(SFT, 50), judged_run(BASE, 20)]
    assert [task.baseline.model for task in make_view(runs).tasks] == ["base", "base"]


def test_models_behind_a_server_are_called_by_their_own_name() -> None:
    here, there = "openai/tiny@http://127.0.0.1:8000/v1", "openai/tiny@http://127.0.0.1:9000/v1"
    assert list(short_names([here, "hf/sft"]).values()) == ["tiny", "sft"]
    assert list(short_names([here, there]).values()) == ["tiny@127.0.0.1:8000", "tiny@127.0.0.1:9000"]


def test_canaries_and_retries_stand_in_the_report_card() -> None:
    run = judged_run(BASE, 20)
    metrics = Metrics({**run.manifest.metrics.overall, "canary_caught": Metric(0.5, 0.2, 0.1, 0.9, 6)})
    rows = tuple(changed(row, extra={**row.extra, "retries": 1}) for row in run.rows)
    text = plain_text(build_report([replace(run, rows=rows, manifest=replace(run.manifest, metrics=metrics))]))
    assert "Canaries caught" in text
    assert "160" in text[text.index("What its work shows") : text.index("Canaries are planted")]


def test_a_running_pairwise_run_and_an_audit_without_verdicts_still_make_a_page() -> None:
    run = duel("hf/a", "hf/b")
    empty = replace(run, rows=(), manifest=replace(run.manifest, metrics=Metrics({}), status="running"))
    silent = audit_runs(says=lambda _prompt: "no comment")
    text = plain_text(build_report([empty, *silent]))
    assert "judge reached no verdict that could be compared with people's." in text


def test_markdown_and_csv_know_duels_too() -> None:
    run = duel("hf/a", "hf/b", wins=12)
    assert "| a against b | judge | 100.0\xa0% (" in build_markdown([run])
    assert "win_rate,1.0" in build_csv([run])


def test_leaks_into_benchmarks_and_what_was_looked_for_in_vain_are_told() -> None:
    training = {
        "leaks": {"mmlu_mini in train": {"exact": 3, "near": 0}, "squad in train": {"exact": 0, "near": 0}},
        "leaks_checked": {"mmlu_mini": 228, "squad": 10_570},
    }
    run = replace(mmlu_run(SFT, 0.4), manifest=replace(mmlu_run(SFT, 0.4).manifest, training=training))
    text = plain_text(build_report([run]))
    assert "The training data of sft holds questions of mmlu_mini: 3 word for word." in text
    assert "none of the 10,570 questions of squad stands in its training data" in text


def test_scores_on_questions_seen_in_training_stand_apart() -> None:
    run = mmlu_run(BASE, 0.4)
    parts = {"seen in training": {"acc": Metric(1.0, 0, 1, 1, 4)}, "clean": {"acc": Metric(0.25, 0, 0, 1, 8)}}
    groups = {**run.manifest.metrics.groups, "contamination": parts}
    metrics = Metrics(run.manifest.metrics.overall, groups)
    text = plain_text(build_report([replace(run, manifest=replace(run.manifest, metrics=metrics))]))
    assert "seen in training 100.0 % (n = 4) and clean 25.0 % (n = 8)" in text


def test_hostile_names_of_models_and_judges_add_no_element() -> None:
    bad = "<img src=x onerror=alert(1)>"
    runs = [duel(f"hf/{bad}", "hf/b", judge=f"fake/{bad}"), *audit_runs(judge=f"fake/{bad}")]
    page = build_report(runs)
    assert "<img" not in page
    assert "&lt;img" in page


def test_graded_preferences_of_one_order_are_shown_as_shares() -> None:
    run = duel("hf/a", "hf/b", wins=12)
    rows = [
        replace(row, scores={"win_rate": 0.83, "preference": 1.83}, extra={})
        for row in run.rows
        if row.fields["order"] == "ab"
    ]
    metrics = Metrics({"win_rate": Metric(0.83, 0.05, 0.7, 0.95, 12)})
    graded_run = replace(run, rows=tuple(rows), manifest=replace(run.manifest, metrics=metrics, samples=12))
    page = build_report([graded_run])
    index, _ = unpacked(page)
    assert index["tasks"][0]["words"] == [["A wins 83 %"] * 12]
    assert "shares of verdicts" in plain_text(page)


def test_a_judge_without_any_verdict_sits_on_no_jury() -> None:
    runs = [graded("fake/one", [1, 2, 3]), graded("fake/two", [None, None, None])]
    assert juries(make_view(runs)) == []
    assert "A jury on" not in build_report(runs)


def test_the_page_names_one_calibration_error_only() -> None:
    run = mmlu_run(BASE, 0.4)
    own = run.manifest.metrics.overall["ece"].value
    assert own is not None
    assert f"expected calibration error {100 * own:.1f} points" in plain_text(build_report([run]))


def test_what_is_asked_on_this_machine_or_only_recorded_costs_nothing() -> None:
    local = make_run(instruct_run(BASE, 0.5).rows, "openai/tiny@http://127.0.0.1:8000/v1")
    assert "Cost none, no paid service was asked" in plain_text(build_report([local]))
    paid = make_run(instruct_run(BASE, 0.5).rows, "openai/gpt-4o-mini")
    assert "Cost not recorded" in plain_text(build_report([paid]))
