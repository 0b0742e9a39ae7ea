"""Greedy answers of mixed lengths by the same random-weights GPT-2-124M: evalkit against lm-eval's HF `generate_until`.

The prompts are Dolly's (a question, often with a passage; 40 to some 600 tokens), once in the Alpaca style, whose
preamble rows share, and once without it. The model is edited to end an answer at certain positions, so that the rows of
a batch end at different times, as real ones do. One thread and CPU seconds of the generation alone; each system in a
process of its own.
"""

import json
import tempfile
from pathlib import Path

from harness import SHARED, Figure, Result, run_local_work
from models import end_answers_every, write_gpt2

PROMPTS = 64
PERIOD = 96


def run() -> Result:
    """CPU seconds of both on both sets of prompts, and how many answers are the same text."""
    data = SHARED / "instruct/dolly_prompts_sample.jsonl"
    if not data.is_file():
        raise RuntimeError(f"needs the prompts in {data}: set EVALKIT_SHARED_DATA")
    figures: list[Figure] = []
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = end_answers_every(write_gpt2(folder / "gpt2"), PERIOD)
        for label, cut in (("no preamble", True), ("Alpaca style", False)):
            requests = _write_requests(data, folder / f"{label}.json", cut=cut)
            ours, texts = run_local_work(f"evalkit, {label}", "evalkit", "generate", checkpoint, requests)
            theirs, others = run_local_work(
                f"lm-eval generate_until, {label}", "lm-eval", "generate", checkpoint, requests
            )
            figures += [ours, theirs]
            ratios[f"{label}: lm-eval / evalkit, CPU seconds"] = (theirs.cpu_seconds or 0) / (ours.cpu_seconds or 1)
            same = sum(one == other for one, other in zip(texts, others, strict=True))
            ratios[f"{label}: share of answers that are the same text"] = same / len(texts)
    return Result(f"Greedy generation, GPT-2 124M, {PROMPTS} prompts, one thread", figures, ratios)


def _write_requests(data: Path, path: Path, *, cut: bool) -> Path:
    prompts = [json.loads(line)["prompt"] for line in data.read_text(encoding="utf-8").splitlines()[:PROMPTS]]
    if cut:
        prompts = [prompt.split("### Instruction:\n", 1)[1] for prompt in prompts]
    path.write_text(json.dumps([[prompt, PERIOD] for prompt in prompts]), encoding="utf-8")
    return path
