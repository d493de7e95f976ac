"""Every command on docs/counting.md prints the figures below it."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from weightshare import cli

PAGE = Path(__file__).parents[2] / "docs" / "counting.md"
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
COMMANDS = [tuple(pair.split("\n", 1)) for block in BLOCKS for pair in block.split("$ ")[1:]]


@pytest.mark.parametrize(("command", "figures"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_its_figures(command, figures, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert figures.split("  ")
    for figure in figures.strip().split("  "):
        assert re.search(rf"(?<![\d,]){re.escape(figure)}(?![\d,]*\d)", printed), figure


def test_no_command_is_missing_from_the_page():
    assert len(COMMANDS) >= 14
