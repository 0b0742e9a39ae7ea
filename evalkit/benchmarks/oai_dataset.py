"""The data set a MultipleChoice eval of OpenAI's registry names (hf://…) in, its questions from local files out.

`hf://hendrycks_test?name=SUBJECT&split=SPLIT` is MMLU's folder of CSV files, `hf://hellaswag?split=SPLIT` HellaSwag's
JSONL. Source: openai/evals `evals/elsuite/multiple_choice.py`.
"""

from pathlib import Path
from urllib.parse import parse_qsl, urlparse

from evalkit.benchmarks.files import Record, read_records
from evalkit.benchmarks.mmlu_files import LETTERS, read_questions
from evalkit.benchmarks.oai_registry import Eval
from evalkit.errors import UsageError

_SPLITS = {"validation": "val"}


def read_dataset(spec: Eval) -> list[Record]:
    """Records of question, answers and label, in the order of the data set.

    Raises UsageError where the data set is another one or its files are not named, DataError where they do not fit.
    """
    url = urlparse(str(spec.args["dataset"]))
    asked = dict(parse_qsl(url.query))
    if url.scheme != "hf" or url.netloc not in ("hendrycks_test", "hellaswag"):
        raise UsageError(
            f"eval {spec.name} is of the data set {spec.args['dataset']!r}; hendrycks_test and hellaswag are read"
        )
    if "dataset_files" not in spec.args:
        raise UsageError(
            f"eval {spec.name} is of the hub's {url.netloc}: name its official folder or file here with "
            "--set dataset_files=PATH"
        )
    path = Path(str(spec.args["dataset_files"]))
    return _hellaswag(path) if url.netloc == "hellaswag" else _mmlu(path, asked.get("name", ""), asked.get("split", ""))


def _mmlu(folder: Path, subject: str, split: str) -> list[Record]:
    name = _SPLITS.get(split, split)
    path = folder / name / f"{subject}_{name}.csv"
    questions = read_questions(path)
    return [
        Record({"question": one.text, "answers": list(one.choices), "label": LETTERS.index(one.answer)}, path, line)
        for line, one in enumerate(questions, start=1)
    ]


def _hellaswag(path: Path) -> list[Record]:
    return [
        Record(
            {"question": one.text("ctx"), "answers": one.texts("endings"), "label": int(one.get("label"))},
            path,
            one.line,
        )
        for one in read_records(path)
    ]
