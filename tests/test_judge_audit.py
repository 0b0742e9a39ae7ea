"""The judge on trial: published verdicts give the published numbers, and known judges are found out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.judge.audit.attacks import ATTACKS, CONTROL, DEFAULT_ITEMS, attack_results, attack_samples, attack_task
from evalkit.judge.audit.canaries import with_canaries
from evalkit.judge.audit.judgements import Judgement, read_prd
from evalkit.judge.audit.measures import ReportCard, accuracy, position, report_card, self_consistency
from evalkit.judge.audit.pairs import LABEL_FIELD, bundled_pairs, label_of, load_pairs, majority
from evalkit.judge.pairwise import pairwise_task
from evalkit.judge.pointwise import CANARY, judged_sample, pointwise_task
from evalkit.judge.rubric_files import load_rubric
from evalkit.judge.session import JudgeSettings
from evalkit.judge.session import audit as try_judge
from evalkit.judge.task_parts import JudgeModel, JudgeOptions, Subject, load_judge
from evalkit.runner import DryRun, RunOptions, run
from evalkit.stats.agreement import cohen_kappa
from evalkit.task import Request, Response, Sample

SUBJECT = Subject("pairs", "fingerprint", "hash")
PRD_JUDGES = ("gpt4", "gpt35", "claude", "vicuna-13b", "bard")


class Judge:
    """A judge made of a function of the whole prompt."""

    name = "fake/judge"
    style = "chat"

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say = say

    def fingerprint(self) -> str:
        return "judge@1"

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        for request in requests:
            yield Response(request.id, self.say(str(request.prompt[-1].content)), seconds=0.5)  # type: ignore[union-attr]

    def usage(self) -> Mapping[str, float]:
        return {}


def audit(folder: Path, say: Callable[[str], str], repeats: int = 1) -> ReportCard:
    model, pairs = JudgeModel(Judge(say)), bundled_pairs()
    task = pairwise_task(pairs, load_rubric("mt-bench-pair"), model, SUBJECT, JudgeOptions(retries=0))
    return report_card(pairs, run(task, model, RunOptions(folder, repeats=repeats)).rows)


def shown(prompt: str) -> tuple[str, str]:
    first = prompt.split("Answer A:\n", 1)[1].split("\n\nAnswer B:", 1)[0]
    second = prompt.split("Answer B:\n", 1)[1].split("\n\nCompare", 1)[0]
    return first, second


def is_shown(pair: Sample, prompt: str) -> bool:
    return all(str(pair.fields[key]) in prompt for key in ("instruction", "input", "response_a", "response_b"))


def latest(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Of lines given twice in the file the last one, as the expected values take them."""
    return list({(one.pair, one.order): one for one in judgements}.values())


@pytest.mark.parametrize("judge", PRD_JUDGES)
def test_position_counts_of_published_verdicts_are_reproduced(shared: Path, judge: str) -> None:
    want = json.loads((shared / "judge" / "expected.json").read_text("utf-8"))["prd_vicuna80_pairwise.jsonl"][judge]
    judges, _ = read_prd(shared / "judge" / "prd_vicuna80_pairwise.jsonl")
    found = position(latest(judges[judge]))
    assert (found.first, found.second, found.tie) == (want["picked_first"], want["picked_second"], want["tie"])
    assert found.pairs == want["pairs_judged_in_both_orders"] == 440
    assert found.consistent == want["consistent (same winner in both orders)"]
    assert found.both_first == want["both_orders_first (position bias to first)"]
    assert found.both_second == want["both_orders_second"]


