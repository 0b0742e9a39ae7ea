"""Means over rows: when clusters count."""

import math

import numpy as np
import pytest

from evalkit.aggregate import mean_metric
from evalkit.record import Row


def _rows(clusters: int, each: int = 20) -> list[Row]:
    draw = np.random.default_rng(0)
    return [
        Row(
            id=f"{cluster}/{item}",
            repeat=0,
            prompt="",
            target=None,
            response="",
            scores={"acc": float(draw.random() < 0.3 + 0.4 * (cluster % 2))},
            cluster=str(cluster),
        )
        for cluster in range(clusters)
        for item in range(each)
    ]


@pytest.mark.parametrize("clusters", [2, 4])
def test_few_clusters_are_taken_as_they_are_and_their_samples_vary(clusters: int) -> None:
    rows = _rows(clusters)
    values = np.array([row.scores["acc"] for row in rows])
    assert mean_metric(rows, "acc").stderr == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)), rel=1e-12)


def test_many_clusters_that_differ_widen_the_interval() -> None:
    rows = _rows(12)
    clustered, independent = mean_metric(rows, "acc"), mean_metric(rows, "acc", clustered=False)
    assert clustered.stderr is not None
    assert independent.stderr is not None
    assert clustered.stderr > 1.3 * independent.stderr
