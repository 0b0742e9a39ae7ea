"""The review page as its own process, spoken to as a browser does: nothing given is lost, doubled or told too early."""

import json
import signal
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_runs import BASE, SFT, instruct_run, judged_run
from test_report_html import HOSTILE, hostile_run
from web_process import Served, Visitor

from evalkit.record import Run, write_run
from evalkit.visible import visible


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for run in (instruct_run(BASE, 0.2, seed=1), instruct_run(SFT, 0.5, seed=2), judged_run(SFT, 50, seed=2)):
        write_run(run, tmp_path / run.id)
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with start(folder) as server:
        yield server


def start(folder: Path, *words: str) -> Served:
    return Served("review", str(folder / "instruct-sft-exact_match"), str(folder / "judge-reference-sft-score"), *words)


def reviewer(served: Served, name: str) -> Visitor:
    visitor = served.visitor()
    visitor.get(f"/?reviewer={name}")
    return visitor


def kept(folder: Path) -> list[tuple[str, float | None]]:
    """(reviewer, value) of every label that holds, read by nobody's help."""
    path = folder / "instruct-sft-exact_match" / "labels.sqlite"
    query = "SELECT reviewer, value FROM labels WHERE undone IS NULL ORDER BY number"
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(query).fetchall()


def test_a_score_is_on_the_disk_when_the_page_answers(served: Served, folder: Path) -> None:
    reviewer(served, "ann").post("/label", value="80", note="good", tag=["format", "no such tag"])
    assert kept(folder) == [("ann", 80.0)]