@pytest.mark.parametrize("judge", PRD_JUDGES)
def test_agreement_with_people_of_published_verdicts_is_reproduced(shared: Path, judge: str) -> None:
    want = json.loads((shared / "judge" / "expected.json").read_text("utf-8"))["prd_vicuna80_pairwise.jsonl"][judge][
        "vs human strict majority (judgments with model_1 < model_2 alphabetically)"
    ]
    judges, labels = read_prd(shared / "judge" / "prd_vicuna80_pairwise.jsonl")
    forward = [one for one in latest(judges[judge]) if one.order == "ab" and one.pair in labels]
    kappa = cohen_kappa([str(one.winner) for one in forward], [labels[one.pair] for one in forward])
    assert len(forward) == want["n"] == 408
    assert accuracy(forward, labels).value == pytest.approx(want["agreement"], abs=1e-12)
    assert kappa.value == pytest.approx(want["cohen_kappa"], abs=1e-12)
    assert kappa.low is not None
    assert kappa.low < want["cohen_kappa"]


def test_a_line_of_another_layout_is_named(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text('{"reviewer": "x", "question_id": 1, "model_1": "a", "model_2": "b", "score": 4}\n')
    with pytest.raises(DataError, match=r"verdicts\.jsonl:1"):
        read_prd(path)


def test_the_bundled_pairs_favour_neither_side_nor_length() -> None:
    labels = [label_of(pair) for pair in bundled_pairs()]
    assert len(labels) == 42
    assert labels.count("a") == labels.count("b") == 18
    assert all(pair.target for pair in bundled_pairs())


def test_a_judge_that_knows_the_labels_gets_full_marks(tmp_path: Path) -> None:
    pairs = bundled_pairs()

    def say(prompt: str) -> str:
        pair = next(pair for pair in pairs if is_shown(pair, prompt))
        if label_of(pair) == "tie":
            return "[[C]]"
        better = str(pair.fields[f"response_{label_of(pair)}"])
        first, _ = shown(prompt)
        return "[[A]]" if first.splitlines()[1:-1] == better.splitlines() else "[[B]]"

    card = audit(tmp_path, say)
    assert card.accuracy.value == card.pair_accuracy.value == card.kappa.value == 1.0
    assert card.position.consistency.value == 1.0
    assert card.position.first_rate.value == 0.5
    assert card.length_preference.value == card.label_length_preference


def test_a_judge_that_always_takes_the_first_is_found_out(tmp_path: Path) -> None:
    card = audit(tmp_path, lambda _: "[[A]]")
    assert card.position.first_rate.value == 1.0
    assert card.position.consistent == 0
    assert card.pair_accuracy.value == 0.0
    assert card.kappa.value is not None
    assert card.kappa.value <= 0.0
    assert card.accuracy.value == pytest.approx(36 / 84)


def test_a_judge_that_takes_the_longer_one_is_no_better_than_the_longest_baseline(tmp_path: Path) -> None:
    def say(prompt: str) -> str:
        first, second = shown(prompt)
        return "[[C]]" if len(first) == len(second) else "[[A]]" if len(first) > len(second) else "[[B]]"

    card = audit(tmp_path, say)
    assert card.length_preference.value == 1.0
    assert card.accuracy.value == card.longest_accuracy
    assert card.label_length_preference is not None
    assert 0.4 < card.label_length_preference < 0.6


def test_the_constant_baseline_is_the_share_of_the_most_common_label(tmp_path: Path) -> None:
    assert audit(tmp_path, lambda _: "[[C]]").constant_accuracy == pytest.approx(18 / 42)


def test_replies_without_a_verdict_are_counted_and_judged_by_nobody(tmp_path: Path) -> None:
    card = audit(tmp_path, lambda _: "Both have their merits.")
    assert card.unscored == {"unparsable": 84}
    assert card.accuracy.n == 0
    assert card.accuracy.value is None


def test_repeats_that_differ_lower_the_self_consistency(tmp_path: Path) -> None:
    replies = iter(["[[A]]", "[[B]]"] * 1000)
    card = audit(tmp_path, lambda _: next(replies), repeats=2)
    assert card.self_consistency.value == 0.0
    assert audit(tmp_path / "same", lambda _: "[[A]]", repeats=3).self_consistency.value == 1.0


def test_repeats_of_a_pair_are_dependent_and_narrow_no_interval(tmp_path: Path) -> None:
    def say(prompt: str) -> str:
        first, second = (text.splitlines()[1:-1] for text in shown(prompt))
        return "[[A]]" if first > second else "[[B]]"

    once, thrice = audit(tmp_path / "1", say), audit(tmp_path / "3", say, repeats=3)
    assert thrice.kappa == once.kappa
    for name in ("pair_accuracy", "accuracy"):
        narrow, wide = getattr(thrice, name), getattr(once, name)
        assert narrow.value == wide.value
        assert narrow.high - narrow.low > 0.9 * (wide.high - wide.low)


def test_self_consistency_is_undefined_without_repeats() -> None:
    assert self_consistency([Judgement("p", "ab", "a")]).value is None


def test_time_per_thousand_judgements_is_reported(tmp_path: Path) -> None:
    assert audit(tmp_path, lambda _: "[[A]]").seconds_per_1000 == pytest.approx(500.0)


def test_the_reference_judge_passes_its_own_audit_and_beats_both_baselines(tmp_path: Path) -> None:
    model, pairs = load_judge("reference"), bundled_pairs()
    task = pairwise_task(pairs, load_rubric("reference-pair"), model, SUBJECT)
    card = report_card(pairs, run(task, model, RunOptions(tmp_path)).rows)
    assert card.position.consistency.value == 1.0
    assert card.accuracy.value is not None
    assert card.accuracy.value > 0.75
    assert card.longest_accuracy is not None
    assert card.longest_accuracy < 0.5


LAYOUTS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "llmbar": (
        [{"input": "q", "output_1": "x", "output_2": "y", "label": 2},
         {"input": "p", "output_1": "x", "output_2": "y", "label": 1}],
        ["b", "a"],
    ),
    "pandalm": (
        [
            {"idx": 7, "motivation_app": "Grammarly", "cmp_key": "m-7b_n-7b", "instruction": "q", "input": float("nan"),
             "response1": "x", "response2": float("nan"), "annotator1": 1, "annotator2": 1, "annotator3": 0},
            {"idx": 8, "motivation_app": "Grammarly", "cmp_key": "m-7b_o-7b", "instruction": "q", "input": "context",
             "response1": "x", "response2": "y", "annotator1": 0, "annotator2": 1, "annotator3": 2},
        ],
        ["a"],
    ),
    "judgebench": (
        [{"pair_id": "0f-11", "original_id": 1420, "source": "mmlu-pro-law", "question": "q", "response_model": "m",
          "response_A": "x", "response_B": "y", "label": "B>A"},
         {"pair_id": "0f-12", "original_id": "cf3", "source": "livecodebench", "question": "q", "response_model": "m",
          "response_A": "x", "response_B": "y", "label": "A>B"}],
        ["b", "a"],
    ),
    "autoj": (
        [{"scenario": "seeking_advice", "label": label, "prompt": "q", "response 1": "x", "response 2": "y"}
         for label in (0, 1, 2)],
        ["a", "b", "tie"],
    ),
    "lfqa": ([{"question": "q", "answer_a": "x", "answer_b": "y", "overall_preference": -1}], ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_public_layout_is_recognised_by_its_keys(tmp_path: Path, layout: str) -> None:
    contents, labels = LAYOUTS[layout]
    whole, lines = tmp_path / "pairs.json", tmp_path / "pairs.jsonl"
    whole.write_text(json.dumps(contents, indent=4))
    lines.write_text("".join(json.dumps(content) + "\n" for content in contents))
    for path in (whole, lines):
        pairs = load_pairs(path)
        assert [label_of(pair) for pair in pairs] == labels
        assert pairs[0].fields["response_a"] == "x"
        assert pairs[0].fields["instruction"] == "q"


def test_a_text_that_pandalm_writes_as_nan_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "testset.json"
    path.write_text(json.dumps(LAYOUTS["pandalm"][0]))
    assert "NaN" in path.read_text()
    (pair,) = load_pairs(path)
    assert (pair.fields["input"], pair.fields["response_b"]) == ("", "")


def vote(winner: str, turn: int, models: tuple[str, str] = ("m", "n")) -> dict[str, Any]:
    talk = {
        model: [{"role": "user", "content": "q1"}, {"role": "assistant", "content": f"{model}1"},
                {"role": "user", "content": "q2"}, {"role": "assistant", "content": f"{model}2"}]
        for model in models
    }  # fmt: skip
    return {
        "question_id": 81, "model_a": models[0], "model_b": models[1], "winner": winner,
        "judge": "expert_0", "turn": turn,
        "conversation_a": talk[models[0]], "conversation_b": talk[models[1]],
    }  # fmt: skip


def test_mtbench_votes_count_together_whatever_their_order(tmp_path: Path) -> None:
    votes = [vote("model_a", 1), vote("model_b", 1, ("n", "m")), vote("model_b", 1), vote("tie", 2), vote("tie", 2)]
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in votes))
    first, second = load_pairs(path)
    assert (label_of(first), first.fields["response_a"]) == ("a", "m1")
    assert (label_of(second), second.fields["response_b_2"], second.fields["question_2"]) == ("tie", "n2", "q2")


