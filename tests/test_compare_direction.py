"""Which metrics are better when lower: every name that a Run of ours can hold, from one place."""

import pytest
from gate_runs import make_run

from evalkit.compare import compare_runs, higher_is_better
from evalkit.gate import run_gate
from evalkit.stats.decision import Verdict

_LOWER = (
    "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "nll", "loss", "brier", "brier_score",
    "calibration_multiple_choice_brier_score", "expected_calibration_error", "ece", "helm/ece_10_bin",
    "helm/platt_ece_1_bin", "ter", "wer", "mse", "bbq_metric_ambiguous_bias", "helm/bias_associations_gender_adjective",
    "helm/toxic_frac", "helm/expected_max_toxicity", "helm/toxicity_lexicon", "helm/seconds", "empty_response",
    "inconsistent", "missing", "error_rate", "perplexity,none", "unscored",
)  # fmt: skip
_HIGHER = (
    "acc", "acc_norm", "exact_match,strict-match", "f1", "macro_f1", "mcc", "pass@1", "score", "win_rate", "bleu",
    "rougeLsum", "mc2", "gender_parity", "log_likelihood", "weighted_log_probabilities", "pearson", "selective_acc@10",
    "numeric_match_with_0_1_relative_error", "canary_caught", "helm/robustness", "chrf", "answered", "truth",
    "inst_level_loose_acc", "n_wins", "likelihood", "counts/Y", "interesting", "glossary",
)  # fmt: skip


@pytest.mark.parametrize("metric", _LOWER)
def test_a_fault_or_a_loss_is_better_when_lower(metric: str) -> None:
    assert not higher_is_better(metric)


@pytest.mark.parametrize("metric", _HIGHER)
def test_anything_else_is_better_when_higher(metric: str) -> None:
    assert higher_is_better(metric)


def test_what_a_run_records_of_its_metrics_comes_first() -> None:
    told = {"settings": {"higher_is_better": {"oddness": False, "brier": True, "acc": None}}}
    run = make_run([1.0], manifest=told)
    assert not higher_is_better("oddness,none", run)
    assert higher_is_better("brier", run)
    assert higher_is_better("acc", run)


def test_more_of_a_rubrics_criterion_is_better_whatever_it_is_called() -> None:
    judged = make_run([1.0], manifest={"judge": {"name": "j", "fingerprint": "f", "kind": "pointwise"}})
    assert higher_is_better("bias", judged)
    assert not higher_is_better("empty_response", judged)


def test_flips_follow_the_score_they_are_made_by_not_the_metric() -> None:
    runs = [
        make_run(
            values, metric="nll_of_all", more={"acc": right}, name=str(values[0]),
            manifest={"pseudo_values": ("nll_of_all",)},
        )
        for values, right in (([1.0, 2.0, 3.0], [1.0, 1.0, 0.0]), ([2.0, 3.5, 4.0], [0.0, 1.0, 0.0]))
    ]  # fmt: skip
    found = compare_runs(runs[0], runs[1])
    assert found.oriented.difference.value == pytest.approx(-7 / 6)
    assert (found.flip_metric, found.losses, found.gains) == ("acc", ("s000",), ())


def test_a_rise_of_the_negative_log_likelihood_fails_the_gate() -> None:
    base = make_run([1.0 + index / 100 for index in range(40)], metric="nll")
    worse = make_run([1.5 + index / 90 for index in range(40)], metric="nll", name="worse")
    assert run_gate([worse], [base]).verdict is Verdict.FAIL
    assert run_gate([base], [worse]).verdict is Verdict.PASS
