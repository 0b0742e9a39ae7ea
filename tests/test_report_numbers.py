"""The report's Markdown, CSV and JSON when names are hostile, numbers are none and Runs are not complete."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from report_runs import BASE, SFT, instruct_run, make_run

from evalkit.cli import main
from evalkit.record import Metric, Metrics, Run, write_run
from evalkit.report import build_csv, build_json, build_markdown
from evalkit.report.markdown import plain
from evalkit.report.strict_json import to_json


def named(run: Run, **changes: Any) -> Run:
    return replace(run, manifest=replace(run.manifest, **changes))


def undefined() -> Run:
    metrics = Metrics(
        {"acc": Metric(float("nan"), float("inf"), None, None, 3, 2), "f1": Metric(None, None, None, None, 0)}
    )
    return make_run([], BASE, primary="acc", metrics=metrics)


# Markdown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("see www.evil.example", "see www\\.evil.example"),
        ("mail a@b.example", "mail a＠b.example"),
        ("x@1.example", "x＠1.example"),
        ("fixes #12", "fixes ＃12"),
        ("C# code", "C\\# code"),
        ("- item", "\\- item"),
        ("+ item", "\\+ item"),
        ("1. item", "1\\. item"),
        ("12) item", "12\\) item"),
        ("=====", "\\====="),
        ("&lt;b&gt;", "\\&lt;b\\&gt;"),
        ("judge/reference@1", "judge/reference@1"),
        ("gpt-4.1", "gpt-4.1"),
    ],
)
def test_text_begins_no_list_links_nothing_and_names_nobody(hostile: str, harmless: str) -> None:
    assert plain(hostile) == harmless


def test_a_hostile_model_name_leaves_the_table_whole() -> None:
    runs = [instruct_run(BASE, 0.2, seed=1), named(instruct_run(SFT, 0.6, seed=2), model="a|b\n| c |<br>\r\n---")]
    table = [line for line in build_markdown(runs).splitlines() if line.startswith("|")]
    assert [line.replace("\\|", "").count("|") for line in table] == [4, 4, 4]
    assert "<br>" not in table[0]


def test_a_run_without_a_score_is_said_to_have_none() -> None:
    text = build_markdown([undefined()])
    assert "Nothing is scored" in text
    assert "nan" not in text.lower()


def test_two_runs_of_which_one_has_only_begun_cannot_be_compared_yet() -> None:
    begun = named(make_run([], SFT), status="running", metrics=Metrics({}), samples=160)
    text = build_markdown([instruct_run(BASE, 0.2), begun])
    assert "Nothing can be compared yet." in text
    assert "no task in common" not in text


# CSV -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＠x"])
def test_no_cell_begins_like_a_formula(start: str) -> None:
    (line, *_) = csv.DictReader(io.StringIO(build_csv([named(instruct_run(BASE, 0.5), task=start)]), newline=""))
    assert not (line["task"] or "").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＠"))


def test_a_number_that_is_none_is_an_empty_cell_and_a_negative_one_stays_a_number() -> None:
    lines = list(csv.DictReader(io.StringIO(build_csv([undefined()]))))
    assert [(line["metric"], line["value"], line["stderr"], line["n"]) for line in lines] == [
        ("acc", "", "", "3"),
        ("f1", "", "", "0"),
    ]
    worse = build_csv([instruct_run(BASE, 0.6, seed=1), instruct_run(SFT, 0.2, seed=2)])
    assert any(float(line["difference"]) < 0 for line in csv.DictReader(io.StringIO(worse)) if line["difference"])


def test_quotes_commas_and_line_ends_stay_in_their_cell() -> None:
    hostile = 'a","b\n"c'
    lines = list(csv.reader(io.StringIO(build_csv([named(instruct_run(BASE, 0.5), model=hostile)]), newline="")))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[1][3] == hostile


def test_csv_says_which_numbers_are_of_a_run_that_is_not_complete() -> None:
    (line, *_) = csv.DictReader(io.StringIO(build_csv([named(instruct_run(BASE, 0.5), status="interrupted")])))
    assert line["status"] == "interrupted"


# JSON ------------------------------------------------------------------------------------------------------------


def test_json_has_no_nan() -> None:
    document = json.loads(build_json([undefined()]), parse_constant=pytest.fail)
    assert document["tasks"][0]["models"][0]["metrics"]["overall"]["acc"]["value"] is None


def test_a_lone_surrogate_becomes_a_character_that_every_reader_takes() -> None:
    text = build_json([named(instruct_run(BASE, 0.5), model="hf/x\ud800")])
    assert text.encode("utf-8")
    assert "hf/x\ufffd" in text


def test_strict_json_keeps_what_json_has() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": "é\u2028"}}
    assert json.loads(to_json(value)) == value


# The command -------------------------------------------------------------------------------------------------------


def test_one_command_writes_every_form_and_names_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, right in (("before", 0.2), ("after", 0.6)):
        write_run(named(instruct_run(BASE if name == "before" else SFT, right), id=name), tmp_path / "reports" / name)
    options = ["-o", "a.html", "--md", "a.md", "--csv", "a.csv", "--json-out", "a.json", "--model-card", "card.md"]
    targets = ["--export", "lm-eval=lm", "--export", "tensorboard=tb"]
    with pytest.raises(SystemExit) as stop:
        main(["report", "before", "after", *options, *targets, "--json"])
    assert stop.value.code == 0
    document = json.loads(capsys.readouterr().out)
    names = ["a.html", "a.md", "a.csv", "a.json", "card.md"]
    assert document["written"] == [str(tmp_path / name) for name in names]
    assert len(document["exported"]) == 2 * 2 + 2
    assert all((tmp_path / place).is_file() for place in document["exported"])


def test_a_wrong_export_is_refused_before_anything_is_written(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(named(instruct_run(BASE, 0.5), id="one"), tmp_path / "reports" / "one")
    with pytest.raises(SystemExit) as stop:
        main(["report", "one", "--export", "excel=x"])
    assert stop.value.code == 2
    assert "no such kind" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
