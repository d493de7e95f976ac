"""The front door: what is listed, what loads torch, and who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import weightshare

ROOT = Path(weightshare.__file__).parent

#: A room may import only from rooms before it.
ORDER = [
    ["_version"],
    ["errors"],
    ["_args", "_memory"],
    ["_torch"],
    ["_nests", "_running"],
    ["views"],
    ["explorer"],
    ["geometry"],
    ["sharing"],
    ["counting"],
    ["parameters"],
    ["pattern"],
    ["reference"],
    ["backends"],
    ["functional"],
    ["ledger"],
    ["tying"],
    ["nn"],
    ["convert"],
    ["models"],
    ["symmetry"],
    ["study"],
    ["diagnose"],
    ["testing"],
    ["cli"],
]


def test_every_listed_name_loads():
    for name in weightshare.__all__:
        assert getattr(weightshare, name) is not None
    assert set(weightshare.__all__) <= set(dir(weightshare))


def test_pure_rooms_load_where_torch_cannot():
    code = (
        "import sys; sys.modules['torch'] = None; import weightshare as ws; "
        "ws.Window, ws.Tiled(2), ws.parse_sharing, ws.explain('Conv2d(3, 96, 11, stride=4)', (227, 227)); "
        "import weightshare.cli"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_no_torch_and_no_numpy():
    code = "import sys, weightshare; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def imports():
    """Every module of the package, with the modules that it imports, also for type checkers."""
    modules = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if path.stem == "__init__" else parts)] = path
    for name, path in modules.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                target = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
                inside = {f"{target}.{alias.name}" for alias in node.names}
                found |= (inside & modules.keys()) | ({target} if inside - modules.keys() else set())
        yield name, found


def test_rooms_import_only_from_rooms_before_them():
    rank = {room: place for place, rooms in enumerate(ORDER) for room in rooms}
    for name, found in imports():
        room = name.split(".")[1] if "." in name else None
        for other in found if room else ():
            target = other.split(".")[1]
            assert {room, target} <= rank.keys(), f"{room} or {target} is in no row of ORDER"
            allowed = room == target or rank[target] < rank[room]
            assert allowed, f"{name} imports {other}, which is not before it"


def test_no_module_imports_itself_through_others():
    graph = dict(imports())
    done = set()

    def visit(name, path):
        assert name not in path, f"circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_no_file_is_longer_than_400_lines():
    long = {path.name: n for path in ROOT.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_the_layers_load_without_the_ledger_and_without_jinja2():
    code = (
        "import sys, torch; sys.modules['jinja2'] = None; import weightshare as ws; nn = ws.nn; "
        "assert nn.Conv2d and 'scipy' not in sys.modules, 'only SharedLinear needs scipy'; "
        "layers = [getattr(nn, name) for name in nn.__all__]; "
        "assert 'weightshare.ledger' not in sys.modules; "
        "assert ws.summary(nn.TiedLinear(torch.nn.Linear(2, 3)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_is_imported_before_its_modules():
    """Threads that load different rooms at once may import torch, but not two parts of it."""
    for path in ROOT.rglob("*.py"):
        text = path.read_text()
        if re.search(r"^from torch\.", text, re.MULTILINE):
            assert re.search(r"^(import torch|from torch import .*)$", text, re.MULTILINE), path


def test_names_can_be_loaded_by_threads():
    code = """
import threading, weightshare as ws
failed = []
threading.excepthook = lambda arguments: failed.append(arguments.exc_value)
threads = [threading.Thread(target=getattr, args=(ws, name)) for name in ("summary", "relax", "tie_weights")]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
"""
    subprocess.run([sys.executable, "-c", code], check=True)
