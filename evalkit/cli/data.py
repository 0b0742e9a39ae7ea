"""`evalkit data pull TASK…` and `evalkit data mmlu FOLDER`: local copies of the hub's data sets for `--data-dir`."""

from pathlib import Path
from typing import Annotated

import typer

from evalkit.errors import UsageError


def data(
    context: typer.Context,
    action: Annotated[str, typer.Argument(help="pull (from the hub) or mmlu (from the official CSV files).")],
    names: Annotated[list[str], typer.Argument(help="Tasks of lm-eval's for pull; the CSV folder for mmlu.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Folder to write; `harness --data-dir` reads it.")],
    include_path: Annotated[Path | None, typer.Option("--include-path", help="Folder of further task files.")] = None,
) -> None:
    """Make a folder of data sets for use without network."""
    output = context.obj
    if action == "pull":
        from evalkit.harness import require_lm_eval
        from evalkit.harness.mirror import pull

        require_lm_eval()
        kept = pull(names, data_dir, include_path, output.note)
    elif action == "mmlu" and len(names) == 1:
        from evalkit.harness.mirror import MMLU, mirror_mmlu

        mirror_mmlu(Path(names[0]), data_dir)
        kept = [MMLU]
    else:
        raise UsageError("say `evalkit data pull TASK…` or `evalkit data mmlu FOLDER`")
    output.table(("data set",), [(name,) for name in kept])
    output.note(f"data sets in {data_dir}: {len(kept)}")
    output.document({"data_dir": str(data_dir), "data_sets": kept})
