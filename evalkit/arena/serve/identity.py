"""The answers of a battle and its models' names in, what gave a model away out.

A vote is no longer blind where an answer names its own model or says who made it. Words that the person wrote first
are no leak.
"""

import re
from collections.abc import Sequence

from evalkit.arena.journal import Battle

_MAKERS = (
    r"openai|chatgpt|gpt-?[345]\w*|anthropic|claude|google|gemini|gemma|bard|deepmind|meta ai|llama|mistral(?: ai)?|"
    r"mixtral|qwen|tongyi|alibaba(?: cloud)?|deepseek|microsoft|phi-?\d|cohere|command[- ]r|xai|grok|vicuna|lmsys|"
    r"zephyr|hugging ?face|nvidia|ibm|granite|01\.ai|baichuan|zhipu|chatglm|moonshot|kimi|stability ai|"
    r"allen institute|olmo|falcon"
)
_CLAIM = re.compile(
    r"\b(?:i am|i'm|i’m|my name is|call me|as an? (?:ai )?(?:language )?model (?:by|of|from|made by)|"
    r"(?:created|developed|trained|made|built) by)\b[^.\n]{0,40}?\b(" + _MAKERS + r")\b",
    re.IGNORECASE,
)
_COMMON = frozenset(
    {
        "base",
        "best",
        "chat",
        "checkpoint",
        "checkpoints",
        "chosen",
        "demo",
        "echo",
        "fake",
        "final",
        "hash",
        "instruct",
        "large",
        "latest",
        "lora",
        "merged",
        "mini",
        "model",
        "models",
        "ollama",
        "openai",
        "preview",
        "small",
        "test",
        "tiny",
        "tuned",
        "weak",
    }
)
"""Parts of model names that answers use for other reasons, or that name a provider and not a model."""


def leaked_identity(battle: Battle) -> str | None:
    """The words that give a model of the battle away, None where there are none."""
    asked = " ".join(turn.prompt for turn in battle.turns).lower()
    for turn in battle.turns:
        for answer, name in ((turn.answer_a, battle.model_a), (turn.answer_b, battle.model_b)):
            if answer and (found := _given_away(answer, name, asked)) is not None:
                return found
    return None


def _given_away(answer: str, name: str, asked: str) -> str | None:
    claim = _CLAIM.search(answer)
    if claim is not None:
        return claim.group(0)
    lowered = answer.lower()
    for word in name_words(name):
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lowered) and word not in asked:
            return word
    return None


def without_names(text: str, name: str) -> str:
    """A text without what tells which model it is about: its name, its server's address, its provider."""
    provider, _, rest = name.partition("/")
    remote, _, address = rest.partition("@")
    server = address.partition("//")[2].partition("/")[0]
    known = [name, rest, remote, address, server, *server.rsplit(":", 1), provider, *name_words(name)]
    for word in sorted({one for one in known if len(one) > 1}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "…", text, flags=re.IGNORECASE)
    # The variables that hold a provider's address and key begin with its name.
    return re.sub(rf"\b{re.escape(provider)}_\w+", "…", text, flags=re.IGNORECASE)


def name_words(name: str) -> Sequence[str]:
    """The words of a model's name that nothing but the model is called by."""
    last = name.partition("@")[0].rstrip("/").rpartition("/")[2].lower()
    parts = [part for part in re.split(r"[^a-z]+", last) if len(part) >= 4 and part not in _COMMON]
    return [last, *parts] if len(last) >= 4 and last not in _COMMON else parts
