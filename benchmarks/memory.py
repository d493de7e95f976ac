"""Peak memory beyond weights, input, output and gradients, in a fresh process for each side and shape."""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Every larger block is mapped for itself and goes back when freed: the peak does not depend on the past.
#: TensorFlow with oneDNN keeps what it freed in a pool of its own, where nothing could be seen.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_ARENA_MAX": "1",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
#: Writing 5 makes Linux forget the peak so far.
RESET = Path("/proc/self/clear_refs")


def measurable() -> bool:
    return RESET.exists()


def extra_megabytes(make_small: Callable[[], Any], make: Callable[[], Any]) -> dict[str, float]:
    """Of a forward pass and of a training step.

    A small layer is run first, so that code and thread pools are there. A side that compiles in its first
    call (`compiles_late`) is measured in the second: what compiling takes is not counted.
    """
    small = make_small()
    whats = ("forward", "training")
    for what in whats:
        _extra(small, what)
    side = make()
    return {what: _extra(side, what) for what in whats if what == "forward" or side.no_training is None}


def _extra(side: Any, what: str) -> float:
    if what == "training":
        side.prepare_training()
    if side.compiles_late:
        getattr(side, what)()
    gc.collect()
    RESET.write_text("5")
    base = _status("VmRSS")
    kept = getattr(side, what)()
    extra = _status("VmHWM") - base
    del kept
    return max(0.0, (extra - side.result_bytes(what)) / 1e6)


def _status(field: str) -> int:
    """Bytes that Linux gives for this process."""
    lines = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(rf"{field}:\s+(\d+)", lines)[0])
