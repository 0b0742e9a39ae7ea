"""A judge held against people's scores: known judges get known cards; the correction finds what people would say."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.judge.audit.judgements import Judgement
from evalkit.judge.audit.measures import recorded_card
from evalkit.judge.audit.people import ScoreCard, score_card
from evalkit.judge.rubrics import Rubric, Scale
from evalkit.record import Manifest, Row, Run

HUNDRED = Rubric("hundred", "1", "pointwise", "score", {}, scale=Scale(0, 100))
PAIRWISE = Rubric("pair", "1", "pairwise", "choice", {}, choices=("A", "B"))


def judged(scores: Mapping[str, float | None], **changes: Any) -> Run:
    rows = tuple(
        Row(name, 0, "?", None, "text", {} if score is None else {"score": score},
            unscored="unparsable" if score is None else None, **changes)
        for name, score in scores.items()
    )  # fmt: skip
    manifest = Manifest("run", "judge", "p", "score", "m", "f", "d", {}, "complete", len(rows), scale=100.0)
    return Run(manifest, rows)


def card(judge: Mapping[str, float | None], people: Mapping[str, float], **changes: Any) -> ScoreCard:
    return score_card([(judged(judge, **changes), people)], HUNDRED)


def test_a_judge_that_says_what_people_say_gets_full_marks() -> None:
    found = card({"a": 100, "b": 0, "c": 75, "d": 20}, {"a": 1.0, "b": 0.0, "c": 0.75, "d": 0.2})
    assert found.pearson.value == pytest.approx(1.0)
    assert found.difference.value == 0.0
    assert found.accuracy.value == found.kappa.value == found.sensitivity.value == found.specificity.value == 1.0
    assert found.judge_mean.value == found.corrected_mean.value == pytest.approx(0.4875)
    assert found.corrected_pass.value == 0.5


def test_a_judge_that_is_too_kind_by_a_constant_is_corrected_by_it() -> None:
    rng = random.Random(0)
    truth = {f"s{index}": rng.randint(0, 80) / 100 for index in range(400)}
    found = card(
        {name: 100 * share + 20 for name, share in truth.items()},
        {name: truth[name] for name in rng.sample(sorted(truth), 60)},
    )
    assert found.difference.value == pytest.approx(0.2)
    mean = sum(truth.values()) / len(truth)
    assert found.judge_mean.value == pytest.approx(mean + 0.2)
    assert found.corrected_mean.value == pytest.approx(mean, abs=0.01)
    assert (found.labelled, found.judged, found.corrected_mean.n) == (60, 400, 60)


def test_the_corrected_mean_covers_the_truth_where_the_judges_own_mean_does_not() -> None:
    rng = random.Random(1)
    covered = uncorrected = 0
    for _ in range(200):
        truth = {f"s{index}": min(1.0, max(0.0, rng.gauss(0.5, 0.25))) for index in range(300)}
        guesses = {
            name: 100 * min(1.0, max(0.0, share * 0.6 + 0.3 + rng.gauss(0, 0.1))) for name, share in truth.items()
        }
        found = card(guesses, {name: truth[name] for name in rng.sample(sorted(truth), 40)})
        assert found.corrected_mean.low is not None
        assert found.corrected_mean.high is not None
        assert found.judge_mean.low is not None
        assert found.judge_mean.high is not None
        mean = sum(truth.values()) / len(truth)
        covered += found.corrected_mean.low <= mean <= found.corrected_mean.high
        uncorrected += found.judge_mean.low <= mean <= found.judge_mean.high
    # A nominal 95 % of 200 is 190 ± 6.
    assert covered >= 183
    assert uncorrected < 10


def test_the_share_of_passes_is_corrected_by_the_error_rates() -> None:
    # The judge passes 8 of 10 that people pass and 2 of 10 that they fail; of 100 others it passes 50.
    people = {f"p{index}": 1.0 for index in range(10)} | {f"f{index}": 0.0 for index in range(10)}
    judge = {f"p{index}": 100.0 * (index < 8) for index in range(10)}
    judge |= {f"f{index}": 100.0 * (index < 2) for index in range(10)}
    judge |= {f"x{index}": 100.0 * (index < 50) for index in range(100)}
    found = card(judge, people)
    assert (found.sensitivity.value, found.specificity.value) == (0.8, 0.8)
    assert found.judge_pass.value == 0.5
    assert found.corrected_pass.value == pytest.approx((0.5 + 0.8 - 1) / (0.8 + 0.8 - 1))


def test_a_constant_judge_has_no_corrected_share_of_passes() -> None:
    found = card({"a": 60, "b": 60, "c": 60}, {"a": 1.0, "b": 0.0})
    assert found.corrected_pass.value is None
    assert found.pearson.value is None
    assert found.constant_accuracy == 0.5


def test_replies_without_a_verdict_are_counted_and_never_a_score() -> None:
    found = card({"a": 60, "b": None, "c": 40}, {"a": 1.0, "b": 1.0, "c": 0.0})
    assert (found.labelled, found.judged) == (2, 2)
    assert found.unscored == {"unparsable": 1}


def test_planted_canaries_count_nowhere() -> None:
    run = judged({"a": 60, "b": 40})
    planted = judged({"canary/x/a": 0}, tags=("canary",))
    both = Run(run.manifest, run.rows + planted.rows)
    assert score_card([(both, {"a": 1.0, "b": 0.0})], HUNDRED).judged == 2


@pytest.mark.parametrize("people", [{}, {"a": 1.0}, {"elsewhere": 1.0, "nowhere": 0.0}])
def test_too_few_labels_are_refused(people: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="labelled responses have a verdict"):
        card({"a": 60, "b": 40}, people)


def test_a_pairwise_rubric_gives_no_scores_to_hold_against_people() -> None:
    with pytest.raises(UsageError, match="rubric pair gives no scores"):
        score_card([(judged({"a": 1, "b": 2}), {"a": 1.0, "b": 0.0})], PAIRWISE)


def test_recorded_verdicts_are_measured_against_the_labels_of_the_pairs_they_judged() -> None:
    verdicts = [
        Judgement("1", "ab", "a"),
        Judgement("1", "ba", "a"),
        Judgement("2", "ab", "a"),
        Judgement("2", "ba", "b"),
    ]
    found = recorded_card(verdicts, {"1": "a", "2": "b", "never judged": "tie"})
    assert (found.pairs, found.judgements, found.position.consistent) == (2, 4, 1)
    assert found.pair_accuracy.value == 0.5
    assert found.longest_accuracy is found.length_preference.value is None


def evalkit(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), json.loads(captured.out) if captured.out else {}, captured.err


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Twenty answers judged by the reference judge, and twelve labels as the review page exports them."""
    monkeypatch.chdir(tmp_path)
    entries = [
        {
            "instruction": f"Add 1 to {n}.",
            "input": "",
            "output": str(n + 1),
            "model_response": str(n + 1 + (n % 3 == 0)),
        }
        for n in range(20)
    ]
    Path("answers.json").write_text(json.dumps(entries))
    code, document, _ = evalkit(capsys, "judge", "answers.json", "--name", "judged")
    assert code == 0
    rows = [json.loads(line) for line in (Path(document["path"]) / "samples.jsonl").read_text().splitlines()]
    given = {"run": "judged", "model": "answers", "scale": "1-5", "reviewer": "ann", "repeat": 0}
    lines = [{**given, "id": row["id"], "score": 5 if row["scores"]["score"] > 50 else 2} for row in rows[:12]]
    lines.append({**given, "id": rows[13]["id"], "score": None})
    path = tmp_path / "labels-1-5.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_exported_labels_put_a_judge_on_trial(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, _ = evalkit(capsys, "audit", "reference", "--labels", str(labels))
    assert code == 0
    assert (document["scale"], document["card"]["labelled"], document["card"]["judged"]) == ("1-5", 12, 20)
    assert document["card"]["accuracy"]["value"] == 1.0
    assert document["card"]["corrected_mean"]["value"] is not None
    assert {one["attack"] for one in document["attacks"]["open"]} >= {"control", "echo_json"}


