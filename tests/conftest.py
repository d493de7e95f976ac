"""Fixtures of all tests: the command line, and the study helpers. Hypothesis runs without deadlines."""

import sys

import pytest
from hypothesis import settings

pytest_plugins = ["tests.helpers.study", "tests.helpers.trained"]

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def default_width(monkeypatch):
    """Print tables in their default width, whatever the terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Run `weightshare` in this process: (exit code, standard output, standard error)."""
    from weightshare import cli

    monkeypatch.setattr(sys, "path", [*sys.path])  # the command line adds the current folder

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["weightshare", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run
