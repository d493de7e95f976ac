"""The written method of README.md: sides interleaved in one process, warm-up, medians, spread, ratios."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

Side = Callable[[], object]


def interleaved(sides: dict[str, Side], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Median and spread in milliseconds of every side, all sides measured in turn in every round.

    Args:
        rounds: Rounds at most, after one that is not counted.
        seconds: No further round is started after this time, once three are done.
    """
    for side in sides.values():
        side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= 3 and time.perf_counter() - start > seconds:
            break
        for name, side in sides.items():
            begin = time.perf_counter()
            side()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: _summary(values) for name, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"median_ms": median, "quartile_1_ms": low, "quartile_3_ms": high, "rounds": len(values)}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
