"""The built script and style sheet are those of the source, small, and part of the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.programs import WEB, require, require_packages
from weightshare import explorer
from weightshare.explorer import render_page

ROOT = Path(__file__).parents[2]
BUILT = Path(explorer.__file__).parent / "built"
TESTS = sorted((WEB / "tests").rglob("*.test.js"))
#: Sizes of the page in bytes.
LARGEST_CODE, LARGEST_PAGE = 250_000, 400_000


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_built_files_are_those_of_the_source(tmp_path):
    require_packages()
    run(require("node"), "build.mjs", str(tmp_path), cwd=WEB)
    fresh = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert fresh.keys() == {path.name for path in BUILT.iterdir()} == {"explorer.css", "explorer.js"}
    stale = [name for name, content in fresh.items() if (BUILT / name).read_bytes() != content]
    assert not stale, "run `make web`"


def test_types_of_the_source():
    run(require("node"), str(require_packages() / ".bin" / "tsc"), "--noEmit", cwd=WEB)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_tests_of_the_source(path):
    run(require("node"), "--test", str(path), cwd=WEB)


def test_sizes():
    code, page = (len(render_page(data=data).encode()) for data in (False, True))
    assert code <= LARGEST_CODE
    assert page <= LARGEST_PAGE


def test_the_built_files_contain_no_addresses():
    """Only the name of SVG's namespace looks like one."""
    for path in BUILT.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        for trace in ("http://", "https://", "sourceMappingURL", "@import", "url("):
            assert trace not in text, f"{trace} in {path.name}"


def test_the_lock_file_names_no_registry():
    text = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert "http" not in text
    assert '"resolved"' not in text


@pytest.mark.long
def test_the_wheel_contains_the_explorer(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        folder = "weightshare/explorer/"
        for path in BUILT.iterdir():
            assert archive.read(f"{folder}built/{path.name}") == path.read_bytes()
    assert f"{folder}page.html.jinja" in names
    assert f"{folder}page.css" in names
    assert any(name.startswith(f"{folder}data/") for name in names)
    assert not [name for name in names if name.startswith(("web/", "tests/")) or "node_modules" in name]


@pytest.mark.long
def test_the_benchmark_runs():
    require("chromium", "chromium-browser", "google-chrome")
    run(sys.executable, "benchmarks/explorer.py", "--quick", "--chapter", "counts", cwd=ROOT)