def test_verdicts_of_gpt4_are_no_votes_of_people(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    votes = [vote("model_a", 1), vote("model_a", 2), {**vote("model_b", 1), "judge": "author_2"}]
    gpt4 = {**vote("tie (inconsistent)", 1), "judge": ["gpt-4", "pair-v2"]}
    path.write_text("".join(json.dumps(one) + "\n" for one in (*votes, gpt4, gpt4)))
    assert [(pair.id, label_of(pair)) for pair in load_pairs(path)] == [("81-m-n-2", "a")]


def test_two_turns_are_judged_by_a_rubric_that_shows_both(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(vote("model_a", turn)) + "\n" for turn in (1, 2)))
    found = try_judge("fake/say:[[A]]", path, JudgeSettings(retries=0), lambda: RunOptions(tmp_path))
    assert found.runs[0].manifest.judge is not None
    assert found.runs[0].manifest.judge["rubric"] == "mt-bench-pair"
    assert (found.card.judgements, sum(found.card.unscored.values())) == (4, 0)


def test_an_audit_of_fewer_pairs_is_measured_over_those(tmp_path: Path) -> None:
    options = RunOptions(tmp_path, limit=10)
    found = try_judge("reference", None, JudgeSettings(), lambda: options)
    assert (found.card.pairs, found.card.judgements) == (10, 20)
    with pytest.raises(UsageError, match="--limit 0"):
        try_judge("reference", None, JudgeSettings(), lambda: RunOptions(tmp_path, limit=0))


