"""Keys leave no trace in messages, and other words stay whole."""

import pytest

from evalkit.models.calls import Faulty
from evalkit.models.redact import MASK, redact


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcDEF0123456789",
        "sk-abc123*********wxyz",
        "hf_AbCdEfGhIjKlMnOp",
        "gsk_0123456789abcdef",
        "xai-0123456789abcdef",
        "nvapi-0123456789abcdef",
        "xoxb-0123456789-abcdef",
        "AKIA0123456789ABCDEF",
        "ghp_0123456789abcdefABCDEF",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.abc-DEF_123",
    ],
)
def test_the_shapes_of_well_known_keys_are_masked(key: str) -> None:
    assert redact(f"Incorrect API key provided: {key}.").startswith(f"Incorrect API key provided: {MASK}")
    assert key not in redact(f"Incorrect API key provided: {key}.")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MY_TOKEN", "DB_PASSWORD", "APP_SECRET"])
def test_the_values_of_variables_named_like_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "plain words without shape")
    assert redact("it was plain words without shape!") == f"it was {MASK}!"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh",
        "headers: {'authorization': 'Bearer abcdefgh'}",
        "x-api-key: abcdefgh",
        '{"api-key": "abcdefgh"}',
        "Authorization: Basic abcdefgh",
        "/v1/models?api_key=abcdefgh&page=2",
        "http://me:abcdefgh@host/v1",
    ],
)
def test_keys_in_headers_and_addresses_are_masked(text: str) -> None:
    assert "abcdefgh" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn-based models are fine",
        "hf-internal-testing is a name",
        "HTTP 429: 10 tokens per minute",
        "the secret of 42",
        "connect to http://127.0.0.1:8000/v1",
    ],
)
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


def test_a_short_value_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "no")
    assert redact("not now") == "not now"


def test_a_long_message_is_cut() -> None:
    assert len(redact("x" * 10_000)) == 500


def test_every_fault_masks_its_own_words() -> None:
    fault = Faulty("http", "sent Bearer abcdefgh", retry=False)
    assert "abcdefgh" not in fault.detail + str(fault) + repr(fault)
