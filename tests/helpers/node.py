"""Run a script of the explorer's tests under Node, and read its modules."""

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from .programs import WEB, require


def run_node(script: str, cases: Iterable[Any] = (), *arguments: str) -> list[Any]:
    """Return the JSON lines that a script in `web/tests` prints for JSON lines on its standard input."""
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    return [
        json.loads(line) for line in _run(str(WEB / "tests" / script), *arguments, given=lines).splitlines()
    ]


def read_export(module: str, name: str) -> Any:
    """Return the JSON form of a value that a module in `web/src` exports."""
    path = (WEB / "src" / module).as_uri()
    code = f"import {{ {name} }} from {json.dumps(path)}; console.log(JSON.stringify({name}))"
    return json.loads(_run("--input-type=module", "--eval", code))


def _run(*arguments: str, given: str = "") -> str:
    result = subprocess.run(
        [require("node"), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