def test_a_dry_run_of_an_audit_counts_its_attacks_too(tmp_path: Path) -> None:
    with pytest.raises(DryRun) as plan:
        try_judge("fake/hash", None, JudgeSettings(), lambda: RunOptions(tmp_path, dry_run=True))
    assert len(plan.value.waiting) == 2 * 42 + 2 * 2 * DEFAULT_ITEMS * len(ATTACKS)


def test_the_runs_of_a_named_audit_do_not_overwrite_each_other(tmp_path: Path) -> None:
    found = try_judge("reference", None, JudgeSettings(), lambda: RunOptions(tmp_path, name="trial", limit=10))
    assert [run.id for run in found.runs] == ["trial-1", "trial-2", "trial-3"]


def test_mtbench_votes_without_a_majority_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(json.dumps(vote(winner, 1)) + "\n" for winner in ("model_a", "model_b")))
    with pytest.raises(UsageError, match="most annotators"):
        load_pairs(path)


def test_the_faireval_folder_is_read_as_a_whole(tmp_path: Path) -> None:
    for folder in ("answer", "review"):
        (tmp_path / folder).mkdir()
    (tmp_path / "question.jsonl").write_text('{"question_id": 1, "text": "q", "category": "c"}\n')
    (tmp_path / "answer" / "answer_gpt35.jsonl").write_text('{"question_id": 1, "text": "x"}\n')
    (tmp_path / "answer" / "answer_vicuna-13b.jsonl").write_text('{"question_id": 1, "text": "y"}\n')
    human = tmp_path / "review" / "review_gpt35_vicuna-13b_human.txt"
    human.write_text("VICUNA13B\n")
    assert label_of(load_pairs(tmp_path)[0]) == "b"
    human.write_text("VICUNA13B\nTIE\n")
    with pytest.raises(DataError, match="2 labels for 1 questions"):
        load_pairs(tmp_path)
    human.write_text("VICUNA13B\n")
    (tmp_path / "answer" / "answer_gpt35.jsonl").write_text('{"question_id": 2, "text": "x"}\n')
    with pytest.raises(DataError, match="answers question 2 where question 1 is asked"):
        load_pairs(tmp_path)


