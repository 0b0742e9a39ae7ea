"""What a judge's words, JSON or token probabilities are read as, and what they must never be read as."""

import json
import math
import random
import time

import pytest

from evalkit.judge.parse import PARSERS, read_verdict
from evalkit.judge.parse.structured import schema
from evalkit.judge.rubrics import Criterion, Rubric, Scale
from evalkit.judge.verdict import Verdict, unscored
from evalkit.task import Response

TEN = Rubric("ten", "1", "pointwise", "score", {}, scale=Scale(1, 10))
HUNDRED = Rubric("hundred", "1", "pointwise", "score", {}, scale=Scale(0, 100, integer=True))
BOOK = Rubric("book", "1", "pointwise", "integer", {}, scale=Scale(0, 100, integer=True))
PAIR = Rubric("pair", "1", "pairwise", "choice", {}, choices=("A", "B", "C"))
PAIR_JSON = Rubric("pair-json", "1", "pairwise", "json", {}, choices=("A", "B", "tie"))
JSON_TEN = Rubric("json", "1", "pointwise", "json", {}, scale=Scale(1, 10))
CRITERIA = Rubric(
    "criteria", "1", "pointwise", "json", {}, scale=Scale(1, 5, integer=True),
    criteria=(Criterion("clarity", "Is it clear?"), Criterion("truth", "Is it true?")),
)  # fmt: skip
EXPECTED = Rubric("expected", "1", "pointwise", "expected_score", {}, scale=Scale(1, 5, integer=True))
TOKENS = Rubric("tokens", "1", "pairwise", "choice_probability", {}, choices=("m", "M"))
ALL = (TEN, HUNDRED, BOOK, PAIR, PAIR_JSON, JSON_TEN, CRITERIA, EXPECTED, TOKENS)


def read(rubric: Rubric, text: str, **fields: object) -> Verdict:
    return read_verdict(rubric, Response("x", text, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("[[7]]", 7), ("Rating: [[7.5]]", 7.5), ("first [[3]] thoughts\nthen\nRating: [[8]]", 8), ("[[ 7 / 10 ]]", 7),
        ("[[rating: 3]]", 3), ("Use [[rating]] form.\n[[4]]", 4), ("Score: 7/10", 7), ("score is 7 out of 10.", 7),
        ("**Score:** 9", 9), ("**Final score: 9/10**", 9), ("The assistant's answer: 8/10.", 8), ("7", 7), (" 7. ", 7),
        ("`7`", 7), ("**7**", 7), ("It is good.\n\n7", 7), ("评分：8", 8), ("Rating = 6", 6), ("Score: 10", 10),
        ("<think>[[2]] or so</think>[[9]]", 9), ("Accuracy: fine.\nScore: 4\nReason: none", 4), ("[[5]] [[5]]", 5),
    ],
)  # fmt: skip
def test_a_score_is_read_in_its_usual_forms(text: str, score: float) -> None:
    assert read(TEN, text).score == score


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[11]]", "not_offered"), ("[[0]]", "not_offered"), ("[[-5]]", "not_offered"), ("[[ten]]", "not_offered"),
        ("[[7/100]]", "not_offered"), ("Score: 7/100", "not_offered"), ("Score: 99", "not_offered"),
        ("[[7]] or [[9]]", "conflicting"), ("[[7]]\n\n[[9]]", "conflicting"),
        ("Rating: [[3]], no, [[4]]", "conflicting"),
        ("Score: 7. Score: 8.", "conflicting"), ("[[11]] [[7]]", "conflicting"),
        ("I like it.", "unparsable"), ("It has 3 errors in 10 lines.", "unparsable"), ("Score: 7-8", "unparsable"),
        ("Generate at 3 places", "unparsable"),
        ("version 2.0 is out", "unparsable"), ("[rating] [7]", "unparsable"), ("2024/10/10", "unparsable"),
        ("[[rating]]", "unparsable"), ("seven", "unparsable"), ("NaN", "unparsable"), ("Score: ٧", "unparsable"),
        ("", "empty"), (" \n ", "empty"), ("<think>it is a [[7]]</think>", "empty"), ("<think>it is a [[7]]", "empty"),
        ("I'm sorry, but I can't evaluate this.", "refused"), ("I cannot judge that.", "refused"),
        ("As an AI, I have no opinion.", "refused"), ("抱歉，我无法评分", "refused"),
    ],
)  # fmt: skip
def test_what_is_no_score_is_unscored_with_its_reason(text: str, reason: str) -> None:
    verdict = read(TEN, text)
    assert (verdict.score, verdict.unscored) == (None, reason)
    assert verdict.detail


