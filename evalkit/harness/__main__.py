"""lm-eval's own command line with evalkit's models in it: `python -m evalkit.harness run --model evalkit …`.

    python -m evalkit.harness run --model evalkit --model_args model=hf/./checkpoint --tasks hellaswag

What lm-eval would lose is refused or checked: its two caches do not know which model and which data they hold answers
of, and results it cannot write are only mentioned in its log, with exit code 0.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import EvalkitError, RecordError, UsageError

_FORBIDDEN = {
    "--use_cache": "its key does not hold the model; evalkit keeps answers anyway (--model_args cache=FILE)",
    "--cache_requests": "its key does not hold the data, so old prompts would be scored against new answers",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run lm-eval's command line and exit; 2 and 3 as everywhere in evalkit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(words)
    except EvalkitError as error:
        sys.stderr.write(f"evalkit: {error}\n")
        sys.exit(error.exit_code)


def _run(words: list[str]) -> None:
    from evalkit.harness import require_lm_eval

    require_lm_eval()
    for word in words:
        for option, reason in _FORBIDDEN.items():
            if word.partition("=")[0].replace("-", "_") == option.replace("-", "_"):
                raise UsageError(f"{option}: {reason}; leave it out")
    target = _output_path(words)
    if target is not None:
        _check_writable(target)
    from lm_eval.__main__ import cli_evaluate

    import evalkit.harness.lm  # noqa: F401 - registers the model
    from evalkit.harness.command import quick_command

    started = time.time()
    sys.argv = ["lm-eval", *words]
    with quick_command():
        cli_evaluate()
    if target is not None and not _written_since(target, started):
        raise RecordError(f"--output_path {target}: lm-eval wrote no results there, its log says why; run again")


def _output_path(words: Sequence[str]) -> Path | None:
    for index, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in {"--output_path", "--output-path", "-o"}:
            following = words[index + 1] if index + 1 < len(words) else ""
            return Path(value or following)
    return None


def _check_writable(path: Path) -> None:
    """Raise RecordError where no file can be made at the path, before a model is asked."""
    folder = path.parent if path.suffix == ".json" else path
    probe = folder / ".evalkit-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise RecordError(f"--output_path {path}: cannot be written ({error.strerror}); give another one") from None


def _written_since(path: Path, started: float) -> bool:
    # A second's tolerance: file systems keep times more coarsely than the clock.
    folder = path.parent if path.suffix == ".json" else path
    return any(file.stat().st_mtime >= started - 1 for file in folder.rglob("*.json"))


if __name__ == "__main__":
    main()
