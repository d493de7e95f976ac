"""What all commands share: the version, standard output of any kind, files and modules of the user."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import weightshare as ws

MODEL = """
import warnings
from torch import nn

print("imported")

class Netz\u00fc(nn.Linear):
    def forward(self, x):
        print("running")
        warnings.warn("a warning")
        return super().forward(x)

def model():
    print("building")
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), Netz\u00fc(4, 4))
"""
ARGUMENTS = ["mine:model", "--input", "1x4x4"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL, encoding="utf-8")
    return tmp_path


def start(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "weightshare.cli", *arguments], text=True, **options)


def run(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with start(*arguments, **options) as process:
        out, err = process.communicate()
    return process.returncode, out, err


def test_the_version():
    assert run("--version") == (0, f"{ws.__version__}\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_encoding_takes_the_table(folder, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    code, out, err = run("summary", *ARGUMENTS, cwd=folder, env=environment, encoding=encoding)
    assert code == 0, err
    assert ("Netz\\xfc" if encoding == "ascii" else "Netz\u00fc") in out


def test_rules_and_signs_are_written_in_ascii():
    program = (
        "import sys, weightshare.cli as cli\n"
        "cli.app = lambda: print('\u2500\u2500 95 \u00b1 1 \u2026 \u4e2d')\n"
        "cli.main()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-- 95 +- 1 ... \\u4e2d\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs file descriptors")
@pytest.mark.parametrize("arguments", [["explain", "Linear(1, 2)"], ["--version"], ["backends"]])
def test_a_closed_output_is_one_line(arguments):
    code, _, err = run(*arguments, stdout=None, preexec_fn=lambda: os.close(1))
    expected = (
        "standard output: must be open, got a closed file; redirect it to a file or to the null device."
    )
    assert (code, err) == (2, f"weightshare: {expected}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs file descriptors")
def test_an_error_is_not_written_to_standard_output_if_standard_error_is_closed():
    code, out, _ = run("explain", "Linear(1)", stderr=None, preexec_fn=lambda: os.close(2))
    assert (code, out) == (2, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [["explain", "Linear(1, 2)"], ["summary", "resnet18", "--json"], ["--help"]]
)
def test_a_full_disk_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        code, _, err = run(*arguments, stdout=full)
    message = "weightshare: standard output: must be writable, got No space left on device.\n"
    assert (code, err) == (2, message)


@pytest.mark.parametrize("arguments", [["explain", "Linear(1, 2)"], ["summary", "resnet18", "--json"]])
def test_a_reader_that_leaves_is_no_error(arguments):
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (1, "")


@pytest.mark.parametrize("command", ["summary", "equivariance"])
def test_json_is_one_object_although_the_model_prints_and_warns(folder, command):
    code, out, err = run(command, *ARGUMENTS, "--json", cwd=folder)
    assert code == 0, err
    assert isinstance(json.loads(out), dict)
    assert "imported\nbuilding\n" in err
    assert "running" in err
    assert "a warning" in err


def test_files_in_the_current_folder_do_not_hide_installed_modules(folder):
    for name in ("json", "typing", "numbers", "torch", "numpy"):
        (folder / f"{name}.py").write_text("raise SystemExit('hidden')")
    program = "import sys; sys.path.remove(''); from weightshare.cli import main; main()"
    command = [sys.executable, "-c", program, "summary", *ARGUMENTS]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a umask")
def test_files_have_the_permissions_of_the_umask(command_line, tmp_path):
    before = os.umask(0o027)
    try:
        assert command_line("explain", "Linear(1, 2)", "--html", str(tmp_path / "a.html"))[0] == 0
        assert command_line("explore", "--no-browser", "--out", str(tmp_path / "b.html"))[0] == 0
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
