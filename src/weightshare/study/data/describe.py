"""Describe paths and exceptions in one line, for errors."""

import stat
from pathlib import Path

from ... import errors
from ...views.escape import escape_controls

MAX_TEXT = 300


def describe_path(path: Path) -> str:
    """Return what is at a path, or why it cannot be read. A link is not followed."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a path that does not exist"
    except OSError as error:
        return f"a path that cannot be read ({error.strerror})"
    except ValueError:
        return "a path with a null character"
    kinds = {stat.S_IFLNK: "a link, which is not followed", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "a special file")


def describe_exception(error: BaseException) -> str:
    """Return the type and text of an exception that input from outside has caused, in a readable length.

    >>> describe_exception(KeyError("a"))
    "KeyError: 'a'"
    """
    return shorten(errors.describe_exception(error)).rstrip(".:")


def shorten(text: str) -> str:
    """Return text from outside without control characters, cut to a readable length."""
    text = escape_controls(text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."
