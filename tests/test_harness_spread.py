"""Standard errors without 100,000 resamples, against the bootstrap of documents that they replace."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from evalkit.harness.spread import standard_error, stock_name

metrics = pytest.importorskip("lm_eval.api.metrics")

_WORDS = ("the", "a", "cat", "dog", "ran", "sat", "on", "mat", "big", "red", "house", "tree", "by", "river")


def _pairs(n: int, classes: int, seed: int = 1) -> list[tuple[int, int]]:
    draw = np.random.default_rng(seed)
    targets = draw.integers(0, classes, n)
    right = draw.random(n) < 0.7
    return [(int(t), int(t if r else draw.integers(0, classes))) for t, r in zip(targets, right, strict=True)]


def _translations(n: int) -> list[tuple[str, str]]:
    draw = np.random.default_rng(6)
    references = [list(draw.choice(_WORDS, draw.integers(5, 12))) for _ in range(n)]
    return [
        (" ".join(words), " ".join(word if draw.random() < 0.6 else draw.choice(_WORDS) for word in words))
        for words in references
    ]


def _texts(n: int) -> list[tuple[float, float]]:
    draw = np.random.default_rng(7)
    return [(float(-count * draw.normal(3, 0.6)), float(count)) for count in draw.integers(5, 60, n)]


def _numbers(n: int) -> list[float]:
    return [float(value) for value in np.random.default_rng(3).normal(-2.0, 0.5, n)]


def _chances(n: int) -> list[tuple[int, list[float]]]:
    draw = np.random.default_rng(8)
    return [(int(draw.integers(3)), list(draw.dirichlet([1.0, 1.0, 1.0]))) for _ in range(n)]


def _by_resampling(aggregation: Callable[[Sequence[Any]], Any], items: Sequence[Any], times: int) -> float:
    draw = np.random.default_rng(2)
    n = len(items)
    return float(np.std([aggregation([items[i] for i in draw.integers(0, n, n)]) for _ in range(times)], ddof=1))


def test_the_error_of_a_mean_is_lm_evals_to_the_last_digit() -> None:
    items = [0.1, 0.7, 1.0, 0.0, 0.3]
    found = standard_error(metrics.mean, items)
    assert (found.error, found.method) == (metrics.mean_stderr(items), "closed form")


@pytest.mark.parametrize(
    ("name", "items", "method"),
    [
        ("median", _numbers(200), "bootstrap (500 resamples)"),
        ("nanmean", [math.nan, *_numbers(199)], "closed form"),
        ("perplexity", _numbers(200), "delta method"),
        ("weighted_perplexity", _texts(200), "delta method"),
        ("bits_per_byte", _texts(200), "delta method"),
        ("brier_score", _chances(200), "closed form"),
        ("f1_score", _pairs(150, 2), "bootstrap (10000 resamples)"),
        ("matthews_corrcoef", _pairs(150, 2), "bootstrap (10000 resamples)"),
        ("matthews_corrcoef", _pairs(150, 3), "bootstrap (10000 resamples)"),
        ("bleu", _translations(40), "bootstrap (500 resamples)"),
        ("chrf", _translations(40), "bootstrap (500 resamples)"),
        ("chrfpp", _translations(40), "bootstrap (500 resamples)"),
        ("ter", _translations(40), "bootstrap (500 resamples)"),
    ],
)
def test_every_aggregation_of_lm_evals_has_the_error_that_resampling_documents_gives(
    name: str, items: list[Any], method: str
) -> None:
    found = standard_error(getattr(metrics, name), items)
    assert found.method == method
    # 80 resamples know their own spread to about 8 %.
    assert found.error == pytest.approx(_by_resampling(getattr(metrics, name), items, 80), rel=0.25)


def test_drawing_ten_thousand_confusion_matrices_takes_no_time() -> None:
    import time

    items = _pairs(40_430, 2)
    started = time.process_time()
    assert standard_error(metrics.f1_score, items).error is not None
    assert time.process_time() - started < 2


def test_a_tasks_own_function_is_resampled_and_the_same_each_time() -> None:
    def spread(items: Sequence[float]) -> float:
        return max(items) - min(items)

    first, second = standard_error(spread, _numbers(50)), standard_error(spread, _numbers(50))
    assert first == second
    assert first.method == "bootstrap (500 resamples)"
    assert first.error == pytest.approx(_by_resampling(spread, _numbers(50), 500), rel=0.2)


def test_a_tasks_own_function_is_not_mistaken_for_lm_evals_of_that_name() -> None:
    def perplexity(items: Sequence[float]) -> float:
        return sum(items)

    assert stock_name(perplexity) == ""
    assert stock_name(np.mean) == "mean"
    found = standard_error(perplexity, _numbers(200))
    assert found.error == pytest.approx(np.std(_numbers(200)) * math.sqrt(200), rel=0.15)


def test_a_function_that_is_too_slow_has_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.harness.spread._SECONDS", 0.0)
    assert standard_error(max, _numbers(20)).error is None


@pytest.mark.parametrize(
    ("name", "items"),
    [("mean", [1.0]), ("f1_score", [(0, 2), (1, 1)]), ("perplexity", [-1e4, 0.0]), ("bleu", [("a", "b")])],
)
def test_what_is_undefined_has_no_error(name: str, items: list[object]) -> None:
    found = standard_error(getattr(metrics, name), items)
    assert (found.error, found.method) == (None, "")


def test_a_function_that_cannot_do_without_a_document_has_no_error() -> None:
    def strict(items: Sequence[int]) -> float:
        return {(1, 2, 3, 4, 5, 6): 1.0}[tuple(sorted(items))]

    assert standard_error(strict, [1, 2, 3, 4, 5, 6]).error is None
