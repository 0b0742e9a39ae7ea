"""What comes from a model or a file stands in the page as text, and nothing in the page can run or load."""

import base64
import hashlib
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from report_runs import BASE, SFT, changed, demo_runs, instruct_run, make_run

from evalkit.record import Row
from evalkit.report import GateRule, GateView, build_report
from evalkit.report.html import Html, tag
from evalkit.report.text import number, one_line, short_names, signed
from evalkit.visible import INVISIBLE, visible

HOSTILE = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "<!--<script>window.pwned=1",
    "a\u2028window.pwned=1\u2029b",
    "<svg onload=window.pwned=1>",
    "\"'><svg/onload=window.pwned=1>",
    '<a href="javascript:window.pwned=1">x</a>',
    "[x](javascript:window.pwned=1) ![y](https://evil.example/leak)",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "{{script}}{{constructor.constructor('window.pwned=1')()}}",
    "<style>@import 'https://evil.example/x.css'</style>",
    "<base href=https://evil.example><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<form action=https://evil.example><input autofocus onfocus=window.pwned=1></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=window.pwned=1>'>",
    "\x1b[31mred\x1b[0m\x00\x07",
    "user\u202egnp.exe\u202c \u200b\ufeff\u2066x\u2069",
    "lone surrogate \ud800 end",
    "__proto__",
    "x" * 300_000,
)


class Elements(HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile_run(model: str, right: float) -> object:
    rows = [
        Row(
            f"{text[:40]}-{number}",
            0,
            text,
            text,
            text,
            {"exact_match": float(number % 2 == (right > 0.5))},
            tags=(text[:60],),
            cluster=None,
            detail=text,
            extra={"judge": text, text[:50]: text},
        )
        for number, text in enumerate(HOSTILE)
    ]
    unscored = changed(rows[0], id="unscored", scores={}, unscored="unparsable")
    training = {"data": HOSTILE[0], "leaks": {HOSTILE[1]: {HOSTILE[2]: 3}}}
    settings = {"note": HOSTILE[2], "contamination": list(HOSTILE[:4])}
    return make_run([*rows, unscored], model, training=training, settings=settings, task=f"t{HOSTILE[0]}")


@pytest.fixture(scope="module")
def page() -> str:
    return build_report(demo_runs(), gate=GateView("FAIL", (GateRule("r", "FAIL", "w"),), "words"))


@pytest.fixture(scope="module")
def hostile_page() -> str:
    runs = [hostile_run(f"hf/{HOSTILE[1]}", 0.1), hostile_run(f"hf/{HOSTILE[6]}", 0.9)]
    gate = GateView("PASS", (GateRule(HOSTILE[0], "PASS", HOSTILE[1]),), HOSTILE[2])
    return build_report(runs, title=HOSTILE[2], gate=gate)  # type: ignore[arg-type]


def test_text_is_escaped_and_html_is_not() -> None:
    assert tag("p", "<b>&", Html("<i>")) == "<p>&lt;b&gt;&amp;<i></p>"


def test_attributes_are_quoted_and_named_like_in_html() -> None:
    made = tag("td", class_="a", data_value='"><b>', hidden=True, title=None)
    assert made == '<td class="a" data-value="&quot;&gt;&lt;b&gt;" hidden></td>'


def test_invisible_characters_are_written_out() -> None:
    assert visible("a\u202eb\x00\u200b") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+200B⟩"


def test_line_feeds_tabs_letters_and_emoji_stay_as_they_are() -> None:
    assert visible("a\n\tß 漢 👩\u200d🔬 ❤\ufe0f") == "a\n\tß 漢 👩\u200d🔬 ❤\ufe0f"


def test_numbers_have_a_real_minus_and_no_negative_zero() -> None:
    assert (number(-1234.56), number(-0.01), number(None), signed(2.0), signed(0.0)) == (
        "−1,234.6",
        "0.0",
        "–",
        "+2.0",
        "0.0",
    )


def test_one_line_cuts_with_an_ellipsis() -> None:
    assert one_line("a  b\nc d", 6) == "a b c…"


def test_model_names_are_as_short_as_they_can_be() -> None:
    names = short_names(["hf/./runs/a/best", "hf/./runs/b/best", "openai/gpt-4o-mini"])
    assert list(names.values()) == ["a/best", "b/best", "gpt-4o-mini"]


def test_the_policy_allows_one_script_and_one_style_by_hash_and_nothing_else(page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.group(1).split(";"))
    for name, element in (("script-src", "script"), ("style-src", "style")):
        content = re.search(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert content is not None
        expected = base64.b64encode(hashlib.sha256(content.group(1).encode()).digest()).decode()
        assert rules[name] == f"'sha256-{expected}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_no_element_has_a_style_attribute_an_event_handler_or_an_outside_address(hostile_page: str) -> None:
    for name, attributes in Elements(hostile_page).found:
        assert name not in {"link", "iframe", "img", "object", "embed", "form", "base"}
        assert "style" not in attributes
        assert not [key for key in attributes if key.startswith("on")]
        assert all((attributes.get(key) or "#").startswith("#") for key in ("href", "src", "action"))


def test_hostile_text_adds_no_element(page: str, hostile_page: str) -> None:
    known = {name for name, _ in Elements(page).found}
    assert {name for name, _ in Elements(hostile_page).found} <= known
    assert [name for name, _ in Elements(hostile_page).found].count("script") == hostile_page.count(
        'type="text/plain"'
    ) + 1


def test_the_script_and_the_server_side_show_the_same_characters(page: str) -> None:
    script = re.search(r"const INVISIBLE = /\[(.*?)\]/gu;", page)
    assert script is not None
    pattern = re.sub(r"\\u\{?([0-9a-f]+)\}?", lambda m: f"\\U{m.group(1):0>8}", script.group(1))
    in_script, in_python = re.compile(f"[{pattern}]"), re.compile(f"[{INVISIBLE}]")
    everything = [chr(code) for code in range(0x110000)]
    assert [c for c in everything if in_script.match(c)] == [c for c in everything if in_python.match(c)]


def test_the_page_is_the_same_every_time() -> None:
    runs = [instruct_run(BASE, 0.2, seed=1), instruct_run(SFT, 0.6, seed=2)]
    assert build_report(runs) == build_report(runs)


def test_samples_lie_compressed_in_blocks_that_no_browser_runs(page: str) -> None:
    blocks = re.findall(r'<script type="text/plain" id="chunk-0-0">([A-Za-z0-9+/=]+)</script>', page)
    assert b"capital-000" not in page.encode()[: page.index('<script type="text/plain"')]
    assert b"Capital the words" in zlib.decompress(base64.b64decode(blocks[0]))


def test_a_run_without_metrics_or_rows_still_makes_a_page() -> None:
    run = instruct_run(BASE, 0.5)
    empty = replace(
        run, rows=(), manifest=replace(run.manifest, metrics=type(run.manifest.metrics)({}), status="running")
    )
    assert "is running: 0 of 160 rows are here" in build_report([empty])
