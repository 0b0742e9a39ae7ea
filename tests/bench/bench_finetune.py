"""Instruction fine-tuning of a GPT-2-124M shape on the book's data, batch 8, float32: evalkit, its parts, TRL.

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
from pathlib import Path
from typing import Any

from harness import SHARED, Figure, Result, peer_python
from models import write_gpt2

STEPS = 8
BATCH = 8
_HERE = Path(__file__).parent
_TRL = ("trl==1.16.0", "transformers==5.23.0", "torch==2.13.0", "numpy")
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


def run() -> Result:
    """CPU seconds per sample and peak memory of every variant, and the loss of its first and last step."""
    data = SHARED / "instruct/instruction-data.json"
    if not data.is_file():
        raise RuntimeError(f"needs the book's data in {data}: set EVALKIT_SHARED_DATA")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, rows = write_gpt2(folder / "gpt2"), _write_rows(data, folder / "rows.json")
        ours = {n: _measure(n, sys.executable, "train_ours.py", [model, rows, *o]) for n, o in _OURS.items()}
        python = str(peer_python("trl", _TRL))
        theirs = {n: _measure(n, python, "train_trl.py", [model, rows, *o]) for n, o in _THEIRS.items()}
    return Result(
        f"Fine-tuning GPT-2 124M (random weights), batch {BATCH}, float32, {STEPS - 1} steps, one thread",
        [*ours.values(), *theirs.values()],
        _ratios(ours, theirs),
        ("CPU s are per sample. Targets: 3 times TRL's defaults, 2 times TRL with packing, no more memory than TRL.",),
    )


def _ratios(ours: dict[str, Figure], theirs: dict[str, Figure]) -> dict[str, float]:
    best = ours["evalkit"]
    speed = {f"{name} / evalkit, CPU seconds": _over(other, best) for name, other in ({**ours, **theirs}).items()}
    del speed["evalkit / evalkit, CPU seconds"]
    least = min(figure.peak_mb or 0.0 for figure in theirs.values())
    return {**speed, "peak memory, leanest TRL / evalkit": least / (best.peak_mb or 1.0)}


def _over(other: Figure, best: Figure) -> float:
    return (other.cpu_seconds or 0.0) / (best.cpu_seconds or 1.0)


def _measure(name: str, python: str, script: str, arguments: Sequence[Any]) -> Figure:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [python, str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    steps = [seconds / found["samples_per_step"] for seconds in found["cpu"][1:]]
    waits = [seconds / found["samples_per_step"] for seconds in found["wall"][1:]]
    extra: dict[str, Any] = {"loss, first and last step": [round(found["losses"][i], 4) for i in (0, -1)]}
    extra["samples per CPU second, per second"] = [round(1 / statistics.mean(times), 2) for times in (steps, waits)]
    if found.get("tokens"):
        extra["tokens computed per step"] = round(found["tokens"])
    return Figure(name, statistics.mean(steps), statistics.mean(waits), found["peak_mb"], extra)


def _write_rows(data: Path, path: Path) -> Path:
    """The prompts and responses of all steps, in the order in which evalkit shuffles them."""
    from evalkit.prompts import get_style
    from finetune.batches import Plan
    from finetune.settings import Settings
    from finetune.split import read_parts

    style = get_style("alpaca")
    examples: Any = read_parts(str(data)).train
    plan = Plan(examples, Settings(model="", data="", batch_size=BATCH))
    pieces = [style.pieces(example.entry)[-1] for step in range(STEPS) for example in plan.batches(step)[0]]
    path.write_text(json.dumps([{"prompt": piece.prompt, "completion": piece.response} for piece in pieces]))
    return path