def test_an_apology_before_a_verdict_is_no_refusal() -> None:
    assert read(TEN, "I'm sorry to say the answer is wrong.\n[[2]]").score == 2


@pytest.mark.parametrize("text", ["85", " 85\n", "85.", "Score: 85", "**85**", "85/100", "85 out of 100", "100", "0"])
def test_the_books_integer_is_read_when_it_is_the_whole_reply(text: str) -> None:
    assert read(BOOK, text).score == float(text.strip(" \n.*").removeprefix("Score: ").split("/")[0].split()[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would score it 85.", "unparsable"), ("85 or 90", "unparsable"), ("85.5", "unparsable"),
        ("8 5", "unparsable"),
        ("101", "not_offered"), ("-1", "not_offered"), ("85/10", "not_offered"), ("9" * 5000, "unparsable"),
        ("The answer is 42, so: 85", "unparsable"),
    ],
)  # fmt: skip
def test_the_books_integer_is_nothing_but_an_integer(text: str, reason: str) -> None:
    assert read(BOOK, text).unscored == reason


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("[[A]]", "A"), ("[[B]]", "B"), ("[[C]]", "C"), ("[[A]] at first.\nBut then\n[[B]]", "B"), ("Verdict: B", "B"),
        ("**Verdict:** Assistant B is better.", "B"), ("My answer is (A).", "A"), ("A", "A"), ("B.", "B"),
        ("Both are good.\n\nC", "C"), ("winner: **A**", "A"),
    ],
)  # fmt: skip
def test_a_choice_is_read_in_its_usual_forms(text: str, choice: str) -> None:
    assert read(PAIR, text).choice == choice


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[D]]", "not_offered"), ("[[A>B]]", "not_offered"), ("[[a]]", "not_offered"), ("[[A]] [[B]]", "conflicting"),
        ("[[A]] or maybe [[B]]?", "conflicting"), ("Assistant A's answer is long.", "unparsable"),
        ("Verdict: a good answer", "unparsable"), ("Answer: B is worse than A", "unparsable"), ("", "empty"),
        ("I am unable to choose.", "refused"),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_unscored_with_its_reason(text: str, reason: str) -> None:
    verdict = read(PAIR, text)
    assert (verdict.choice, verdict.unscored) == (None, reason)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 7}', '```json\n{"reason": "ok", "score": 7}\n```', 'Here it is: {"score": 7.0} Thanks!',
        '{"score": "7"}', '{"score": 2}\nOn reflection: {"reason": "{ }", "score": 7}',
        '{"a": {"score": 1}} {"score": 7}',
    ],
)  # fmt: skip
def test_a_json_score_is_read_wherever_it_stands(text: str) -> None:
    assert read(JSON_TEN, text).score == 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"score": 11}', "not_offered"), ('{"score": true}', "not_offered"), ('{"score": null}', "not_offered"),
        ('{"score": "high"}', "not_offered"), ('{"score": [7]}', "not_offered"), ('{"score": 1e400}', "not_offered"),
        ('{"score": NaN}', "unparsable"), ('{"score": 7, "score": 8}', "unparsable"), ('{"points": 7}', "unparsable"),
        ("7", "unparsable"), ('{"score": 7', "unparsable"), ('["score", 7]', "unparsable"),
        ('{"score": ' + "9" * 5000 + "}", "unparsable"), ("{" * 100_000, "unparsable"),
        ('{"a":' * 50_000, "unparsable"),
    ],
)  # fmt: skip
def test_what_is_no_json_score_is_unscored(text: str, reason: str) -> None:
    assert read(JSON_TEN, text).unscored == reason


def test_several_criteria_give_one_score_each_and_their_mean() -> None:
    verdict = read(CRITERIA, '{"reason": "…", "clarity": 4, "truth": 2}')
    assert verdict.score == 3.0
    assert verdict.components == {"clarity": 4.0, "truth": 2.0}


