"""What executors that replace lost workers have in common."""

from concurrent.futures import BrokenExecutor

#: Number of times that a task is started again after it has lost its worker.
RETRIES = 2


class LostWorkerError(BrokenExecutor):
    """Raised by the future of a task that has lost its worker too often. The executor can still be used."""