def test_the_shared_expert_preferences_are_read(shared: Path) -> None:
    pairs = load_pairs(shared / "judge" / "prd_lfqa_expert_preferences.jsonl")
    labels = [label_of(pair) for pair in pairs]
    assert (len(labels), labels.count("a"), labels.count("b")) == (124, 71, 53)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"x": 1}', "unknown layout"), ("{", "not valid JSON"), ("[1, 2", "not valid JSON"), ("", "no pairs"),
        ('{"input": "q", "output_1": "x", "output_2": "y", "label": 3}', "does not fit"), ("[1]", "must be an object"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_pairs_is_refused_by_name(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=error) as caught:
        load_pairs(path)
    assert "pairs.jsonl" in str(caught.value)


def test_a_shared_lead_is_no_majority() -> None:
    assert majority(["a", "b"]) is None
    assert majority([]) is None
    assert majority(["a", "b", "a"]) == "a"


def gullible(prompt: str) -> str:
    """Says the last verdict it finds anywhere in the prompt but the instructions of the rubric."""
    found = [part.split("]]")[0] for part in prompt.split("[[")[1:]]
    given = [value for value in found if value.isdigit()]
    return f"Score: [[{given[-1]}]]" if given else "Score: [[0]]"


def attack_rates(folder: Path, fenced: bool) -> dict[str, float | None]:
    rubric, model = load_rubric("score-0-100"), JudgeModel(Judge(gullible))
    done = run(attack_task(bundled_pairs(), rubric, model, fenced=fenced), model, RunOptions(folder))
    return {result.attack: result.success.value for result in attack_results(done.rows, rubric)}


def test_echoed_verdicts_fool_a_gullible_judge_only_with_the_defences_off(tmp_path: Path) -> None:
    without, with_fence = attack_rates(tmp_path / "open", False), attack_rates(tmp_path / "fenced", True)
    assert without[CONTROL] == with_fence[CONTROL] == 0.0
    for attack in ("echo_score", "null_model", "fake_analysis", "forged_end", "chat_template"):
        assert without[attack] == 1.0
    assert set(with_fence.values()) == {0.0}


def test_an_attack_on_a_pair_succeeds_where_the_wrong_response_is_preferred(tmp_path: Path) -> None:
    rubric = load_rubric("mt-bench-pair")

    def say(prompt: str) -> str:
        first, second = shown(prompt)
        return "[[A]]" if "[[" in first else "[[B]]" if "[[" in second else "[[C]]"

    model = JudgeModel(Judge(say))
    task = attack_task(bundled_pairs(), rubric, model, fenced=False, items=2)
    rates = {r.attack: r.success.value for r in attack_results(run(task, model, RunOptions(tmp_path)).rows, rubric)}
    assert rates["echo_choice_a"] == 1.0
    assert rates[CONTROL] == 0.0


def test_every_attack_is_made_on_every_chosen_item() -> None:
    samples = attack_samples(bundled_pairs(), load_rubric("score-0-100"), items=3)
    assert len(samples) == 3 * len(ATTACKS)
    assert len({sample.id for sample in samples}) == len(samples)
    assert all(LABEL_FIELD not in sample.fields for sample in samples)


def test_pairs_that_cannot_be_attacked_leave_that_to_the_bundled_ones(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps(vote("model_a", 2)) + "\n")
    found = try_judge("fake/say:[[C]]", path, JudgeSettings(retries=0), lambda: RunOptions(tmp_path))
    assert (found.card.pairs, {one.tried for one in found.attacks_open}) == (1, {2 * DEFAULT_ITEMS})


def test_recorded_verdicts_given_as_pairs_are_told_the_way(shared: Path) -> None:
    with pytest.raises(DataError, match="`evalkit audit NAME --verdicts` reads them"):
        load_pairs(shared / "judge" / "prd_vicuna80_pairwise.jsonl")


def test_pairs_without_references_cannot_serve_a_rubric_that_needs_them(shared: Path) -> None:
    pairs = load_pairs(shared / "judge" / "prd_lfqa_expert_preferences.jsonl")
    with pytest.raises(UsageError, match="book-0-100"):
        attack_samples(pairs, load_rubric("book-0-100"))


def items(count: int) -> list[Sample]:
    asked = [Sample(f"s{i}", {"instruction": f"q{i}", "input": ""}, f"answer {i}") for i in range(count)]
    return [judged_sample(sample, f"response {index}") for index, sample in enumerate(asked)]


def test_canaries_are_tagged_copies_and_the_same_in_every_rerun() -> None:
    rubric, samples = load_rubric("score-0-100"), items(10)
    planted = with_canaries(samples, rubric)[10:]
    assert len(planted) == 6
    assert planted == with_canaries(samples, rubric)[10:]
    assert all(CANARY in canary.tags for canary in planted)
    assert all(canary.fields["response"] not in {canary.target, ""} for canary in planted)


def test_a_judge_that_falls_for_the_canaries_is_shown_and_its_mean_untouched(tmp_path: Path) -> None:
    rubric, samples = load_rubric("score-0-100"), items(4)
    model = JudgeModel(Judge(lambda _: "Score: [[90]]"))
    task = pointwise_task(with_canaries(samples, rubric, count=3), rubric, model, SUBJECT)
    overall = run(task, model, RunOptions(tmp_path)).manifest.metrics.overall
    assert overall["canary_caught"].value == 0.0
    assert overall["canary_score"].value == 90.0
    assert overall["score"].n == 4


def test_the_reference_judge_catches_every_canary(tmp_path: Path) -> None:
    rubric, model, samples = load_rubric("reference"), load_judge("reference"), items(12)
    task = pointwise_task(with_canaries(samples, rubric), rubric, model, SUBJECT)
    overall = run(task, model, RunOptions(tmp_path)).manifest.metrics.overall
    assert (overall["canary_caught"].value, overall["canary_caught"].n) == (1.0, 6)


def test_an_empty_set_of_samples_with_references_gets_no_canaries() -> None:
    sample = judged_sample(Sample("s", {"instruction": "q", "input": ""}), "r")
    assert with_canaries([sample], load_rubric("mt-bench-single")) == [sample]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b'[{"input": "q", "output_1": "x", "output_2": "y", "label": 3}]', "pair 1 .*label 3 is none of 1, 2"),
        (
            b'[{"input": "q", "output_1": "x", "output_2": "y", "label": 1},'
            b' {"input": "q", "output_1": "x", "label": 1}]',
            "pair 2 .*the key 'output_2' is missing",
        ),
        (
            b'{"question_id": 1, "model_a": "a", "model_b": "b", "winner": "model_a", "judge": "expert_1", "turn": 1,'
            b' "conversation_a": [{"content": "q"}], "conversation_b": []}',
            "pair 1 does not fit",
        ),
    ],
)
def test_a_pair_that_does_not_fit_is_named(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "pairs.json").write_bytes(text)
    with pytest.raises(DataError, match=words):
        load_pairs(tmp_path / "pairs.json")


def test_a_byte_order_mark_and_line_separators_inside_texts_are_read(tmp_path: Path) -> None:
    pair = {"input": "one\u2028two", "output_1": "x", "output_2": "y\x85", "label": 1}
    (tmp_path / "pairs.jsonl").write_text("\ufeff" + json.dumps(pair, ensure_ascii=False) + "\n", encoding="utf-8")
    assert load_pairs(tmp_path / "pairs.jsonl")[0].fields["instruction"] == "one\u2028two"
