"""Calibration of MMLU answers with its error, against resampling one by one."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from evalkit.benchmarks.mmlu_calibration import calibration, resampled_ece
from evalkit.metrics.calibration import ece_equal_mass
from evalkit.record import Row

Array = NDArray[Any]


def _made(n: int, units: int) -> tuple[Array, Array, Array]:
    draw = np.random.default_rng(1)
    confidences = 0.25 + 0.75 * draw.beta(4, 3, n)
    right = (draw.random(n) < 0.8 * confidences).astype(float)
    return confidences, right, np.sort(draw.integers(0, units, n))


@pytest.mark.parametrize("units", [30, 1200])
def test_resampling_at_once_gives_what_resampling_one_by_one_gives(units: int) -> None:
    confidences, right, of_unit = _made(1200, units)
    of_unit = np.unique(of_unit, return_inverse=True)[1]
    members = [np.flatnonzero(of_unit == unit) for unit in range(of_unit.max() + 1)]
    draw = np.random.default_rng(2)
    one_by_one = []
    for _ in range(200):
        rows = np.concatenate([members[unit] for unit in draw.integers(0, len(members), len(members))])
        one_by_one.append(ece_equal_mass(confidences[rows], [bool(one) for one in right[rows]]))
    at_once = resampled_ece(confidences, right, of_unit, 200)
    assert at_once.std(ddof=1) == pytest.approx(np.std(one_by_one, ddof=1), rel=0.2)
    assert at_once.mean() == pytest.approx(np.mean(one_by_one), abs=0.005)


def _row(place: int, subject: str, share: float) -> Row:
    rest = (1 - share) / 3
    shares = {"A": share, "B": rest, "C": rest, "D": rest}
    target = "A" if place % 3 else "B"
    right = {"acc": float(target == "A")}
    return Row(f"{subject}/{place}", 0, "", target, "", right, cluster=subject, extra={"probabilities": shares})


def test_both_numbers_have_an_error_and_say_how_it_was_found() -> None:
    rows = [
        _row(place, subject, share + place / 60)
        for subject, share in (("anatomy", 0.3), ("virology", 0.4))
        for place in range(30)
    ]
    found = calibration(rows)
    assert found["ece"].method == "bootstrap (500 resamples)"
    assert found == calibration(rows)
    for metric in found.values():
        assert metric.stderr is not None
        assert metric.stderr > 0
        assert metric.low is not None
        assert metric.high is not None
        assert metric.value is not None
        assert 0 <= metric.low <= metric.value <= metric.high
        assert metric.n == 60


def test_one_subject_alone_is_resampled_by_question() -> None:
    found = calibration([_row(place, "anatomy", 0.3 + place / 50) for place in range(30)])
    assert found["ece"].stderr is not None


def test_a_single_question_has_no_error() -> None:
    found = calibration([_row(1, "anatomy", 0.5)])
    assert (found["ece"].value, found["ece"].stderr, found["brier"].stderr) == (0.5, None, None)


def test_rows_without_probabilities_have_no_calibration() -> None:
    assert calibration([Row("a", 0, "", "A", "A", {"acc": 1.0})]) == {}
