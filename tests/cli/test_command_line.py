"""What all commands share: the version, and errors of the system in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

import weightshare as ws


def run(*arguments, **options):
    command = [sys.executable, "-m", "weightshare.cli", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


def test_the_version():
    result = run("--version", stdout=subprocess.PIPE)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{ws.__version__}\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        result = run("explain", "Conv2d(1, 1, 3)", stdout=full)
    assert result.returncode == 2
    assert result.stderr == "weightshare: standard output: must be writable, got No space left on device.\n"
