"""A wheel needs no compiler, a source distribution compiles, and without a compiler both still work."""

import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.programs import require

ROOT = Path(__file__).parents[2]
LIBRARY = "weightshare/backends/native/_native.so"
WITHOUT = {**os.environ, "CC": "false"}
WARNING = "The native backend was not compiled, so layers are slower: "

pytestmark = pytest.mark.long


def run(*command, **options):
    options = {"cwd": ROOT, "timeout": 600, **options}
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def build(folder, kind="wheel", **options):
    _, printed = run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, **options)
    (made,) = folder.iterdir()
    return made, printed


PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")


def install(path, target, **options):
    """Install into an empty folder, without network and without the packages that are installed already."""
    run(*PIP, "--target", target, path, **options)


COMPUTE = """
import torch, weightshare as ws
assert ws.__file__.startswith(FOLDER), ws.__file__
layer, x = ws.nn.Conv2d(3, 8, 3, sharing=ws.Local(), input_size=9), torch.randn(20, 3, 9, 9)
y = layer(x)
y.sum().backward()
torch.testing.assert_close(y, ws.reference.output(layer, x), rtol=1e-4, atol=1e-4)
print(ws.backends())
"""


def compute(folder):
    """Compute a layer with the package in a folder, where no compiler is found; return the report."""
    environment = {**WITHOUT, "PYTHONPATH": str(folder), "PATH": ""}
    environment.pop("WEIGHTSHARE_NATIVE", None)
    code = COMPUTE.replace("FOLDER", repr(str(folder)))
    out, _ = run(sys.executable, "-W", "error", "-c", code, env=environment, cwd=folder)
    return out.splitlines()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    require("cc", "gcc", "clang")
    return build(tmp_path_factory.mktemp("wheel"))[0]


def test_a_wheel_needs_no_compiler(wheel, tmp_path):
    assert wheel.name.split("-")[-3:-1] == ["py3", "none"]
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/WHEEL"))
        assert "Root-Is-Purelib: false" in archive.read(record).decode()
        assert LIBRARY in archive.namelist()
    install(wheel, tmp_path, env=WITHOUT)
    assert compute(tmp_path)[0].startswith("native    available: ")


@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux")
def test_the_wheel_runs_on_old_systems(wheel, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = (sys.executable, "-m", "auditwheel", "repair", "-w", tmp_path, wheel)
    run(*command, env={**os.environ, "PATH": path})
    (repaired,) = tmp_path.iterdir()
    assert re.search(rf"manylinux\w*_{platform.machine()}", repaired.name)  # the tag depends on the compiler
    assert "linux_x86_64.whl" not in repaired.name.split("-")[-1].split(".")
    install(repaired, tmp_path / "installed", env=WITHOUT)
    assert compute(tmp_path / "installed")[0].startswith("native    available: ")


def test_the_source_distribution_builds_a_wheel(wheel, tmp_path):
    archive, _ = build(tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
        files.extractall(tmp_path, filter="data")
    sources = {path.name for path in (ROOT / "src/weightshare/backends/native").glob("*.[chi]*")}
    assert {f"src/weightshare/backends/native/{name}" for name in sources} <= names
    assert {"hatch_build.py", "pyproject.toml", "README.md", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("web/", "tests/")) or name.endswith(".so")]
    (unpacked,) = tmp_path.glob("weightshare-*")
    made, _ = build(tmp_path / "wheel", cwd=unpacked)
    with zipfile.ZipFile(made) as one, zipfile.ZipFile(wheel) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


@pytest.mark.parametrize("compiler", ["false", "no-such-compiler", "python"])
def test_installation_succeeds_without_a_compiler(compiler, tmp_path):
    made, printed = build(tmp_path / "wheel", env={**os.environ, "CC": compiler})
    assert made.name.endswith("-py3-none-any.whl")
    lines = [line for line in printed.splitlines() if WARNING in line]
    assert len(lines) == 1, printed
    assert compiler in lines[0]
    with zipfile.ZipFile(made) as archive:
        assert LIBRARY not in archive.namelist()
    if compiler == "false":
        install(ROOT, tmp_path / "installed", env=WITHOUT)
        assert compute(tmp_path / "installed") == [
            "native    not available: the package was installed without a C compiler",
            "portable  available: torch operators, on every device",
        ]


def test_an_editable_installation_compiles_next_to_the_sources(tmp_path):
    require("cc", "gcc", "clang")
    archive, _ = build(tmp_path / "sdist", "sdist")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("weightshare-*")
    library = source / "src" / LIBRARY
    editable = (*PIP, "--target", tmp_path / "installed", "--upgrade", "-e", source)
    library.write_bytes(b"of another version")
    run(*editable)
    assert compute(source / "src")[0].startswith("native    available: ")
    library.write_bytes(b"of another version")
    run(*editable, env=WITHOUT)
    assert not library.exists(), "a library that does not belong to the sources was kept"
    assert compute(source / "src")[0].startswith("native    not available: ")