def test_a_kill_after_a_score_loses_none(folder: Path) -> None:
    with start(folder) as served:
        ann = reviewer(served, "ann")
        for value in range(12):
            assert ann.post("/label", value=str(value)).status_code == 200
        served.stop(signal.SIGKILL)
    assert [value for _, value in kept(folder)] == list(range(12))
    with start(folder) as again:
        assert "12 of 160 scored" in reviewer(again, "ann").page.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_exports_and_ends_well(folder: Path, number: int) -> None:
    with start(folder) as served:
        reviewer(served, "ann").post("/label", value="80")
        code, said = served.stop(number)
    assert code == 0
    assert "Traceback" not in said
    lines = (folder / "instruct-sft-exact_match" / "labels-0-100.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in lines] == [80.0]


def test_the_verdict_and_the_model_are_told_only_after_the_score(served: Served) -> None:
    ann = reviewer(served, "ann")
    for secret in ("checkpoints/sft", "of 100</b>", "misses one word"):
        assert secret not in ann.page.text
    key = ann.fields("/label")["item"]
    assert "checkpoints/sft" not in ann.get(f"/?reviewer=ann&last={key}").text
    answered = ann.post("/label", value="80").text
    assert "You gave" in answered
    assert "It was hf/./checkpoints/sft." in answered


def test_a_skip_tells_nothing(served: Served) -> None:
    answered = reviewer(served, "ann").post("/label", skip="1").text
    assert "skipped" in answered
    assert "checkpoints/sft" not in answered


def test_a_form_sent_twice_is_one_score(served: Served, folder: Path) -> None:
    ann = reviewer(served, "ann")
    fields = {**ann.fields("/label"), "value": "80"}
    for _ in range(3):
        ann.client.post("/label", data=fields, headers={"Origin": ann.origin})
    assert kept(folder) == [("ann", 80.0)]


def test_what_is_no_score_is_refused_and_not_kept(served: Served, folder: Path) -> None:
    for value in ("", "101", "-1", "nan", "eighty"):
        answer = reviewer(served, "ann").post("/label", value=value)
        assert answer.status_code == 400
        assert "no score on 0-100" in answer.text
    assert kept(folder) == []


def test_undo_shows_the_item_again_with_what_was_said(served: Served, folder: Path) -> None:
    ann = reviewer(served, "ann")
    key = ann.fields("/label")["item"]
    ann.post("/label", value="80", note="hm", tag=["format"])
    page = ann.post("/undo")
    assert page.status_code == 200
    assert ann.fields("/label")["item"] == key
    assert 'value="80"' in page.text
    assert 'name="note" maxlength="2000" value="hm"' in page.text
    assert 'value="format" checked' in page.text
    assert kept(folder) == []


def test_two_reviewers_share_the_overlap_and_split_the_rest(folder: Path) -> None:
    with start(folder, "--overlap", "3") as served:
        seen: dict[str, list[str]] = {"ann": [], "bob": []}
        people = {name: reviewer(served, name) for name in seen}
        for _ in range(6):
            for name, person in people.items():
                key = person.fields("/label")["item"]
                seen[name].append(key)
                person.post("/label", skip="1" if len(seen[name]) > 3 else "", value="50")
    assert set(seen["ann"][:3]) == set(seen["bob"][:3])


def test_the_overview_measures_agreement_with_people_and_the_judge(served: Served) -> None:
    people = {name: reviewer(served, name) for name in ("ann", "bob")}
    for place in range(8):
        for shift, person in enumerate(people.values()):
            person.post("/label", value=str(10 * place + shift))
    text = people["ann"].get("/overview?reviewer=ann").text
    assert "ann and bob</th><td>8</td><td>100 %</td><td>1.00" in text
    assert "people and reference" in text
    assert "Krippendorff" in text
    assert "Judge-corrected means" in text
    assert people["ann"].get("/overview/live?reviewer=ann").text in text


def test_the_overview_shows_others_scores_only_for_items_one_has_scored(served: Served) -> None:
    reviewer(served, "ann").post("/label", value="37")
    bob = reviewer(served, "bob")
    assert "ann: 37" not in bob.get("/overview?reviewer=bob").text
    bob.get("/?reviewer=bob")
    bob.post("/label", value="40")
    assert "ann: 37" in bob.get("/overview?reviewer=bob").text


def test_twenty_reviewers_at_once_lose_and_double_nothing(served: Served, folder: Path) -> None:
    faults: list[str] = []

    def work(name: str) -> None:
        person = reviewer(served, name)
        for value in range(6):
            answer = person.post("/label", value=str(value))
            if answer.status_code != 200:
                faults.append(answer.text)

    threads = [threading.Thread(target=work, args=(f"r{n}",)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(kept(folder)) == sorted((f"r{n}", float(value)) for n in range(20) for value in range(6))


def test_pairs_hide_who_is_who_and_turn_the_score_back(folder: Path) -> None:
    names = [str(folder / f"instruct-{name}-exact_match") for name in ("base", "sft")]
    with Served("review", *names, "--scale", "pairwise") as served:
        ann = reviewer(served, "ann")
        orders = set()
        for _ in range(12):
            page = ann.page.text.partition("<h1>")[2]
            assert "checkpoints" not in page
            answered = ann.post("/label", value="a").text
            orders.add("base is better" in answered)
        assert orders == {True, False}
        served.stop(signal.SIGINT)
    lines = (folder / "instruct-base-exact_match" / "labels-pairwise.jsonl").read_text().splitlines()
    pairs = [json.loads(line) for line in lines]
    assert {pair["label"] for pair in pairs} == {"a", "b"}
    assert all((pair["label"] == "a") == (pair["shown"]["ann"] == "ab") for pair in pairs)


def test_hostile_text_is_shown_and_is_no_markup(tmp_path: Path) -> None:
    run = hostile_run("hf/x", 0.1)
    assert isinstance(run, Run)
    write_run(run, tmp_path / "run")
    with Served("review", str(tmp_path / "run"), "--guidelines", __file__) as served:
        ann = reviewer(served, "<script>alert(1)</script>\u202e")
        pages = []
        while 'action="/label"' in ann.page.text:
            pages.append(ann.page.text)
            ann.post("/label", value="1", note="</script><img src=x onerror=alert(1)>\u202e")
        pages.append(ann.get("/overview?reviewer=%3Cscript%3Ealert(1)%3C/script%3E").text)
        for page in pages:
            assert page.count("<script") == page.count('<script src="/static/') == 1
            assert "\u202e" not in page
            assert "<img" not in page
        assert len(pages) > len([text for text in HOSTILE if text.strip()])
        assert any(visible("user\u202egnp") in page for page in pages)


def test_export_alone_writes_without_serving(folder: Path) -> None:
    import subprocess
    import sys

    with start(folder) as served:
        reviewer(served, "ann").post("/label", value="80")
        served.stop(signal.SIGKILL)
    words = [sys.executable, "-m", "evalkit", "--json", "review", str(folder / "instruct-sft-exact_match"), "--export"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout)["written"][0].endswith("labels-0-100.jsonl")
