"""Refuse requests that do not fit in memory, before anything is allocated."""

import os

from .errors import WeightshareError


def get_free_bytes() -> int | None:
    """Return the free memory of the machine in bytes, or None if the system does not report it."""
    try:
        with open("/proc/meminfo") as file:  # MemAvailable counts caches as free, sysconf does not
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(
    error: type[WeightshareError],
    where: str,
    what: str,
    needed: int,
    got: str,
    hint: str,
    limit: int | None = None,
) -> None:
    """Raise `error` if something needs more memory than is allowed.

    Args:
        where: Name that the error starts with.
        what: Name of the thing that needs memory, such as "the matrix".
        needed: Bytes that it needs.
        got: Description of the request, such as its shape.
        hint: How to need less memory.
        limit: Bytes allowed; None for the free memory of the machine.
    """
    limit = get_free_bytes() if limit is None else limit
    if limit is not None and needed > limit:
        raise error(where, f"{what} must fit in {limit:,} bytes of memory", f"{got} ({needed:,} bytes)", hint)
