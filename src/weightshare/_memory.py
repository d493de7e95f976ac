"""How much memory is free."""

import os


def free_bytes() -> int | None:
    """Memory of the machine that is free, where the system says so."""
    try:
        with open("/proc/meminfo") as file:  # what caches hold counts as free here, in sysconf it does not
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
