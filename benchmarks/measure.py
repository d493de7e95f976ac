"""The written method of README.md: sides in turn, round after round, disturbed rounds again; medians."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

#: A short product that takes so many times as long as ever before tells of a disturbance.
DISTURBED = 1.3
#: Seconds until the threads of a worker sleep, and to wait after a disturbance.
SETTLE, WAIT = 0.02, 0.2
#: One timing takes so many milliseconds at least, by several calls where one is shorter.
TIMING, MOST_CALLS = 2.0, 50
#: Rounds of a side at least, and of one whose call takes more than `SLOW` milliseconds.
LEAST, LEAST_SLOW, SLOW = 3, 1, 4000.0


@dataclass
class Budget:
    """How long one shape may take.

    Args:
        rounds: Rounds at most.
        seconds: Of one side.
        dropped: Disturbed rounds that are measured again, at most.
        lost: Seconds that dropped rounds may take in all.
    """

    rounds: int
    seconds: float
    dropped: int
    lost: float


class Calm:
    """Whether the machine does nothing else, by a short product against its best so far."""

    def __init__(self, product: Callable[[], float]):
        self._product = product
        self.best = min(product() for _ in range(5))

    def __call__(self) -> bool:
        milliseconds = self._product()
        self.best = min(self.best, milliseconds)
        return milliseconds <= DISTURBED * self.best


@dataclass
class Timer:
    """One side.

    Args:
        worker: Of which process it is.
        milliseconds: Of one call, as found when it was warmed up.
        time: Milliseconds of one of so many calls.
    """

    worker: str
    milliseconds: float
    time: Callable[[int], float]

    @property
    def calls(self) -> int:
        return max(1, min(MOST_CALLS, ceil(TIMING / self.milliseconds)))

    def rounds(self, budget: Budget) -> int:
        least = LEAST if self.milliseconds < SLOW else LEAST_SLOW
        expected = int(1e3 * budget.seconds / (self.calls * self.milliseconds))
        return max(least, min(budget.rounds, expected))


def interleaved(timers: dict[str, Timer], budget: Budget, calm: Calm) -> dict:
    """Summaries by side, and how many disturbed rounds were dropped and, where that was too many, kept.

    A side with fewer rounds than others has them spread over the run.
    """
    expected = {name: timer.rounds(budget) for name, timer in timers.items()}
    total = max(expected.values())
    times: dict[str, list[float]] = {name: [] for name in timers}
    done = dropped = kept = 0
    lost = 0.0
    before = calm()
    while done < total:
        names = [n for n, k in expected.items() if (done + 1) * k // total > done * k // total]
        begin = time.perf_counter()
        taken = _round({name: timers[name] for name in names})
        after = calm()
        disturbed = not (before and after)
        if disturbed and dropped < budget.dropped and lost < budget.lost:
            dropped, lost = dropped + 1, lost + time.perf_counter() - begin
            time.sleep(WAIT)
            before = calm()
            continue
        kept += disturbed
        for name, milliseconds in taken.items():
            times[name].append(milliseconds)
        before, done = after, done + 1
    return {
        "sides": {name: summary(values) for name, values in times.items()},
        "dropped": dropped,
        "disturbed": kept,
    }


def _round(timers: dict[str, Timer]) -> dict[str, float]:
    """One timing of each; a pause where another process has its turn."""
    taken, last = {}, "torch"
    for name, timer in timers.items():
        if timer.worker != last:
            time.sleep(SETTLE)
        taken[name], last = timer.time(timer.calls), timer.worker
    if last != "torch":
        time.sleep(SETTLE)
    return taken


def summary(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median_ms": median, "quartile_1_ms": low, "quartile_3_ms": high, "rounds": len(values)}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }
