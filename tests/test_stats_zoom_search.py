"""The line search of arena-rank's optimiser: both of Wolfe's conditions, wherever the minimum lies on the line."""

from collections.abc import Callable

import numpy as np
import pytest

from evalkit.stats.zoom_search import Line, search

Function = Callable[[float], tuple[float, float]]


def line_of(function: Function, at: float, direction: float) -> Line:
    """A function of one number as a line from `at`."""

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = function(float(point[0]))
        return value, np.array([slope])

    start = np.array([at])
    value, gradient = objective(start)
    return Line(objective, start, np.array([direction]), value, gradient)


def parabola(x: float) -> tuple[float, float]:
    return (x - 3.0) ** 2, 2 * (x - 3.0)


def quartic(x: float) -> tuple[float, float]:
    return x**4 - 2 * x**2 + 0.3 * x, 4 * x**3 - 4 * x + 0.3


def softplus(x: float) -> tuple[float, float]:
    return float(np.logaddexp(0, -x) + 1e-3 * x * x), float(-1 / (1 + np.exp(x)) + 2e-3 * x)


@pytest.mark.parametrize(
    ("function", "at", "direction"),
    [
        (parabola, 0.0, 3.0),
        (parabola, 0.0, 0.01),
        (parabola, 0.0, 50.0),
        (parabola, 10.0, -4000.0),
        (quartic, -2.0, 9.0),
        (quartic, 2.0, -0.3),
        (softplus, -4.0, 0.2),
        (softplus, -4.0, 300.0),
    ],
)
def test_the_step_lowers_the_function_and_flattens_its_slope(function: Function, at: float, direction: float) -> None:
    line = line_of(function, at, direction)
    found = search(line)
    slope = line.origin.slope
    assert slope < 0
    assert found.value <= line.value + 1e-4 * found.step * slope
    assert abs(found.slope) <= 0.9 * abs(slope)
    assert found.value == pytest.approx(function(at + found.step * direction)[0])


def test_a_step_of_one_that_fits_is_taken_at_once() -> None:
    assert search(line_of(parabola, 0.0, 3.0)).step == 1.0


def test_a_step_that_is_too_short_is_doubled() -> None:
    found = search(line_of(parabola, 0.0, 0.01))
    assert found.step == 2.0 ** round(np.log2(found.step))
    assert found.step > 1


def test_a_line_that_falls_for_ever_ends_after_its_last_trial() -> None:
    found = search(line_of(lambda x: (-x, -1.0), 0.0, 1.0))
    assert found.step == 2.0**19


def test_rounding_next_to_the_minimum_does_not_stop_the_search() -> None:
    found = search(line_of(lambda x: (1.0 + 1e-18 * x * x, 2e-18 * (x - 1.0)), 0.0, 1.0))
    assert found.step == 1.0