def test_labels_of_an_unknown_run_name_it(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels.write_text(labels.read_text().replace('"judged"', '"gone"'))
    code, _, error = evalkit(capsys, "audit", "reference", "--labels", str(labels))
    assert code == 2
    assert "gone: no run of that name" in error


def test_labels_on_two_scales_are_refused(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([lines[0].replace("1-5", "0-100"), *lines[1:]]))
    code, _, error = evalkit(capsys, "audit", "reference", "--labels", str(labels))
    assert code == 2
    assert "0-100 and 1-5; one scale is needed" in error


def test_exported_pairs_are_labels_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = {"instruction": "Add 1 to 1.", "input": "", "reference": "2", "response_a": "2", "response_b": "3"}
    path = tmp_path / "labels-pairwise.jsonl"
    path.write_text("".join(json.dumps({**pair, "id": str(n), "label": "a"}) + "\n" for n in range(3)))
    where = ("--reports", str(tmp_path / "reports"))
    code, document, _ = evalkit(capsys, "audit", "reference", "--labels", str(path), *where)
    assert code == 0
    assert (document["card"]["pairs"], document["card"]["accuracy"]["value"]) == (3, 1.0)


def test_the_published_order_consistency_comes_out_of_the_command_line(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared / "judge" / "prd_vicuna80_pairwise.jsonl"
    code, document, _ = evalkit(capsys, "audit", "gpt4", "--verdicts", str(path))
    assert code == 0
    position = document["card"]["position"]
    assert (position["consistent"], position["pairs"]) == (299, 440)
    code, _, error = evalkit(capsys, "audit", "nobody", "--verdicts", str(path))
    assert code == 2
    assert "there are those of bard, claude, gpt35, gpt4, vicuna-13b" in error


def test_only_one_source_of_labels_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = evalkit(capsys, "audit", "reference", "--labels", "a.jsonl", "--pairs", "b.jsonl")
    assert code == 2
    assert "one of --pairs, --labels and --verdicts" in error
