"""Write a text file as a whole: readers see the old content or the new one, never a part."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """Write `text` to `path` through a temporary file beside it; it is on the disk when this returns.

    A failure leaves the old file in place, and no temporary one.

    Raises:
        OSError: the path cannot be written, or is not a plain file.
        ValueError: the path is not a valid file name.
    """
    if path.exists() and not path.is_file():
        raise OSError("it exists and is not a plain file")
    temporary = path.parent / f".weightshare-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
        raise
