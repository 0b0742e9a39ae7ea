"""The bridge to EleutherAI's lm-eval, both ways: its tasks through evalkit's models, evalkit's models inside it.

The only room that imports lm_eval. What lm-eval defines (prompts, targets, filters, metrics, group averages) is taken
from it unchanged, so numbers agree; what costs time or loses results (the global task index, templates compiled anew
for each prompt, bootstraps, its caches, writing at the very end) is done here instead.

    index      a task's name → the folders that define it
    tasks      names → lm-eval's task objects
    data       where their data come from: a local mirror of the hub first
    mirror     making such a mirror
    ask        lm-eval's requests → a Model's answers, through the cache
    evaluate   tasks + model → Runs (results: rows and metrics; spread: their standard errors)
    lm         a Model as lm-eval's LM; `python -m evalkit.harness run --model evalkit …`
    command    that command line with the named tasks alone in its index
"""

from evalkit.errors import UsageError


def require_lm_eval() -> None:
    """Raise UsageError where lm-eval is not installed."""
    try:
        import lm_eval  # noqa: F401
    except ImportError:
        raise UsageError("lm-eval's tasks need the package lm_eval: pip install 'evalkit-llm[bench]'") from None
