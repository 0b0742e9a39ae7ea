"""The reference judge: its likenesses against independent definitions, its score against GPT-4's."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from evalkit.judge import similarity
from evalkit.judge.reference import COEFFICIENTS, ReferenceJudge, first_turn

JUDGE = ReferenceJudge()


def score(reference: str, response: str, instruction: str = "Answer.", context: str = "") -> float:
    value = JUDGE.score(instruction, context, reference, response).score
    assert value is not None
    return value


@pytest.fixture(scope="module")
def book(shared: Path) -> list[dict[str, Any]]:
    return json.loads((shared / "instruct" / "eval-example-data.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def gpt4(shared: Path) -> list[int]:
    return json.loads((shared / "instruct" / "gpt4-model-1-response.json").read_text(encoding="utf-8"))


def judged(book: list[dict[str, Any]], key: str) -> list[float]:
    return [score(item["output"], item[key], item["instruction"], item["input"]) for item in book]


def test_published_judge_means_and_correlations_are_those_of_the_files(shared: Path, gpt4: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    want = json.loads((shared / "instruct" / "expected.json").read_text(encoding="utf-8"))["judge_scores"]
    llama = json.loads((shared / "instruct" / "llama3-8b-model-1-response.json").read_text(encoding="utf-8"))
    assert sum(gpt4) / len(gpt4) == want["gpt4-model-1"]["mean"] == 74.09
    assert sum(llama) / len(llama) == want["llama3-8b-model-1"]["mean"]
    correlation = want["correlation gpt4 vs llama3-8b, model 1"]
    assert stats.pearsonr(gpt4, llama)[0] == pytest.approx(correlation["pearson"], abs=1e-12)
    assert stats.spearmanr(gpt4, llama)[0] == pytest.approx(correlation["spearman"], abs=1e-12)


def test_agreement_with_gpt4_is_better_than_llama_3_8b_reaches(book: list[dict[str, Any]], gpt4: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours = judged(book, "model 1 response")
    assert stats.pearsonr(ours, gpt4)[0] > 0.90
    assert stats.spearmanr(ours, gpt4)[0] > 0.89
    assert sum(ours) / len(ours) == pytest.approx(74.09, abs=1.5)


def test_agreement_with_gpt4_does_not_rest_on_exact_matches_alone(book: list[dict[str, Any]], gpt4: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours = judged(book, "model 1 response")
    rest = [index for index, value in enumerate(ours) if value < 100.0]
    assert len(rest) > 30
    assert stats.pearsonr([ours[i] for i in rest], [gpt4[i] for i in rest])[0] > 0.6


def fitted(likeness: Any, target: Any) -> Any:
    """The three coefficients by the recipe of decision 0004: least squares with a ridge of 0.001."""
    np = pytest.importorskip("numpy")
    optimize = pytest.importorskip("scipy.optimize")

    def loss(w: Any) -> float:
        return float(np.mean((np.exp(-(1 - likeness) @ w) - target) ** 2) + 1e-3 * np.mean(w**2))

    return optimize.minimize(loss, np.ones(3), bounds=[(0, None)] * 3).x


def measured(book: list[dict[str, Any]], key: str) -> tuple[Any, Any]:
    """(likenesses of shape (items, 3), which items are exact matches)."""
    np = pytest.importorskip("numpy")
    verdicts = [JUDGE.score(item["instruction"], item["input"], item["output"], item[key]) for item in book]
    likeness = np.array([[v.components.get(name, 1.0) for name in COEFFICIENTS] for v in verdicts])
    return likeness, np.array([v.components["exact"] == 1.0 for v in verdicts])


def test_coefficients_fitted_on_half_the_items_agree_with_gpt4_on_the_other_half(
    book: list[dict[str, Any]], gpt4: list[int]
) -> None:
    np = pytest.importorskip("numpy")
    features, exact = measured(book, "model 1 response")
    target = np.array(gpt4) / 100
    predicted = np.ones(len(book))
    halves = np.arange(len(book)) % 2
    for half in (0, 1):
        train, test = (halves == half) & ~exact, (halves != half) & ~exact
        predicted[test] = np.exp(-(1 - features[test]) @ fitted(features[train], target[train]))
    assert np.corrcoef(predicted, target)[0, 1] > 0.8049
    stats = pytest.importorskip("scipy.stats")
    assert stats.spearmanr(predicted, target)[0] > 0.6985


@pytest.fixture(scope="module")
def gpt4_of_model_2(shared: Path, book: list[dict[str, Any]]) -> list[int]:
    path = shared / "instruct" / "gpt4-model-2-response.json"
    if not path.is_file():
        pytest.skip("GPT-4's public scores of model 2 (LLMs-from-scratch ch07/03) are not in the shared data")
    scores: list[int] = json.loads(path.read_text(encoding="utf-8"))
    # The book's script drops an item without a number; a shorter file cannot be aligned with the answers.
    assert len(scores) == len(book)
    assert sum(scores) / len(scores) == pytest.approx(56.57)
    return scores


@pytest.mark.parametrize("fitted_on", [1, 2])
def test_coefficients_fitted_on_one_models_answers_agree_with_gpt4_on_the_others(
    book: list[dict[str, Any]], gpt4: list[int], gpt4_of_model_2: list[int], fitted_on: int
) -> None:
    np = pytest.importorskip("numpy")
    stats = pytest.importorskip("scipy.stats")
    targets = {1: np.array(gpt4) / 100, 2: np.array(gpt4_of_model_2) / 100}
    train, exact = measured(book, f"model {fitted_on} response")
    weights = fitted(train[~exact], targets[fitted_on][~exact])
    tested_on = 3 - fitted_on
    features, exact = measured(book, f"model {tested_on} response")
    predicted = np.where(exact, 1.0, np.exp(-(1 - features) @ weights))
    assert stats.pearsonr(predicted, targets[tested_on])[0] > 0.91
    assert stats.spearmanr(predicted, targets[tested_on])[0] > 0.88


def test_the_shipped_judge_agrees_with_gpt4_on_the_model_it_was_not_fitted_to(
    book: list[dict[str, Any]], gpt4_of_model_2: list[int]
) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours = judged(book, "model 2 response")
    assert stats.pearsonr(ours, gpt4_of_model_2)[0] == pytest.approx(0.9218, abs=0.0005)
    assert stats.spearmanr(ours, gpt4_of_model_2)[0] == pytest.approx(0.9126, abs=0.0005)
    # Not by exact matches alone: on the other items too, and better than Llama-3-8B on those of model 1.
    rest = [index for index, value in enumerate(ours) if value < 100.0]
    assert stats.pearsonr([ours[i] for i in rest], [gpt4_of_model_2[i] for i in rest])[0] > 0.65


def test_the_mean_of_an_unseen_models_answers_lies_near_gpt4s_published_mean(book: list[dict[str, Any]]) -> None:
    ours = judged(book, "model 2 response")
    assert sum(ours) / len(ours) == pytest.approx(56.57, abs=4.0)


def test_an_exact_match_scores_100_and_an_empty_response_0() -> None:
    assert score("Paris.", "Paris.") == 100.0
    assert score("Paris.", "") == 0.0
    assert score("Paris.", " \n\t") == 0.0


@pytest.mark.parametrize(
    ("reference", "response"),
    [("It is 'fly'.", 'It is "fly."'), ("2", "2.0"), ("1,000 km", "1000 km"), ("“Necessary”", "'Necessary'")],
)
def test_quotes_and_the_way_a_number_is_written_do_not_count(reference: str, response: str) -> None:
    assert score(reference, response) == 100.0


@pytest.mark.parametrize(
    ("reference", "response"),
    [("-5", "5"), ("4x^3", "4x"), ("a > b", "a < b"), ("I Love It", "i love it"), ("Must we go?", "Must we go!")],
)
def test_what_changes_the_answer_is_no_exact_match(reference: str, response: str) -> None:
    assert JUDGE.score("Answer.", "", reference, response).components["exact"] == 0.0


def test_a_wrong_number_in_the_right_sentence_scores_low() -> None:
    asked = "What is the volume of a cube with side length 3?"
    assert score("The volume of the cube is 27.", "The volume of the cube is 9.", asked) < 20


def test_repeating_the_prompt_earns_little() -> None:
    sentence = "It is raining. I cannot go to the park."
    assert score("Since it is raining, I cannot go to the park.", sentence, "Combine the sentences.", sentence) < 30


def test_a_short_answer_with_the_right_word_beats_a_long_one_with_the_wrong_word() -> None:
    asked = "Name the process by which water changes from liquid to gas."
    reference = "The process by which water changes from liquid to gas is called evaporation."
    wrong = "The process by which water changes from liquid to gas is called condensation."
    assert score(reference, "It is evaporation.", asked) > score(reference, wrong, asked)


def test_the_nearest_of_several_references_counts() -> None:
    assert JUDGE.score("Name a colour.", "", ["red", "blue"], "blue").score == 100.0


def test_a_missing_reference_is_unscored_and_never_a_number() -> None:
    verdict = JUDGE.score("Say something.", "", " ", "something")
    assert verdict.score is None
    assert verdict.unscored == "empty"


def test_what_the_model_wrote_after_its_answer_is_not_judged() -> None:
    assert first_turn("Grain\n\n### Response:\nWheat") == "Grain"
    assert first_turn("### Response:\nGrain<|endoftext|>junk") == "Grain"
    assert score("Grain", "Grain\n### Instruction:\nName a bird.\n### Response:\nEagle") == 100.0


def test_no_response_ever_leaves_the_scale() -> None:
    rng = random.Random(0)
    alphabet = "ab 12.,-'\"#\n\u200b\ud800é京[](){}"
    for _ in range(300):
        reference = "".join(rng.choices(alphabet, k=rng.randint(1, 40)))
        response = "".join(rng.choices(alphabet, k=rng.randint(0, 40)))
        verdict = JUDGE.score("a 1", "b", reference, response)
        assert verdict.unscored == "empty" or 0.0 <= (verdict.score or 0.0) <= 100.0


def test_the_score_never_falls_when_a_response_comes_nearer_word_by_word() -> None:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "seven", "lazy", "dogs"]
    scores = [score(" ".join(words), " ".join(words[:count])) for count in range(len(words) + 1)]
    assert scores == sorted(scores)
    assert scores[-1] == 100.0


def test_an_embedding_is_shown_and_does_not_move_the_score() -> None:
    with_embedding = ReferenceJudge(embed=lambda texts: [[1.0, 0.0], [1.0, 1.0]])
    verdict = with_embedding.score("Answer.", "", "a cat", "a dog")
    assert verdict.components["embedding"] == pytest.approx(0.5**0.5)
    assert verdict.score == JUDGE.score("Answer.", "", "a cat", "a dog").score


def test_all_110_real_responses_are_scored_on_the_scale(shared: Path) -> None:
    entries = json.loads((shared / "instruct" / "instruction-data-with-response.json").read_text(encoding="utf-8"))
    scores = [JUDGE.score(e["instruction"], e["input"], e["output"], e["model_response"]).score for e in entries]
    assert len(scores) == 110
    assert all(score is not None and 0 <= score <= 100 for score in scores)


def test_long_texts_are_compared() -> None:
    rng = random.Random(1)
    long = " ".join(rng.choices(["alpha", "beta", "gamma", "delta"], k=4000))
    assert score(long, long[::-1]) < 100


def subsequence_length(first: list[str], second: list[str]) -> int:
    """The textbook table, as the truth for the bit-parallel one."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_longest_common_subsequence_equals_the_textbook_table() -> None:
    rng = random.Random(2)
    for _ in range(300):
        first, second = rng.choices("abc", k=rng.randint(0, 80)), rng.choices("abcd", k=rng.randint(0, 80))
        assert similarity.longest_common_subsequence(first, second) == subsequence_length(first, second)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat, 2.50 and -3!", ["the", "cat", "2.5", "and", "-3"]),
        ("3 - 5 = -2", ["3", "5", "=", "-2"]),
        ("1. Squirrel\n2) Eagle", ["squirrel", "eagle"]),
        ("don’t 1,000,000", ["don't", "1000000"]),
        ("東京 2020", ["東", "京", "2020"]),
        ("f'(x) = 4x^3", ["f", "x", "=", "4", "x", "^", "3"]),
    ],
)
def test_tokens_are_words_canonical_numbers_and_formula_symbols(text: str, tokens: list[str]) -> None:
    assert similarity.tokens(text) == tokens


def test_two_empty_bags_are_alike_and_one_empty_bag_is_not() -> None:
    assert similarity.f_score([], []) == 1.0
    assert similarity.f_score(["a"], []) == 0.0
    assert similarity.f_score([], ["a"]) == 0.0
