"""Starts and stops the servers of this folder, each in a process of its own."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Loopback:
    """A running server; use as a context manager.

    Args:
        kind: "openai", "ollama" or "hub".
        arguments: what the server's own command line takes.
    """

    def __init__(self, kind: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"servers.{kind}_server", *arguments],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def plan(self, *faults: dict[str, Any], **settings: Any) -> None:
        """Begin anew: nothing counted, these faults, these settings."""
        self._post("/_plan", {"faults": list(faults), **settings})

    def kill_at(self, pid: int, call: int, number: int = signal.SIGKILL) -> None:
        """Send a client a signal when that call (counted since the last plan) arrives."""
        self._post("/_kill", {"pid": pid, "at": call, "signal": int(number)})

    def stats(self) -> dict[str, Any]:
        """What was counted since the last plan."""
        with _NO_PROXY.open(f"{self.url}/_stats", timeout=10) as answer:
            counted: dict[str, Any] = json.load(answer)
            return counted

    def close(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> "Loopback":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, path: str, value: Any) -> None:
        request = urllib.request.Request(self.url + path, json.dumps(value).encode(), method="POST")
        with _NO_PROXY.open(request, timeout=10) as answer:
            answer.read()
