"""Measures times as described in README.md: sides alternate, and disturbed rounds are repeated."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

#: A round is disturbed if a short product takes this many times as long as its best time so far.
DISTURBED = 1.3
#: Seconds until the threads of a worker sleep, and seconds to wait after a disturbance.
SETTLE, WAIT = 0.02, 0.2
#: Minimum duration of a timing in milliseconds; shorter calls are repeated, up to this number of calls.
TIMING, MOST_CALLS = 2.0, 50
#: Minimum number of rounds of a side, and of one whose call takes more than `SLOW` milliseconds.
LEAST, LEAST_SLOW, SLOW = 3, 1, 4000.0


@dataclass
class Budget:
    """The limits for one shape.

    Args:
        rounds: Maximum number of rounds.
        seconds: Time per side, in seconds.
        repeats: Maximum number of disturbed rounds that are repeated.
        repeat_seconds: Maximum time for repeated rounds, in seconds.
    """

    rounds: int
    seconds: float
    repeats: int
    repeat_seconds: float


class IdleCheck:
    """A check that no other process slows down the machine, by timing a short product.

    Args:
        time_product: Function that returns the milliseconds of the product.
    """

    def __init__(self, time_product: Callable[[], float]):
        self._time_product = time_product
        self.best = min(time_product() for _ in range(5))

    def __call__(self) -> bool:
        """Return whether the product is about as fast as its best time so far."""
        milliseconds = self._time_product()
        self.best = min(self.best, milliseconds)
        return milliseconds <= DISTURBED * self.best


@dataclass
class Timer:
    """The timer of one side.

    Args:
        worker: Name of the worker process.
        milliseconds: Time of one call, from the warm-up.
        time: Function from a number of calls to the mean milliseconds per call.
    """

    worker: str
    milliseconds: float
    time: Callable[[int], float]

    @property
    def calls(self) -> int:
        """Number of calls per timing."""
        return max(1, min(MOST_CALLS, ceil(TIMING / self.milliseconds)))

    def count_rounds(self, budget: Budget) -> int:
        """Return the number of rounds that fit the budget."""
        least = LEAST if self.milliseconds < SLOW else LEAST_SLOW
        expected = int(1e3 * budget.seconds / (self.calls * self.milliseconds))
        return max(least, min(budget.rounds, expected))


def measure_interleaved(timers: dict[str, Timer], budget: Budget, is_idle: IdleCheck) -> dict:
    """Time all sides in alternation.

    Each round starts with another side, because the first one finds less of its data in the caches. The
    rounds of a side that has fewer rounds than others are spread over the run.

    Returns:
        A summary per side ("sides"), the number of disturbed rounds that were dropped and repeated
        ("dropped"), and the number that were kept because the budget for repeats was used up ("disturbed").
    """
    expected = {name: timer.count_rounds(budget) for name, timer in timers.items()}
    total = max(expected.values())
    times: dict[str, list[float]] = {name: [] for name in timers}
    done = dropped = kept = 0
    lost = 0.0
    before = is_idle()
    while done < total:
        names = [n for n, k in expected.items() if (done + 1) * k // total > done * k // total]
        names = names[done % len(names) :] + names[: done % len(names)]
        begin = time.perf_counter()
        milliseconds = _time_round({name: timers[name] for name in names})
        after = is_idle()
        disturbed = not (before and after)
        if disturbed and dropped < budget.repeats and lost < budget.repeat_seconds:
            dropped, lost = dropped + 1, lost + time.perf_counter() - begin
            time.sleep(WAIT)
            before = is_idle()
            continue
        kept += disturbed
        for name, value in milliseconds.items():
            times[name].append(value)
        before, done = after, done + 1
    return {
        "sides": {name: summarize(values) for name, values in times.items()},
        "dropped": dropped,
        "disturbed": kept,
    }


def _time_round(timers: dict[str, Timer]) -> dict[str, float]:
    """Time each side once, with a pause before another process runs."""
    milliseconds, last = {}, "torch"
    for name, timer in timers.items():
        if timer.worker != last:
            time.sleep(SETTLE)
        milliseconds[name], last = timer.time(timer.calls), timer.worker
    if last != "torch":
        time.sleep(SETTLE)
    return milliseconds


def summarize(values: list[float]) -> dict[str, float]:
    """Return median, quartiles and number of the values."""
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median_ms": median, "quartile_1_ms": low, "quartile_3_ms": high, "rounds": len(values)}


def describe_machine() -> dict[str, object]:
    """Return the processor, the number of cores, the system and the Python version."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
