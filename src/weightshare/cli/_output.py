"""Standard output in any encoding, and its failures: a closed stream, a full disk, a reader that left."""

import codecs
import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO, TextIOWrapper
from typing import Any

from ..errors import DataError
from ..views.escape import escape_controls

#: Characters of tables in ASCII.
_IN_ASCII = {"─": "-", "━": "-", "±": "+-", "…": "..."}


def print_escaped(text: str) -> None:
    """Print text with the control characters in each line escaped."""
    print("\n".join(map(escape_controls, text.split("\n"))))


@contextmanager
def safe_output() -> Generator[None]:
    """Return a context in which standard output takes every character, and which flushes it on exit.

    Characters that its encoding lacks are written in ASCII or as escape sequences. If the reader of a pipe
    has left, the program ends quietly with exit code 1.

    Raises:
        DataError: If standard output is closed or cannot be written.
    """
    if sys.stderr is None:
        sys.stderr = StringIO()  # otherwise print would write to standard output
    if sys.stdout is None:
        hint = "redirect it to a file or to the null device"
        raise DataError("standard output", "must be open", "a closed file", hint)
    output: Any = sys.stdout
    if isinstance(output, TextIOWrapper):
        codecs.register_error("weightshare", _replace_unprintable)
        output.reconfigure(errors="weightshare")
    try:
        try:
            yield
        finally:
            output.flush()
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise  # an error of another file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, output.fileno())  # Python flushes the stream again when it ends
        if error.errno == errno.EPIPE:
            sys.exit(1)
        raise DataError("standard output", "must be writable", error.strerror or str(error)) from error


def _replace_unprintable(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    text = "".join(_IN_ASCII.get(c, c) for c in characters)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
