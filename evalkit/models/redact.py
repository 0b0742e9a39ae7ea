"""Text that may hold a key in, the same text without it out.

Applied wherever a server's words or an exception become a message: a provider may echo the key that it was sent. Two
rules: the values of environment variables that are named like secrets, and the shapes of well-known keys. Of what a
model answers nothing is touched but the very key that its server was sent.
"""

import os
import re
from dataclasses import replace

from evalkit.task import Response

MASK = "[key]"
_SHORTEST = 8
"""A shorter value ("none", "test") is no secret, and masking it would tear words apart."""
_SECRET_NAME = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|hf|gsk|xai|pplx|nvapi|ghp|gho|glpat|xox[abprs]|AIza|AKIA)[-_]?[A-Za-z0-9*][A-Za-z0-9_*.-]{7,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]+)?"
)
_HEADERS = re.compile(
    r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?basic|bearer|(?:x-)?api[-_]?key['\"]?\s*[:=])\s*['\"]?[^\s'\",}&]+"
)
_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_MIXED = re.compile(r"\d|\*|[A-Z].*[a-z]|[a-z].*[A-Z]")


def redact(text: str, limit: int = 500) -> str:
    """The text with every secret masked, cut to `limit` characters."""
    for value in sorted(_known_secrets(), key=len, reverse=True):
        text = text.replace(value, MASK)
    text = _HEADERS.sub(rf"\1 {MASK}", text)
    text = _SHAPES.sub(_mask_shape, text)
    return _USER_INFO.sub(f"{MASK}@", text)[:limit]


def without_key(response: Response, name: str) -> Response:
    """The response with the key masked that the environment variable `name` holds, should a server echo it."""
    key = os.environ.get(name, "")
    if len(key) < _SHORTEST:
        return response
    if any(key in token for alternatives in response.top_logprobs for token, _ in alternatives):
        top = tuple(tuple((token.replace(key, MASK), at) for token, at in one) for one in response.top_logprobs)
        response = replace(response, top_logprobs=top)
    return replace(response, text=response.text.replace(key, MASK)) if key in response.text else response


def _known_secrets() -> list[str]:
    return [value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= _SHORTEST]


def _mask_shape(match: re.Match[str]) -> str:
    # "sk-learn-based" and "hf-internal-testing" are words: a key has digits, stars or mixed case.
    return MASK if _MIXED.search(match.group()) else match.group()
