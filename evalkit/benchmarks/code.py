"""A model's reply in, a completion of the asked-for function out: the code of a chat reply, or the text as it is.

Where code ends and prose begins is what Python's own parser says. It reads text of a model, which may nest deeply
enough to exhaust or crash an interpreter, so it runs in a child with little time and memory; no text is run.
"""

import ast
import os
import re
import subprocess
import sys
import textwrap

_FENCED = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)\n?", re.MULTILINE)
_MOST_FENCES = 20
_CODE_STARTS = ("import ", "from ", "def ", "async def ", "class ", "@")

_MOST_CODE = 200_000
"""Characters; a longer reply is no function."""
_SECONDS = 5.0
_PARSER = """
import ast, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
    resource.setrlimit(resource.RLIMIT_CPU, (4, 4))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, ValueError, OSError):
    pass
lines = sys.stdin.buffer.read().decode("utf-8").split("\\n")
end = len(lines)
while end > 0:
    try:
        ast.parse("\\n".join(lines[:end]))
        break
    except SyntaxError as error:
        # What is wrong at a line is wrong in every beginning with it; of f-strings old parsers give no true line.
        known = error.lineno is not None and not str(error.msg).startswith("f-string")
        end = min(end, error.lineno) - 1 if known else end - 1
    except (ValueError, RecursionError, MemoryError):
        end = 0
sys.stdout.write(str(max(end, 0)))
"""


def extract_completion(reply: str, prompt: str, entry_point: str) -> str:
    """What to put after a prompt that ends inside a function, so that the program defines `entry_point`.

    A fenced block that defines the function is preferred, then the first block, then code between prose. A whole
    function follows the prompt as a second definition; a bare body is indented as the prompt's own.

    Args:
        reply: what the model wrote.
        prompt: the beginning of the program: imports, a signature, a docstring.
        entry_point: the name of the function.
    """
    text = reply.removeprefix("\ufeff").replace("\r\n", "\n")
    if text.startswith(prompt):
        return text[len(prompt) :]
    blocks = _blocks(text)
    defines = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(entry_point)}\b", re.MULTILINE)
    whole = next((block for block in blocks if defines.search(block)), None)
    if whole is None and not blocks and defines.search(text):
        whole = _between_prose(text)
    if whole is not None:
        # a prompt that ends in a bare signature needs a body before anything may follow it
        return ("\n" if _ends_in_a_body(prompt) else "    pass\n\n") + textwrap.dedent(whole)
    return _as_body(blocks[0]) if blocks else text


def _blocks(text: str) -> list[str]:
    """What stands in fences; first what is a program with fences of its own, in a docstring say."""
    plain = [block for block in _FENCED.findall(text) if block.strip()]
    longer = [block for block in _between_fence_lines(text) if block.strip() and block not in plain]
    return [*(block for block in longer if _is_program(block)), *plain]


def _between_fence_lines(text: str) -> list[str]:
    """What stands between a fence at the start of a line and each later line that is such a fence and nothing else."""
    fences = list(_FENCE.finditer(text))[:_MOST_FENCES]
    return [
        text[begin.end() : end.start()]
        for place, begin in enumerate(fences)
        for end in fences[place + 1 :]
        if end[1] == begin[1] and not end[2].strip()
    ]


def _is_program(block: str) -> bool:
    code = textwrap.dedent(block)
    return parsing_lines(code) == code.count("\n") + 1


def _as_body(block: str) -> str:
    first = next(line for line in block.split("\n") if line.strip())
    if first[0].isspace():
        return block
    return "\n".join(f"    {line}" if line.strip() else line for line in block.split("\n"))


def _between_prose(text: str) -> str:
    """From the first line that begins code to the last one up to which the text parses as Python."""
    lines = text.split("\n")
    start = next((place for place, line in enumerate(lines) if line.startswith(_CODE_STARTS)), 0)
    code = lines[start:]
    return "\n".join(code[: parsing_lines("\n".join(code)) or len(code)])


def parsing_lines(code: str) -> int:
    """How many of the first lines of a text are a Python program; 0 where none are or the parser does not survive."""
    if len(code) > _MOST_CODE:
        return 0
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PARSER],
            input=code.encode("utf-8", "replace"),
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
        )
    except subprocess.TimeoutExpired:
        return 0
    return int(done.stdout) if done.returncode == 0 and done.stdout.isdigit() else 0


def _ends_in_a_body(prompt: str) -> bool:
    """Whether a benchmark's own prompt is a whole program, so that more may follow it."""
    try:
        ast.parse(prompt)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def cut_at(text: str, stops: tuple[str, ...]) -> str:
    """The text up to the first of the stop texts."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places, default=len(text))]
