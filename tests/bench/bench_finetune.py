"""Instruction fine-tuning on the book's data, batch 8: evalkit, its parts, TRL.

GPT-2-124M shape in float32 on one thread; and, where CUDA is there, a Llama of 8B shape in bfloat16 with FlexAttention.
The second table has never been made yet: no GPU was at hand.

Every variant is a process of its own, starts from the same random weights and trains on the same rows in the same
order (TRL's packing packs them into blocks as it will). Measured are the CPU seconds of whole optimizer steps after
the first; one thread, so that a busy machine changes little.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import SHARED, Figure, Result, peer_python
from large import LORA_RANK, training_that_fits, write_llama_8b
from models import write_gpt2

from finetune.flops import known_peak

STEPS = 8
GPU_STEPS, GPU_WARM_UP = 24, 4
"""Steps on a GPU, and how many of them go by uncounted while kernels are compiled."""
BATCH = 8
_HERE = Path(__file__).parent
_TRL = ("trl==1.16.0", "transformers==5.23.0", "torch==2.13.0", "numpy", "peft==0.21.2")
_OURS = {
    "evalkit": [],
    "evalkit, rows padded instead of a trie": ["--padded"],
    "evalkit, head on every position": ["--whole-head"],
    "evalkit, GELU as in transformers": ["--slow-gelu"],
    "evalkit, freed memory given back": ["--give-back"],
    "plain padded loop (transformers' own loss, AdamW)": ["--plain"],
}
_THEIRS = {
    "TRL SFTTrainer, defaults": [],
    "TRL SFTTrainer, no gradient checkpointing": ["--no-checkpointing"],
    "TRL SFTTrainer, packing": ["--packing"],
}
_OURS_ON_GPU = {
    "8B: evalkit, FlexAttention": ["--attention", "flex"],
    "8B: evalkit, FlexAttention, checkpointing": ["--attention", "flex", "--checkpointing"],
    "8B: evalkit, dense mask": [],
    "8B: evalkit, rows padded": ["--padded"],
}
_THEIRS_ON_GPU = {"8B: TRL SFTTrainer, defaults": [], "8B: TRL SFTTrainer, packing": ["--packing"]}


def run() -> Result:
    """CPU seconds per sample and peak memory of every variant, and the loss of its first and last step."""
    data = SHARED / "instruct/instruction-data.json"
    if not data.is_file():
        raise RuntimeError(f"needs the book's data in {data}: set EVALKIT_SHARED_DATA")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, rows = write_gpt2(folder / "gpt2"), _write_rows(data, folder / "rows.json", STEPS)
        ours = {n: _measure(n, sys.executable, "train_ours.py", [model, rows, *o]) for n, o in _OURS.items()}
        python = str(peer_python("trl", _TRL))
        theirs = {n: _measure(n, python, "train_trl.py", [model, rows, *o]) for n, o in _THEIRS.items()}
        on_gpu, note = _on_gpu(data, folder, python)
    return Result(
        f"Fine-tuning GPT-2 124M (random weights), batch {BATCH}, float32, {STEPS - 1} steps, one thread",
        [*ours.values(), *theirs.values(), *on_gpu],
        _ratios(ours, theirs),
        (
            "CPU s are per sample. Targets: 3 times TRL's defaults, 2 times TRL with packing, no more memory than TRL.",
            note,
        ),
    )


def _on_gpu(data: Path, folder: Path, python: str) -> tuple[list[Figure], str]:
    """The bfloat16 figures of a Llama of 8B shape, and what to know of them; no figures where they cannot be had."""
    import torch

    if not torch.cuda.is_available():
        return [], "8B shape in bfloat16, FlexAttention and MFU: this table needs a CUDA GPU; none is here."
    free, card = torch.cuda.mem_get_info()[0], torch.cuda.get_device_name()
    trained = training_that_fits(free)
    if trained is None:
        return [], f"8B shape in bfloat16: needs more GPU memory than the {free / 1e9:.0f} GB that are free."
    model, rows = write_llama_8b(folder / "llama"), _write_rows(data, folder / "gpu_rows.json", GPU_STEPS)
    common = [model, rows, "--device", "cuda", *(["--lora", LORA_RANK] if trained == "LoRA" else [])]
    found = {n: _outcome(n, sys.executable, "train_ours.py", [*common, *o]) for n, o in _OURS_ON_GPU.items()}
    found |= {n: _outcome(n, python, "train_trl.py", [*common, *o]) for n, o in _THEIRS_ON_GPU.items()}
    per_sample = next(iter(found.values()))["padded_flops"] / BATCH
    figures = [_gpu_figure(name, outcome, per_sample, known_peak(card)) for name, outcome in found.items()]
    return figures, f"8B shape: {trained} trained in bfloat16 on {card}; wall s per sample, peak MB of the GPU."


def _gpu_figure(name: str, found: dict[str, Any], padded_flops: float, peak: float | None) -> Figure:
    """One line of the GPU's table; `padded_flops` is what a padded batch takes for a sample."""
    figure = _figure(name, found, GPU_WARM_UP)
    speed = 1 / (figure.wall_seconds or 1.0)
    extra = {**figure.extra, "samples per second": round(speed, 2)}
    if peak:
        extra["MFU as if padded"] = round(padded_flops * speed / peak, 4)
        if "flops" in found:
            extra["MFU"] = round(found["flops"] / BATCH * speed / peak, 4)
    return replace(figure, extra=extra)


