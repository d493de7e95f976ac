"""A process for each library: each times its own calls, one at a time, asked over a pipe.

Libraries keep threads of their own, so each has its process and none computes while another is timed.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("serve.py")
#: What each library needs to be imported.
IMPORTS = {"torch": ["torch"], "jax": ["jax"], "tf_keras": ["tf_keras", "tensorflow"]}


class WorkerError(RuntimeError):
    """The worker could not do what it was asked, or died."""


class Worker:
    """The process of one library; started when first asked, and again after it died.

    Args:
        library: A key of `IMPORTS`.
        python: The interpreter that has it.
        environment: Variables beyond this process's own.
    """

    def __init__(self, library: str, python: str = sys.executable, environment: dict[str, str] | None = None):
        self.library = library
        self._command = [python, str(PROGRAM), library]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: str, **arguments: Any) -> Any:
        """The reply; `WorkerError` with the worker's error otherwise."""
        process = self._started()
        try:
            process.stdin.write(json.dumps({"do": request, **arguments}) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = process.stdout.readline()  # type: ignore[union-attr]
        except BrokenPipeError:
            line = ""
        if not line:
            self._process = None
            raise WorkerError(f"its process ended with {process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["value"]

    def _started(self) -> subprocess.Popen[str]:
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


def has(library: str, python: str = sys.executable) -> bool:
    """Whether that interpreter has the library; nothing is imported."""
    find = (
        f"from importlib.util import find_spec; raise SystemExit(not all(map(find_spec, {IMPORTS[library]})))"
    )
    return subprocess.run([python, "-c", find], check=False).returncode == 0
