"""The command that repeats a study, and what it ran on."""

import shlex
from dataclasses import fields
from typing import Any

from ..result import StudyResult
from ..spec import CONTINUED, NEW, StudySpec

#: Options whose names on the command line differ, and those that are given otherwise.
_NAMES = {"sharings": "sharing", "start": "from"}
_SKIPPED = {"data", "out"}


def make_command(options: dict[str, Any]) -> str:
    """Return the command that repeats a study with these options. Those with the default are left out.

    >>> make_command({"data": "digits", "sharings": ["full", "local"], "seeds": 5, "width": 16})
    'weightshare study digits --sharing full,local --seeds 5'
    """
    words = ["weightshare", "study", str(options["data"])]
    defaults = {one.name: one.default for one in fields(StudySpec)}
    defaults |= NEW if options.get("start") is None else CONTINUED
    for name, value in options.items():
        if name in _SKIPPED or value in (None, []) or value == defaults.get(name):
            continue
        separator = "x" if name == "resize" else ","
        text = separator.join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{_NAMES.get(name, name).replace('_', '-')}", text]
    return shlex.join(words)


def read_environment(result: StudyResult) -> dict[str, str]:
    """Return what the trials ran on; values that differ between trials are separated by commas."""
    names = dict.fromkeys(name for trial in result.trials for name in trial.environment)
    return {
        name: ", ".join(dict.fromkeys(t.environment[name] for t in result.trials if name in t.environment))
        for name in names
    }
