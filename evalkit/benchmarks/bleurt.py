"""A local BLEURT checkpoint for transformers in, the score of a text against its references out.

Such a checkpoint (as Elron/bleurt-tiny-512 is) regresses one number from reference and candidate read together.
BLEURT-20 itself has an architecture of its own that transformers does not know; it is refused like any other that does
not fit. Source: Sellam et al., "BLEURT: Learning Robust Metrics for Text Generation", 2020.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError

_LONGEST = 512


class Bleurt:
    """A checkpoint's folder, loaded at its first text; UsageError where it cannot be used."""

    def __init__(self, path: Path) -> None:
        if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
            raise UsageError(f"--set bleurt={path}: give a folder with config.json and .safetensors weights")
        self._path = path

    def score(self, candidate: str, references: Sequence[str]) -> float:
        """The best score over the references; about 0 to 1."""
        import torch

        model, tokenizer = _load(self._path)
        pairs: Any = tokenizer(
            list(references),
            [candidate] * len(references),
            padding=True,
            truncation="longest_first",
            max_length=_LONGEST,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return float(model(**pairs).logits[:, 0].max())


@lru_cache(maxsize=1)
def _load(path: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError:
        raise UsageError("--set bleurt= needs torch and transformers: pip install 'evalkit-llm[local]'") from None
    try:
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            path, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"--set bleurt={path}: transformers cannot load it as a regression ({reason})") from None
    if model.config.num_labels != 1:
        raise UsageError(f"--set bleurt={path}: gives {model.config.num_labels} numbers; a BLEURT model gives one")
    return model.eval(), tokenizer
