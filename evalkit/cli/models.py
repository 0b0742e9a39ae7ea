"""`evalkit models`: which models the Ollama server has, and `--pull NAME` to fetch one."""

from dataclasses import asdict
from typing import Annotated

import typer

from evalkit.errors import UsageError


def models(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="Whose models; only an Ollama server manages its own.")] = "ollama",
    pull: Annotated[str | None, typer.Option("--pull", help="Fetch this model first.")] = None,
) -> None:
    """List the models of the Ollama server (here, or at OLLAMA_HOST)."""
    from evalkit.models.ollama_server import list_models, pull_model

    output = context.obj
    if provider != "ollama":
        raise UsageError(f"{provider}: only an Ollama server tells and fetches its models; leave the name out")
    if pull is not None:
        name = pull.removeprefix("ollama/")
        with output.progress(f"pull {name}") as progress:
            show = None if progress is None else (lambda status, done, total: progress(done or 0, total or 0))
            pull_model(name, show)
    found = list_models()
    output.table(("model", "digest"), [(f"ollama/{one.name}", one.digest[:12]) for one in found])
    if not found:
        output.note("the server has no model yet: evalkit models --pull llama3")
    output.document({"models": [asdict(one) for one in found]})