def _ratios(ours: dict[str, Figure], theirs: dict[str, Figure]) -> dict[str, float]:
    best = ours["evalkit"]
    speed = {f"{name} / evalkit, CPU seconds": _over(other, best) for name, other in ({**ours, **theirs}).items()}
    del speed["evalkit / evalkit, CPU seconds"]
    least = min(figure.peak_mb or 0.0 for figure in theirs.values())
    return {**speed, "peak memory, leanest TRL / evalkit": least / (best.peak_mb or 1.0)}


def _over(other: Figure, best: Figure) -> float:
    return (other.cpu_seconds or 0.0) / (best.cpu_seconds or 1.0)


def _measure(name: str, python: str, script: str, arguments: Sequence[Any]) -> Figure:
    return _figure(name, _outcome(name, python, script, arguments), 1)


def _outcome(name: str, python: str, script: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """The line of JSON that a script prints. RuntimeError with the end of its stderr where it fails."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _figure(name: str, found: dict[str, Any], warm_up: int) -> Figure:
    """Seconds per sample of the steps after the first `warm_up`."""
    steps = [seconds / found["samples_per_step"] for seconds in found["cpu"][warm_up:]]
    waits = [seconds / found["samples_per_step"] for seconds in found["wall"][warm_up:]]
    extra: dict[str, Any] = {"loss, first and last step": [round(found["losses"][i], 4) for i in (0, -1)]}
    extra["samples per CPU second, per second"] = [round(1 / statistics.mean(times), 2) for times in (steps, waits)]
    if found.get("tokens"):
        extra["tokens computed per step"] = round(found["tokens"])
    return Figure(name, statistics.mean(steps), statistics.mean(waits), found["peak_mb"], extra)


def _write_rows(data: Path, path: Path, steps: int) -> Path:
    """The prompts and responses of all steps, in the order in which evalkit shuffles them."""
    from evalkit.prompts import get_style
    from finetune.batches import Plan
    from finetune.settings import Settings
    from finetune.split import read_parts

    style = get_style("alpaca")
    examples: Any = read_parts(str(data)).train
    plan = Plan(examples, Settings(model="", data="", batch_size=BATCH))
    pieces = [style.pieces(example.entry)[-1] for step in range(steps) for example in plan.batches(step)[0]]
    path.write_text(json.dumps([{"prompt": piece.prompt, "completion": piece.response} for piece in pieces]))
    return path