def test_a_missing_criterion_is_never_filled_in() -> None:
    verdict = read(CRITERIA, '{"reason": "…", "clarity": 4}')
    assert verdict.unscored == "unparsable"
    assert "truth" in verdict.detail


def test_a_json_verdict_must_be_one_of_those_offered() -> None:
    assert read(PAIR_JSON, '{"reason": "…", "verdict": "tie"}').choice == "tie"
    assert read(PAIR_JSON, '{"reason": "…", "verdict": "both"}').unscored == "not_offered"


def test_the_schema_asks_for_the_reason_before_the_verdict_and_allows_nothing_else() -> None:
    asked = schema(CRITERIA)
    assert list(asked["properties"]) == asked["required"] == ["reason", "clarity", "truth"]
    assert asked["properties"]["truth"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert asked["additionalProperties"] is False
    assert schema(PAIR_JSON)["properties"]["verdict"]["enum"] == ["A", "B", "tie"]


def alternatives(**probability: float) -> tuple[tuple[str, float], ...]:
    return tuple((token.strip("_"), math.log(p)) for token, p in probability.items())


def test_a_score_is_weighted_by_the_probabilities_of_the_score_tokens() -> None:
    positions = (alternatives(Score=1.0), alternatives(_4=0.6, _5=0.2, _3=0.1, _9=0.05, the=0.05))
    verdict = read(EXPECTED, "Score: 4", top_logprobs=positions)
    assert verdict.score == pytest.approx((4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9)
    assert verdict.components["mass"] == pytest.approx(0.9)
    assert verdict.components["weighted"] == 1.0


def test_the_last_score_token_counts_not_an_earlier_digit() -> None:
    early, late = alternatives(_4=0.9, _1=0.1), alternatives(_4=0.5, _2=0.5)
    verdict = read(EXPECTED, "4 errors. Score: 4", top_logprobs=(early, alternatives(Score=1.0), late))
    assert verdict.score == pytest.approx(3.0)


def test_without_log_probabilities_the_written_score_stands_and_says_so() -> None:
    verdict = read(EXPECTED, "Score: 4")
    assert verdict.score == 4
    assert verdict.components["weighted"] == 0.0


def test_too_little_mass_on_the_scale_is_no_verdict() -> None:
    positions = (alternatives(_4=0.02, The=0.98),)
    assert read(EXPECTED, "4", top_logprobs=positions).unscored == "unparsable"


def test_a_digit_of_a_longer_number_is_no_score_token() -> None:
    wide = Rubric("wide", "1", "pointwise", "expected_score", {}, scale=Scale(0, 100, integer=True))
    positions = (alternatives(_8=0.9, _7=0.1), alternatives(_5=0.9, _0=0.1))
    verdict = read(wide, "85", top_logprobs=positions)
    assert verdict.score == 85
    assert verdict.components["weighted"] == 0.0


def test_a_one_token_judge_gives_a_graded_preference() -> None:
    verdict = read(TOKENS, "M", top_logprobs=(alternatives(m=0.2, M=0.6, Both=0.2),), finish="length")
    assert verdict.choice == "M"
    assert verdict.score == pytest.approx(0.75)
    assert verdict.components["mass"] == pytest.approx(0.8)


def test_a_one_token_judge_without_log_probabilities_is_unscored() -> None:
    assert read(TOKENS, "M").unscored == "unparsable"


@pytest.mark.parametrize("rubric", ALL[:7], ids=lambda rubric: rubric.name)
def test_a_reply_that_was_cut_off_is_truncated_whatever_stands_in_it(rubric: Rubric) -> None:
    assert read(rubric, '[[7]] [[A]] {"score": 7, "verdict": "A"}', finish="length").unscored == "truncated"


@pytest.mark.parametrize("rubric", ALL, ids=lambda rubric: rubric.name)
def test_a_fault_of_the_provider_keeps_its_own_reason(rubric: Rubric) -> None:
    assert read(rubric, "[[7]]", unscored="timeout", detail="120 s").unscored == "timeout"
    assert read(rubric, "[[7]]", finish="refused").unscored == "refused"


PIECES = (
    "[[7]]", "[[A]]", "[[", "]]", "[[11]]", "Score:", "7/10", "{", "}", '{"score":', "7", '"', "\\", "\n", "```json",
    "verdict:", "A", "B", "<think>", "</think>", "9" * 400, "\u200b", "\ud800", "\x00", "٣", "ⅷ", "−5", "NaN", "1e309",
    "I'm sorry", " is ", "=", "**", "/", ".", "评分", "[[rating]]", "," * 50, "(" * 50, " " * 50, "score " * 20,
)  # fmt: skip


@pytest.mark.parametrize("rubric", ALL, ids=lambda rubric: rubric.name)
def test_thousands_of_hostile_replies_never_raise_and_never_leave_the_scale(rubric: Rubric) -> None:
    rng = random.Random(rubric.name)
    for _ in range(1500):
        verdict = read(rubric, "".join(rng.choices(PIECES, k=rng.randint(0, 12))))
        assert verdict.scored != (verdict.unscored is not None)
        if verdict.score is not None and rubric.scale is not None:
            assert rubric.scale.low <= verdict.score <= rubric.scale.high
        if verdict.choice is not None:
            assert verdict.choice in rubric.choices


@pytest.mark.parametrize("parser", sorted(PARSERS))
@pytest.mark.parametrize(
    "unit", ["[", "[[", "[[7]] ", "{", '{"a":', "score ", "score:", "7", "7/", "<think>", "verdict: ", "*", "a\n", "[1"]
)
def test_no_reply_takes_more_than_linear_time(parser: str, unit: str) -> None:
    choices = ("A", "B", "C") if parser in {"choice", "choice_probability", "mtbench_first_winner"} else ()
    rubric = Rubric("r", "1", "pairwise" if choices else "pointwise", parser, {}, scale=Scale(1, 10), choices=choices)
    started = time.process_time()
    read(rubric, unit * (100_000 // len(unit)))
    # Linear work takes milliseconds; a quadratic parser would need minutes of CPU time.
    assert time.process_time() - started < 20


def test_a_verdict_is_scored_or_unscored_and_never_both() -> None:
    with pytest.raises(ValueError, match="score or a choice"):
        Verdict()
    with pytest.raises(ValueError, match="score or a choice"):
        Verdict(score=1.0, unscored="empty")
    assert not unscored("empty", "nothing").scored


def test_the_reference_judges_components_come_with_its_score() -> None:
    verdict = read(JSON_TEN, json.dumps({"score": 7, "components": {"answer": 0.5, "note": "x"}}))
    assert verdict.components == {"answer": 0.5}


@pytest.mark.parametrize(
    "text",
    ["Score: 8,5", "Score: 1,000", "Score: 1e2", "Score: 3 or 4", "Score: 7 to 8", "Score: 85pts", "8,5/10", "7-8/10",
     "Score: 8,5/10", "Bewertung: 7 bis 8"],
)  # fmt: skip
def test_a_number_is_never_taken_for_what_it_begins_or_ends_with(text: str) -> None:
    rubric = Rubric("r", "1", "pointwise", "score", {}, scale=Scale(0, 10))
    assert read(rubric, text).score is None


PAIR_JSON = Rubric("r", "1", "pairwise", "json", {}, choices=("A", "B", "tie"))


@pytest.mark.parametrize(
    ("text", "choice", "reason"),
    [
        ('{"verdict": "A"} {"verdict": "B"}', None, "conflicting"),
        ('{"verdict": "A"}\n{"verdict": "C"}', None, "conflicting"),
        ('{"verdict": "A"}\n{"verdict": "A", "reason": "again"}', "A", None),
        ('{"verdict": "A"}\nOn reflection:\n{"verdict": "B"}', "B", None),
        ('Asked for {"verdict": "A or B"}, I say {"verdict": "B"}', "B", None),
        ('{"verdict": "Tie"}', "tie", None),
        ('{"verdict": "a"}', None, "not_offered"),
    ],
)
def test_json_verdicts_beside_each_other_must_agree(text: str, choice: str | None, reason: str | None) -> None:
    verdict = read(PAIR_JSON, text)
    assert (verdict.choice, verdict.unscored) == (choice, reason)
