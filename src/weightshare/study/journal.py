"""Files with one JSON object per line, to which a run appends each result as soon as it is finished.

A run that was killed can leave an incomplete last line. It is removed when the run continues. All other lines
are left as they are.
"""

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import StudyError, describe_exception

OTHER_FOLDER = "choose another folder with --out"


def read_lines(file: Path, beginning: bytes) -> Iterator[bytes]:
    """Yield each line of a file. An incomplete last line of this run is removed instead, after all others.

    Args:
        file: The file; nothing is yielded if it does not exist.
        beginning: Text with which every line of this run begins.

    Raises:
        StudyError: If the file cannot be read, or the incomplete line cannot be removed.
    """
    with catch_os_error(file):
        complete, torn = split_torn(file.read_bytes()) if file.exists() else (b"", b"")
    yield from complete.splitlines()
    if torn.startswith(beginning) or beginning.startswith(torn):
        with catch_os_error(file):
            if torn:
                os.truncate(file, len(complete))
    else:
        yield torn


def append_line(file: Path, record: dict[str, Any], what: str) -> None:
    """Append an object to a file; it is on the disk when this returns.

    Raises:
        StudyError: If the file cannot be written, for example because the disk is full.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with catch_os_error(file, f", record of {what}"), open(file, "a", encoding="utf-8") as stream:
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def split_torn(content: bytes) -> tuple[bytes, bytes]:
    """Split the content of a file into complete records and the rest that a killed run left at the end.

    >>> split_torn(b'{"a": 1}\\n{"a"')
    (b'{"a": 1}\\n', b'{"a"')
    """
    complete = content[: content.rfind(b"\n") + 1]
    last = complete.splitlines(keepends=True)[-1:]
    if last and parse_object(last[0]) is None:
        complete = complete[: -len(last[0])]
    return complete, content[len(complete) :]


def parse_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line; None if it is something else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


@contextmanager
def hold_lock(file: Path, expected: str) -> Generator[None]:
    """Return a context in which this run holds the lock of a file; its folder is created if it is missing.

    A new folder in which nothing was written is removed at the end.

    Args:
        file: The file.
        expected: What another run violates, for the error.

    Raises:
        StudyError: If another run holds the lock, or if the folder cannot be written.
    """
    lock, is_new = FileLock(file, timeout=0), False
    try:
        with catch_folder_error(file.parent):
            is_new = not file.parent.exists()
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        got, hint = "a folder that another run has locked", f"wait until it finishes, or {OTHER_FOLDER}"
        raise StudyError(f"folder {str(file.parent)!r}", expected, got, hint) from None
    try:
        yield
    finally:
        with suppress(OSError):  # the folder may be gone
            if is_new and [path.name for path in file.parent.iterdir()] == [file.name]:
                file.unlink()
                file.parent.rmdir()
        lock.release()


@contextmanager
def catch_folder_error(folder: Path) -> Generator[None]:
    """Turn an error of the file system, except that of a lock, into a StudyError that names the folder."""
    try:
        yield
    except (Timeout, StudyError):
        raise
    except (OSError, RecursionError, ValueError) as error:  # also for null characters and endless paths
        got, hint = describe_exception(error), "choose another path with --out"
        raise StudyError(f"folder {str(folder)!r}", "must be a writable folder", got, hint) from None


@contextmanager
def catch_os_error(file: Path, what: str = "") -> Generator[None]:
    """Turn an OSError, such as a full disk, into a StudyError that names the file, and what part of it."""
    try:
        yield
    except OSError as error:
        saved = "; finished results are saved" if os.path.isfile(file) else ""
        raise StudyError(
            f"file {str(file)!r}{what}",
            "must be readable and writable",
            error.strerror or type(error).__name__,
            f"free disk space or {OTHER_FOLDER}{saved}",
        ) from None
