"""Greedy answers of mixed lengths by the same random-weights GPT-2-124M: evalkit against lm-eval's HF `generate_until`.

The prompts are Dolly's (a question, often with a passage; up to some 900 tokens) and the book's, once in the Alpaca
style, whose preamble rows share, and once without it. The model's answers end at different times, as real ones do. One
thread and CPU seconds of the generation alone; each system in a process of its own.
"""

import json
import tempfile
from pathlib import Path

from harness import SHARED, Figure, Result, run_local_work
from models import make_talkative, write_gpt2

PROMPTS = 128
MOST_TOKENS = 96
_DOLLY = SHARED / "instruct/dolly_prompts_sample.jsonl"
_BOOK = SHARED / "instruct/instruction-data.json"


def run() -> Result:
    """CPU seconds of both on both sets of prompts, and how many answers are the same text."""
    if not _DOLLY.is_file() or not _BOOK.is_file():
        raise RuntimeError(f"needs the prompts in {_DOLLY.parent}: set EVALKIT_SHARED_DATA")
    figures: list[Figure] = []
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = make_talkative(write_gpt2(folder / "gpt2"))
        for label, cut in (("no preamble", True), ("Alpaca style", False)):
            requests = _write_requests(folder / f"{label}.json", cut=cut)
            ours, texts = run_local_work(f"evalkit, {label}", "evalkit", "generate", checkpoint, requests)
            theirs, others = run_local_work(
                f"lm-eval generate_until, {label}", "lm-eval", "generate", checkpoint, requests
            )
            figures += [ours, theirs]
            ratios[f"{label}: lm-eval / evalkit, CPU seconds"] = (theirs.cpu_seconds or 0) / (ours.cpu_seconds or 1)
            same = sum(one == other for one, other in zip(texts, others, strict=True))
            ratios[f"{label}: share of answers that are the same text"] = same / len(texts)
    return Result(f"Greedy generation, GPT-2 124M, {PROMPTS} prompts, one thread", figures, ratios)


def _write_requests(path: Path, *, cut: bool) -> Path:
    """Dolly's prompts, then every seventh of the book's, which is sorted by kind of exercise here and there."""
    from evalkit.prompts import Instruction, get_style

    dolly = [json.loads(line)["prompt"] for line in _DOLLY.read_text(encoding="utf-8").splitlines()]
    rows = json.loads(_BOOK.read_text(encoding="utf-8"))[::7]
    book = [get_style("alpaca").prompt(Instruction(row["instruction"], row["input"])) for row in rows]
    prompts = [*dolly, *book][:PROMPTS]
    if cut:
        prompts = [prompt.split("### Instruction:\n", 1)[1] for prompt in prompts]
    path.write_text(json.dumps([[prompt, MOST_TOKENS] for prompt in prompts]), encoding="utf-8")
    return path
