"""Measures peak memory beyond weights, input, output and gradients, in a new process per side and shape."""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Malloc maps larger blocks separately and returns them when freed, so that peaks do not depend on the past.
#: TensorFlow with oneDNN keeps freed memory in a pool of its own, which would hide what it uses.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_ARENA_MAX": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
#: Writing 5 to this file resets the peak that Linux records.
RESET = Path("/proc/self/clear_refs")


def is_measurable() -> bool:
    """Return whether the system can report peak memory."""
    return RESET.exists()


def measure_extra_megabytes(make_small: Callable[[], Any], make: Callable[[], Any]) -> dict[str, float]:
    """Return the additional megabytes of a forward pass and of a training step.

    A small layer runs first, so that code is loaded and thread pools exist. A side that compiles in its first
    call (`compiles_late`) is measured in its second call, to exclude the memory of the compiler.
    """
    small = make_small()
    whats = ("forward", "training")
    for what in whats:
        _measure_extra(small, what)
    side = make()
    return {
        what: _measure_extra(side, what) for what in whats if what == "forward" or side.no_training is None
    }


def _measure_extra(side: Any, what: str) -> float:
    if what == "training":
        side.prepare_training()
    if side.compiles_late:
        getattr(side, what)()
    gc.collect()
    RESET.write_text("5")
    base = read_status("VmRSS")
    result = getattr(side, what)()
    extra = read_status("VmHWM") - base
    del result
    return max(0.0, (extra - side.result_bytes(what)) / 1e6)


def read_status(field: str) -> int:
    """Return a memory size of this process in bytes, as reported by Linux."""
    lines = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(rf"{field}:\s+(\d+)", lines)[0])
