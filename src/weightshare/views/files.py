"""Write files so that readers see the old content or the new one, never a part of it."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from os import PathLike, fspath
from pathlib import Path

from ..errors import ArgumentError


def write_atomic(path: Path, text: str) -> None:
    """Replace the content of a file, as `replacing` does. When this returns, the text is on the disk."""
    with replacing(path) as temporary, open(temporary, "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def to_path(where: str, path: str | PathLike[str]) -> Path:
    """Return a `Path`; raise `ArgumentError` if `path` is neither text nor a path."""
    try:
        return Path(path)
    except TypeError:
        raise ArgumentError(where, "path must be text or a pathlib.Path", repr(path)) from None


def write_page(path: str | PathLike[str], text: str) -> None:
    """Write a page atomically.

    Raises:
        ArgumentError: If the file cannot be written.
    """
    file = to_path("page", path)
    try:
        write_atomic(file, text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError("page", "path must be a writable file", f"{fspath(path)!r} ({reason})") from None


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Return a context with the path of a temporary file, which replaces the file at `path` on exit.

    If the context is left by an error, the old file is unchanged and no temporary file remains. A symbolic
    link stays a link, and the file to which it points is replaced.

    Raises:
        OSError: If the path cannot be written, or is not a regular file.
        ValueError: If the path is not a valid file name.
    """
    if path.exists() and not path.is_file():
        raise OSError("it exists and is not a regular file")
    path = Path(os.path.realpath(path))
    temporary = path.parent / f".weightshare-{secrets.token_hex(8)}.tmp"
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        raise
