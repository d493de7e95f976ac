"""`weightshare.backends()` works in any order of imports, and reports every reason."""

import subprocess
import sys

import pytest

import weightshare as ws
from weightshare.backends import native
from weightshare.backends.native import library

ORDERS = [
    "import weightshare as ws; ws.backends(); import weightshare.backends; weightshare.backends.choose",
    "import weightshare.backends; weightshare.backends.choose; import weightshare as ws; ws.backends()",
    "from weightshare import backends; backends(); backends.choose",
    "import weightshare.backends as backends; backends(); backends.choose",
    "import weightshare.nn; import weightshare as ws; ws.backends()",
    "import weightshare.backends; from importlib import reload; reload(weightshare.backends)().portable",
    "import weightshare as w; from weightshare.backends import Backends as B; assert type(w.backends()) is B",
]


@pytest.mark.parametrize("code", ORDERS)
def test_the_name_is_a_package_and_a_function(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_the_report(tmp_path, monkeypatch):
    with native.force("off"):
        assert str(ws.backends()) == (
            "native    not available: turned off by WEIGHTSHARE_NATIVE=off\n"
            "portable  available: torch operators, on every device"
        )
        assert not ws.backends().native.broken
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    with native.force("on"):
        found = ws.backends()
    assert found.native == native.Status(None, "the package was installed without a C compiler")
    assert found.portable.available
    assert not found.native.available


def test_the_report_names_the_instruction_sets():
    with native.force("on"):
        status = ws.backends().native
        if not status.available:
            pytest.skip("the package was installed without a C compiler")
        text = f"available: {status.runnable[0]} (this processor can run {', '.join(status.runnable)})"
        assert text in str(ws.backends())
        assert "portable" in status.runnable
    for name in status.runnable:
        with native.force(name):
            assert ws.backends().native == native.Status(name, None, status.runnable)


def test_the_command(command_line):
    code, out, _ = command_line("backends")
    assert code == 0
    assert out == f"{ws.backends()}\n"
