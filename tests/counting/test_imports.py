"""The package `counting` needs neither torch nor numpy, and imports only from packages below it."""

import ast
import subprocess
import sys
from pathlib import Path

import weightshare.counting

ALLOWED = {"errors", "_args", "geometry", "sharing", "views", "explorer"}


def test_counting_works_without_torch_and_numpy():
    program = (
        "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "import weightshare as ws, weightshare.geometry, weightshare.sharing, weightshare.cli\n"
        "answer = ws.explain('Conv2d(3, 8, 3, sharing=Mapped([[0, 1], [1, 0]]))', 4)\n"
        "print(answer.parameters, len(str(answer)) > 0, len(answer._repr_html_()) > 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["448", "True", "True"]


def test_modules_import_only_from_allowed_packages():
    folder = Path(weightshare.counting.__file__).parent
    own = {path.stem for path in folder.glob("*.py")}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert str(node.module).partition(".")[0] in ALLOWED, path
            elif isinstance(node, ast.ImportFrom) and node.level == 1:
                assert {str(node.module)} <= own or {alias.name for alias in node.names} <= own, path
            elif isinstance(node, ast.ImportFrom | ast.Import):
                first = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                assert str(first).partition(".")[0] in {*sys.stdlib_module_names, "jinja2"}, path
