"""Which Runs are compared with which, what is called proven, and how the answer is put into words."""

from dataclasses import replace

import pytest
from report_runs import BASE, SFT, SFT2, TRAINING, demo_runs, instruct_run, judged_run, make_run, mmlu_run

from evalkit.errors import UsageError
from evalkit.record import Metric, Metrics, Row
from evalkit.report import build_report
from evalkit.report.page import default_title
from evalkit.report.sections.summary import subject, summary
from evalkit.report.sections.training import read_curve
from evalkit.report.view import make_view
from evalkit.report.words import answers


def words_of(*runs: object, **options: object) -> str:
    return " ".join(str(answer) for answer in answers(make_view(list(runs), **options)))  # type: ignore[arg-type]


def test_runs_are_sorted_into_tasks_with_the_first_model_as_baseline() -> None:
    view = make_view(demo_runs())
    assert [task.name for task in view.tasks] == ["instruct", "instruct · reference score", "mmlu_mini"]
    assert [[cell.model for cell in task.cells] for task in view.tasks] == [["base", "sft", "sft-2"]] * 3


def test_another_baseline_is_used_when_named_in_full_or_in_short() -> None:
    for name in (SFT, "sft"):
        view = make_view(demo_runs(), baseline=name)
        assert {task.baseline.model for task in view.tasks} == {"sft"}
        assert view.models[0] == "sft"


def test_an_unknown_baseline_is_one_sentence_with_the_known_models() -> None:
    with pytest.raises(
        UsageError, match=r"no run of a model 'nobody' .* hf/\./checkpoints/base, hf/\./checkpoints/sft"
    ):
        make_view(demo_runs(), baseline="nobody")


def test_no_run_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        make_view([])


def test_a_proven_gain_a_proven_loss_and_an_open_question_are_told_apart() -> None:
    view = make_view(
        [instruct_run(BASE, 0.5, seed=1), instruct_run(SFT, 0.9, seed=2), instruct_run(SFT2, 0.05, seed=3)]
    )
    assert [cell.pair and cell.pair.change for cell in view.tasks[0].cells] == [None, "better", "worse"]


def test_a_large_sample_without_a_difference_is_unchanged_and_a_small_one_unclear() -> None:
    large = [mmlu_run(model, 0.5, seed=1, per_subject=60) for model in (BASE, SFT)]
    small = [mmlu_run(BASE, 0.5, seed=1, per_subject=1), mmlu_run(SFT, 0.5, seed=2, per_subject=1)]
    assert make_view(large).tasks[0].cells[1].pair.change == "unchanged"  # type: ignore[union-attr]
    assert make_view(small).tasks[0].cells[1].pair.change == "unclear"  # type: ignore[union-attr]


def test_p_values_are_corrected_over_all_comparisons_of_the_report() -> None:
    """17 better and 6 worse of 40: p is .023 alone, and no longer below .05 among several comparisons."""
    base, sft = _flipping(BASE, better=0, worse=0), _flipping(SFT, better=17, worse=6)
    alone = make_view([base, sft])
    others = [replace(_flipping(f"hf/{n}", 5, 5)) for n in range(6)]
    among = make_view([base, sft, *others])
    assert alone.tasks[0].cells[1].pair.change == "better"  # type: ignore[union-attr]
    assert among.tasks[0].cells[1].pair.change == "unclear"  # type: ignore[union-attr]


def _flipping(model: str, better: int, worse: int) -> object:
    """A Run of 40 samples; against the Run with 0 and 0 it gains `better` samples and loses `worse`."""
    rows = []
    for number in range(40):
        right = number >= 20
        changed = number < better or 20 <= number < 20 + worse
        rows.append(Row(str(number), 0, "q", "a", "a", {"exact_match": float(right != changed)}))
    return make_run(rows, model)


def test_runs_on_other_data_are_not_compared_and_the_page_says_so() -> None:
    other = instruct_run(SFT, 0.9)
    other = replace(other, manifest=replace(other.manifest, data_hash="0" * 64))
    view = make_view([instruct_run(BASE, 0.1), other])
    assert len(view.tasks) == 2
    assert all(cell.pair is None for task in view.tasks for cell in task.cells)
    assert "not compared across those" in " ".join(view.notes)


