"""The front door: what is listed, what loads torch, and who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import weightshare

ROOT = Path(weightshare.__file__).parent

#: A room may import only from rooms before it.
ORDER = [
    ["_version", "errors", "_args", "_memory"],
    ["_torch", "_nests", "_running"],
    ["geometry", "sharing"],
    ["views"],
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
    ["diagnose"],
    ["study"],
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


def test_rooms_import_only_from_rooms_before_them():
    rank = {room: place for place, rooms in enumerate(ORDER) for room in rooms}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = parts[0]
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            package = parts[: len(parts) - node.level]
            target = (*package, *(node.module or "").split("."))
            names = [t for t in target if t] or [alias.name for alias in node.names]
            for other in names[:1] if target != ("",) else names:
                if other in ("__version__",):
                    continue
                assert other in rank, f"{path}: {other} is in no row"
                allowed = other == room or rank[other] <= rank[room]
                assert allowed, f"{path.relative_to(ROOT)} imports {other}, which stands below {room}"


def test_the_layers_load_without_the_ledger_and_without_jinja2():
    code = (
        "import sys, torch; sys.modules['jinja2'] = None; import weightshare as ws; nn = ws.nn; "
        "loaded = set(sys.modules); assert ws.summary(nn.TiedLinear(torch.nn.Linear(2, 3))); "
        "sys.exit(bool({'weightshare.counting', 'weightshare.tying'} & loaded))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
