"""A Model as an LM of lm-eval's: `--model evalkit --model_args model=hf/./checkpoint`.

lm-eval 0.4.13 finds no plugins by itself; `python -m evalkit.harness run …` registers this class and is lm-eval's
command line otherwise. Later releases find it through the entry point `lm_eval.models`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from evalkit.cache import Cache
from evalkit.errors import ModelError, UsageError
from evalkit.harness.ask import Asker, ChatPrompt, chat_template
from evalkit.models import Model, ModelOptions, load

DEFAULT_CACHE = "reports/.cache/responses.sqlite"


@register_model("evalkit")
class EvalkitLM(LM):  # type: ignore[misc]  # lm_eval has no types
    """lm-eval's requests answered by one of evalkit's models, through evalkit's cache."""

    def __init__(
        self,
        model: str | Model,
        *,
        chat: bool = False,
        cache: str | None = DEFAULT_CACHE,
        offline: bool = False,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        **options: Any,
    ) -> None:
        """Load the model; its weights come with the first request.

        Args:
            model: `provider/name`, a checkpoint folder, or a Model.
            chat: whether lm-eval will apply the chat template (`--apply_chat_template`).
            cache: file of answers; None for none.
            offline: only replay from the cache.
            device: as lm-eval gives it.
            batch_size: taken and ignored, as `max_batch_size`: the engine finds its own.
            max_batch_size: see there.
            options: fields of `ModelOptions`, for example dtype, max_batch_tokens, concurrency, timeout.

        Raises UsageError for an unknown model or option.
        """
        super().__init__()
        self.chat = chat
        self._template: Callable[..., ChatPrompt] | None = None
        self._asker = Asker(
            load(model, _options(chat, device, options)) if isinstance(model, str) else model,
            Cache(Path(cache), offline=offline) if cache else None,
        )

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return self._values("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        return self._values("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Any]) -> list[str]:
        return self._values("generate_until", requests)

    def _values(self, request_type: str, requests: Sequence[Any]) -> list[Any]:
        """lm-eval has no word for a call that failed: one such call ends the run instead of becoming a score."""
        answers = self._asker.ask(request_type, requests)
        if self._asker.stopped is not None:
            raise self._asker.stopped
        failed = [answer.response for answer in answers if answer is not None and answer.response.unscored is not None]
        if failed:
            raise ModelError(
                f"{len(failed)} of {len(requests)} requests to {self._asker.model.name} failed, first "
                f"{failed[0].unscored} ({failed[0].detail}); what was answered is kept, so run the same command again"
            )
        return [answer.value for answer in answers if answer is not None]

    @property
    def tokenizer_name(self) -> str:
        return self._asker.model.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """A name for lm-eval's records; the provider has the template itself."""
        return self.tokenizer_name if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> ChatPrompt:
        if not self.chat:
            raise UsageError("--apply_chat_template needs --model_args model=…,chat=True")
        if self._template is None:
            self._template = chat_template(self._asker.model)
        return self._template(chat_history, add_generation_prompt)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes beside its results."""
        return {"model_name": self._asker.model.name, "model_fingerprint": self._asker.model.fingerprint()}


def _options(chat: bool, device: str | None, more: dict[str, Any]) -> ModelOptions:
    unknown = sorted(set(more) - {"dtype", "max_batch_tokens", "concurrency", "timeout", "max_retries", "num_ctx"})
    if unknown:
        raise UsageError(f"--model_args {unknown[0]}: evalkit's models have no such option")
    return ModelOptions(style="chat" if chat else "plain", device=device or "auto", **more)