def test_runs_with_other_settings_are_shown_but_not_compared() -> None:
    other = instruct_run(SFT, 0.9)
    other = replace(other, manifest=replace(other.manifest, settings={"max_tokens": 8, "style": "alpaca"}))
    view = make_view([instruct_run(BASE, 0.1), other])
    assert view.tasks[0].cells[1].pair is None
    assert "max_tokens" in view.notes[0]


def test_two_judges_of_the_same_responses_make_two_tasks() -> None:
    llama = {"name": "ollama/llama3", "fingerprint": "1" * 64, "rubric": "score"}
    view = make_view([judged_run(BASE, 20), judged_run(BASE, 20, judge=llama), instruct_run(BASE, 0.2)])
    assert [task.name for task in view.tasks][:2] == [
        "instruct · reference score",
        "instruct · judged by llama3",
    ]


def test_a_judged_run_shows_the_prompt_that_the_model_itself_was_asked() -> None:
    view = make_view([instruct_run(BASE, 0.2), judged_run(BASE, 20)])
    assert "### Instruction:" in str(view.tasks[1].baseline.prompt("capital-000"))


def test_models_of_one_name_but_other_weights_get_different_names() -> None:
    again = instruct_run(BASE, 0.9)
    again = replace(again, manifest=replace(again.manifest, model_fingerprint="abcdef" + "0" * 58))
    assert len(set(make_view([instruct_run(BASE, 0.1), again]).models)) == 2


def test_a_damaged_or_unfinished_run_is_named_in_the_notes() -> None:
    run = instruct_run(BASE, 0.1)
    broken = replace(run, damage=("line 3 is torn",), manifest=replace(run.manifest, status="interrupted", samples=400))
    notes = " ".join(make_view([broken]).notes)
    assert "160 of 400 rows" in notes
    assert "line 3 is torn" in notes


def test_the_answer_names_what_is_better_and_what_is_too_small_to_tell() -> None:
    text = words_of(*[run for run in demo_runs() if run.manifest.model != SFT2])
    assert text.startswith("sft beats base on 2 of 3 tasks. Better: instruct +43.8 points (+34.7 to +51.7)")
    assert "Too few samples to tell: mmlu_mini" in text
    assert "samples to see 3.0 points" in text


def test_the_answer_names_a_loss_first() -> None:
    text = words_of(instruct_run(BASE, 0.9, seed=1), instruct_run(SFT, 0.1, seed=2))
    assert text.startswith("sft is worse than base on instruct. Worse: instruct −")


def test_one_model_alone_is_described_and_not_compared() -> None:
    text = words_of(mmlu_run(BASE, 0.4))
    assert text.startswith("base scores ")
    assert text.endswith("There is no second model to compare with.")


def test_models_without_a_common_task_are_said_to_have_none() -> None:
    assert "no task in common" in words_of(instruct_run(BASE, 0.4), mmlu_run(SFT, 0.4))


def test_a_score_where_less_is_better_turns_the_verdict_round() -> None:
    def run(model: str, shift: float) -> object:
        rows = [Row(str(n), 0, "q", None, "", {"perplexity": 10 + n % 7 + shift}) for n in range(60)]
        return make_run(rows, model, task="text", primary="perplexity", protocol="text/perplexity")

    view = make_view([run(BASE, 5.0), run(SFT, 0.1 / 3)])  # type: ignore[list-item]
    assert view.tasks[0].cells[1].pair.change == "better"  # type: ignore[union-attr]


def test_the_page_says_that_no_language_model_judged() -> None:
    page = build_report([judged_run(BASE, 40), judged_run(SFT, 50, seed=2)])
    assert "No language model judged these responses" in page
    llama = {"name": "ollama/llama3", "fingerprint": "1" * 64, "rubric": "score"}
    assert "No language model judged" not in build_report([judged_run(BASE, 40, judge=llama)])


def test_unscored_rows_are_counted_by_reason_with_an_example() -> None:
    page = build_report([judged_run(BASE, 40)])
    assert "no score could be read from the reply" in page
    assert "the reply holds no number" in page


