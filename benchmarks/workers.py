"""Worker processes, one per library, which receive requests over a pipe and time their own calls.

Libraries have their own threads. Separate processes ensure that no library computes while another is timed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("serve.py")
#: Packages that each library needs.
IMPORTS = {"torch": ["torch"], "jax": ["jax"], "tf_keras": ["tf_keras", "tensorflow"]}


class WorkerError(RuntimeError):
    """A request that failed, or a worker process that ended."""


class Worker:
    """The process of one library, started for the first request, and again after it has ended.

    Args:
        library: A key of `IMPORTS`.
        python: Path of an interpreter that has the library.
        environment: Additional environment variables.
    """

    def __init__(self, library: str, python: str = sys.executable, environment: dict[str, str] | None = None):
        self.library = library
        self._command = [python, str(PROGRAM), library]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: str, **arguments: Any) -> Any:
        """Send a request and return the reply; raise `WorkerError` if it fails."""
        process = self._start()
        try:
            process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = process.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = ""
        if not line:
            self._process = None
            raise WorkerError(f"the process ended with code {process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["value"]

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, text=True, env=self._environment
            )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def has_library(library: str, python: str = sys.executable) -> bool:
    """Return whether an interpreter has the library, without importing it."""
    find = (
        f"from importlib.util import find_spec; raise SystemExit(not all(map(find_spec, {IMPORTS[library]})))"
    )
    return subprocess.run([python, "-c", find], check=False).returncode == 0
