"""The name of a sentence-transformers model in, the function that turns sentences into vectors out.

Optional: the package is loaded only where such a model is named, and what it measures is shown, never counted.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from evalkit.errors import UsageError
from evalkit.judge.reference import Embed


def sentence_embedder(name: str) -> Embed:
    """The `encode` method of a sentence-transformers model, by the path of its folder or its hub name.

    Raises UsageError where the package is not installed or holds no such model.
    """
    try:
        package: Any = import_module("sentence_transformers")
    except ImportError:
        raise UsageError(
            f"--embedding {name} needs the package sentence-transformers: pip install sentence-transformers"
        ) from None
    try:
        model = package.SentenceTransformer(name)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--embedding {name}: no such sentence-transformers model ({reason})") from None

    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[float(value) for value in vector] for vector in model.encode(list(texts))]

    return embed