def test_the_point_where_overfitting_sets_in_is_found() -> None:
    curve = read_curve(TRAINING)
    assert curve.best is not None
    assert curve.best[0] == 160
    assert curve.overfits
    assert "Overfitting from step 160 on" in build_report([instruct_run(SFT, 0.5, training=TRAINING)])


def test_a_training_record_without_losses_or_with_odd_ones_is_tolerated() -> None:
    for record in ({}, {"metrics": None}, {"metrics": [3, {"step": 1}, {"step": 2, "train_loss": float("nan")}]}):
        assert read_curve(record).best is None


def test_leaks_between_training_and_test_data_are_shown() -> None:
    page = build_report([instruct_run(SFT, 0.5, training=TRAINING)])
    assert "The training data of sft holds test questions: 4 nearly word for word." in page
    assert "The child watched the sailor." in page


def test_tokens_forwarded_stand_beside_the_fewest_possible() -> None:
    assert "1.05 ×" in build_report([mmlu_run(BASE, 0.3)])


def test_the_interval_of_a_bounded_score_is_shown_within_its_bounds() -> None:
    scale = make_view([judged_run(BASE, 90)]).tasks[0].scale
    assert scale.interval(Metric(97.0, 3.0, 91.2, 102.8, 18)) == "91.2 to 100.0"


def test_a_metric_without_a_value_is_a_dash_and_no_zero() -> None:
    run = mmlu_run(BASE, 0.3)
    nothing = Metrics({"acc": Metric(None, None, None, None, 0, unscored=228)})
    page = build_report([replace(run, rows=(), manifest=replace(run.manifest, metrics=nothing))])
    assert '<span class="value">–</span>' in page


# Who was compared on what


def test_a_title_names_only_what_is_compared() -> None:
    demo = make_view([instruct_run(BASE, 0.1), instruct_run(SFT, 0.5, seed=2)])
    assert default_title(demo) == "sft against base"
    apart = make_view([instruct_run(BASE, 0.1), mmlu_run(SFT, 0.3)])
    assert default_title(apart) == "base and sft on instruct and mmlu_mini"
    assert "against" not in subject(apart)


def test_the_first_line_says_where_a_model_did_not_run_every_task() -> None:
    runs = [instruct_run(BASE, 0.1), instruct_run(SFT, 0.5, seed=2), mmlu_run(SFT, 0.3)]
    assert subject(make_view(runs)) == (
        "sft against the baseline base on instruct and mmlu_mini: 160 to 388 samples a model; not every one ran every "
        "task."
    )
    assert subject(make_view(runs[:2])).endswith("on instruct: 160 samples for each model.")


def test_many_models_are_counted_and_not_listed() -> None:
    view = make_view([instruct_run(f"hf/m{n}", 0.1 * n, seed=n) for n in range(8)])
    assert default_title(view) == "7 models against m0"
    assert subject(view).startswith("7 models against the baseline m0 on instruct")


def test_the_matrix_of_many_models_on_few_tasks_has_a_row_for_each_model() -> None:
    few = summary(make_view([instruct_run(f"hf/m{n}", 0.1 * n, seed=n) for n in range(3)]), "t")
    many = summary(make_view([instruct_run(f"hf/m{n}", 0.1 * n, seed=n) for n in range(8)]), "t")
    assert (few.count('scope="row"'), many.count('scope="row"')) == (1, 8)


def test_a_task_that_a_model_did_not_run_is_marked_so_that_a_narrow_page_can_leave_it_out() -> None:
    view = make_view([instruct_run(BASE, 0.1), instruct_run(SFT, 0.5, seed=2), mmlu_run(SFT, 0.3)])
    assert summary(view, "t").count('class="number absent"') == 1


def test_a_long_task_name_is_cut_in_the_middle_so_that_it_still_tells_tasks_apart() -> None:
    long = "task_" * 40
    runs = [
        replace(instruct_run(BASE, 0.1), manifest=replace(instruct_run(BASE, 0.1).manifest, task=long + end))
        for end in "ab"
    ]
    (one,) = make_view(runs[:1]).tasks
    assert len(one.name) <= 72
    both = [replace(run, manifest=replace(run.manifest, data_hash=run.manifest.task)) for run in runs]
    names = [task.name for task in make_view(both).tasks]
    assert [(len(name), name[-2:]) for name in names] == [(72, "_a"), (72, "_b")]
