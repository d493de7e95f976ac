"""Refuse what does not fit into memory, before it is allocated."""

import os

from .errors import WeightshareError


def free_bytes() -> int | None:
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
    """Raise `error` if `what` needs more bytes than `limit`, by default the free memory of the machine."""
    limit = free_bytes() if limit is None else limit
    if limit is not None and needed > limit:
        raise error(where, f"{what} must fit in {limit:,} bytes of memory", f"{got} ({needed:,} bytes)", hint)
