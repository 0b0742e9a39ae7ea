"""Training events in, curves in TensorBoard or Weights & Biases out, where one of them is installed and asked for."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from finetune.journal import Event, OnStep
from finetune.settings import Settings

_Write = Callable[[dict[str, float], int], None]


def logger(settings: Settings, folder: Path) -> OnStep | None:
    """A watcher that passes every event on to `settings.log`, None where that is none.

    TensorBoard's files go into `folder`/tensorboard. Raises UsageError where the package is missing.
    """
    if settings.log == "none":
        return None
    write = (_tensorboard if settings.log == "tensorboard" else _wandb)(settings, folder)
    return lambda event: write(_numbers(event), event.step)


def both(first: OnStep | None, second: OnStep | None) -> OnStep | None:
    """One watcher that calls two."""
    if first is None or second is None:
        return first or second

    def watch(event: Event) -> None:
        first(event)
        second(event)

    return watch


def _numbers(event: Event) -> dict[str, float]:
    values = {name: getattr(event, name) for name in ("val_loss", "exact_match", "metric")}
    values["train_loss"] = event.loss
    if event.kind == "step":
        values |= {"lr": event.lr, "grad_norm": event.grad_norm, "tokens_per_second": event.tokens_per_second}
    return {f"{event.kind}/{name}": value for name, value in values.items() if value is not None}


def _tensorboard(settings: Settings, folder: Path) -> _Write:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(f"log tensorboard needs the package tensorboard: pip install tensorboard ({error})") from None
    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return write


def _wandb(settings: Settings, folder: Path) -> _Write:
    try:
        wandb: Any = import_module("wandb")
    except ImportError as error:
        raise UsageError(f"log wandb needs the package wandb: pip install wandb ({error})") from None
    # The same folder name is the same run, so a resumed training goes on in it.
    run: Any = wandb.init(project="evalkit", id=Path(settings.out).name, resume="allow", config=asdict(settings))
    return lambda numbers, step: run.log(numbers, step=step)
