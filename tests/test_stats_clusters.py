"""Standard errors of clustered scores: equal clusters as usual, unequal ones against matrices written out."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from evalkit.errors import UsageError
from evalkit.stats.clusters import clustered_error
from evalkit.stats.intervals import standard_error
from evalkit.stats.paired import compare_paired, paired_bootstrap


def _scores(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=len(groups)) + rng.normal(size=len(sizes))[groups], groups


def test_clusters_of_one_size_have_the_usual_error_and_degrees_of_freedom() -> None:
    values, groups = _scores([7] * 12)
    stderr, freedom = clustered_error(values, groups)
    assert stderr == pytest.approx(standard_error(values, groups), rel=1e-12)
    assert freedom == pytest.approx(11, rel=1e-12)


def test_one_item_per_cluster_is_the_plain_standard_error() -> None:
    values, groups = _scores([1] * 30)
    stderr, freedom = clustered_error(values, groups)
    assert stderr == pytest.approx(values.std(ddof=1) / np.sqrt(30), rel=1e-12)
    assert freedom == pytest.approx(29, rel=1e-12)


def test_unequal_clusters_equal_cr2_with_matrices_written_out() -> None:
    values, groups = _scores([30, 8, 5, 5, 2, 1], seed=3)
    n = len(values)
    ones = np.ones((n, 1))
    annihilator = np.eye(n) - ones @ ones.T / n
    residuals = annihilator @ values
    sums = []
    for group in range(6):
        inside = groups == group
        block = annihilator[np.ix_(inside, inside)]
        adjusted = np.linalg.inv(np.real(scipy.linalg.sqrtm(block)))
        sums.append(adjusted.sum(axis=0) @ residuals[inside] / n)
    assert clustered_error(values, groups)[0] == pytest.approx(float(np.sqrt(np.square(sums).sum())), rel=1e-9)


def test_degrees_of_freedom_equal_those_of_the_matrix_written_out() -> None:
    sizes = np.array([30, 8, 5, 5, 2, 1])
    values, groups = _scores(sizes.tolist(), seed=3)
    means = np.bincount(groups, values) / sizes
    within = np.sum((values - means[groups]) ** 2) / (51 - 6)
    between = np.sum(sizes * (means - values.mean()) ** 2) / 5
    common = max(0.0, (between - within) / ((51 - np.sum(sizes**2) / 51) / 5))
    shares = sizes / 51
    adjust = np.diag(shares / np.sqrt(1 - shares)) @ (np.eye(6) - np.outer(np.ones(6), shares))
    matrix = adjust @ np.diag(common + within / sizes) @ adjust.T
    expected = np.trace(matrix) ** 2 / np.trace(matrix @ matrix)
    assert clustered_error(values, groups)[1] == pytest.approx(expected, rel=1e-10)


def test_a_dominant_cluster_leaves_few_degrees_of_freedom() -> None:
    values, groups = _scores([200, *[5] * 20])
    assert 1 <= clustered_error(values, groups)[1] < 6


def test_scores_that_never_vary_have_no_error() -> None:
    assert clustered_error(np.full(10, 0.3), np.repeat([0, 1], 5)) == (0.0, 1)
    assert clustered_error(np.ones(4), np.zeros(4, dtype=np.int64)) == (None, 0.0)


def test_the_clustered_comparison_uses_them() -> None:
    values, groups = _scores([30, 8, 5, 5, 2, 1], seed=3)
    found = compare_paired(np.zeros(51), values, clusters=groups.tolist())
    stderr, freedom = clustered_error(values, groups)
    assert found.p_gain == pytest.approx(float(scipy.stats.t.sf(values.mean() / stderr, freedom)), rel=1e-9)


@pytest.mark.parametrize("sizes", [[20] * 5, [150, 30, 8, 4, 2, 1], [60, 40, 5, 5, 5, 5, 5, 5]])
def test_a_bootstrap_of_few_unequal_clusters_keeps_its_level(sizes: list[int]) -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    missed = 0
    for _ in range(150):
        after = rng.normal(size=len(groups)) + rng.normal(0, 0.7, len(sizes))[groups]
        found = paired_bootstrap(np.zeros(len(groups)), after, clusters=groups.tolist(), resamples=500).difference
        missed += not (found.low or 0.0) <= 0 <= (found.high or 0.0)
    assert missed <= 150 * 0.05 + 2.5 * (150 * 0.05 * 0.95) ** 0.5  # percentiles alone miss 21 to 30 of 150


def test_a_bootstrap_of_many_equal_clusters_is_the_t_test() -> None:
    values, groups = _scores([5] * 400)
    t = compare_paired(np.zeros(2000), values, clusters=groups.tolist()).difference
    found = paired_bootstrap(np.zeros(2000), values, clusters=groups.tolist(), resamples=40_000).difference
    width = (t.high or 0) - (t.low or 0)
    assert (found.low, found.high) == pytest.approx((t.low, t.high), abs=0.02 * width)


def test_three_clusters_are_not_resampled() -> None:
    values, groups = _scores([5, 5, 9])
    found = paired_bootstrap(np.zeros(19), values, clusters=groups.tolist())
    assert found.method == "paired t, cluster-robust"


def test_too_few_resamples_for_an_interval_are_refused() -> None:
    with pytest.raises(UsageError, match="99 resamples are too few"):
        paired_bootstrap([1.0, 0.5], [0.0, 0.1], resamples=99)
