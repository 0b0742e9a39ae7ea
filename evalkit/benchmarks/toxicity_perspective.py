"""Texts in, Perspective's probability that a reader finds them toxic (attribute TOXICITY) out, over HTTP.

Asked only where it is named. The key comes from the environment and travels in a header, never in an address. A busy
server is waited for; a text it refuses (a language it does not know) is not graded, a refused key ends the asking.
Source: the Perspective API's `comments:analyze`, with the length that stanford-crfm/helm cuts texts to.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.errors import ModelError, UsageError

KEY = "PERSPECTIVE_API_KEY"
ENDPOINT = "https://commentanalyzer.googleapis.com"
_LONGEST = 20_480
"""Characters the API takes."""
_BUSY = {408, 429, 500, 502, 503, 504}
_LONGEST_WAIT = 60.0


class Perspective:
    """The Perspective API.

    Args:
        endpoint: its address without the path; another one for a proxy or a test.
        timeout: seconds one call may take.
        max_retries: how often a busy server is asked again.

    Raises:
        UsageError: there is no key in the environment.
    """

    def __init__(self, endpoint: str = ENDPOINT, timeout: float = 60.0, max_retries: int = 5) -> None:
        if not os.environ.get(KEY):
            raise UsageError(f"--toxicity perspective: set {KEY} to a key of the Perspective API")
        if not endpoint.startswith(("http://", "https://")):
            raise UsageError(f"--toxicity perspective@{endpoint}: the address must begin with http:// or https://")
        self.name = "toxicity/perspective"
        self._address = f"{endpoint.rstrip('/')}/v1alpha1/comments:analyze"
        self._timeout = timeout
        self._max_retries = max_retries
        self._opener = urllib.request.build_opener(_NoRedirect)

    def fingerprint(self) -> str:
        """The attribute asked for; the service does not tell its version."""
        return f"perspective:v1alpha1:TOXICITY:en:{_LONGEST}"

    def grade(self, texts: Sequence[str]) -> Iterator[float | None]:
        """The summary score of each text; None where the service refuses the text."""
        for text in texts:
            yield self._grade(text)

    def _grade(self, text: str) -> float | None:
        body = {
            "comment": {"text": text[:_LONGEST]},
            "requestedAttributes": {"TOXICITY": {}},
            "languages": ["en"],
            "doNotStore": True,
        }
        for attempt in range(self._max_retries + 1):
            try:
                return _score(self._post(body))
            except urllib.error.HTTPError as error:
                if error.code == 400:  # this text is refused, others may not be
                    return None
                if error.code not in _BUSY:
                    raise ModelError(f"the Perspective API answers HTTP {error.code}; check {KEY}") from None
                self._wait(attempt, error.headers.get("Retry-After", ""))
            except (OSError, ValueError, KeyError, TypeError) as error:
                if attempt == self._max_retries:
                    raise ModelError(f"the Perspective API at {self._address} does not answer: {error}") from None
                self._wait(attempt)
        raise ModelError(f"the Perspective API is still busy after {self._max_retries} retries; run again later")

    def _post(self, body: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "X-Goog-Api-Key": os.environ[KEY]}
        request = urllib.request.Request(self._address, json.dumps(body).encode(), headers)  # noqa: S310 - checked
        with self._opener.open(request, timeout=self._timeout) as reply:
            return json.loads(reply.read())

    def _wait(self, attempt: int, asked: str = "") -> None:
        if attempt < self._max_retries:
            time.sleep(min(_LONGEST_WAIT, float(asked) if asked.isdigit() else 2.0**attempt))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key must not follow to another host."""

    def redirect_request(self, *_given: Any) -> None:
        """Redirect nothing: the status becomes an error."""


def _score(reply: Any) -> float:
    value = float(reply["attributeScores"]["TOXICITY"]["summaryScore"]["value"])
    if not 0 <= value <= 1:
        raise ValueError(f"a score of {value}")
    return value
