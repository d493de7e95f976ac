"""Run tasks in an executor, a limited number at a time."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from itertools import islice
from typing import Any, TypeVar

from ...errors import StudyError
from .lost import LostWorkerError

K = TypeVar("K")
T = TypeVar("T")

#: Largest number of tasks that are submitted to an executor at once.
QUEUED = 1024
#: Seconds between two looks at jobs that are not futures of `concurrent.futures`.
PAUSE = 0.5


def run_tasks(
    executor: Executor, fn: Callable[..., T], tasks: Iterable[tuple[K, tuple[Any, ...]]]
) -> Iterator[tuple[K, T | LostWorkerError]]:
    """Yield each task with its result, in the order in which they finish.

    A task that was cancelled, or that has lost its worker too often, has a `LostWorkerError` as its result.
    After any other error, what is finished by then is still yielded, and the other tasks are cancelled.

    Args:
        executor: An executor of `concurrent.futures`, or an object with the same method `submit` whose jobs
            have the methods `done`, `result` and `cancel`, such as that of submitit.
        fn: Function to call.
        tasks: Name and arguments of each call.

    Raises:
        StudyError: If the executor has lost its workers.
    """
    running: dict[Any, K] = {}
    waiting, errors = iter(tasks), list[Exception]()
    try:
        while True:
            try:
                for name, arguments in islice(waiting, 0 if errors else QUEUED - len(running)):
                    running[executor.submit(fn, *arguments)] = name
            except Exception as error:
                errors.append(error)
            finished = _wait(list(running), is_patient=not errors)
            if not finished:
                break
            for future in finished:
                name = running.pop(future)
                try:
                    result = future.result()
                except LostWorkerError as error:
                    result = error
                except CancelledError:
                    result = LostWorkerError("it was cancelled")
                except Exception as error:
                    errors.append(error)
                    continue
                yield name, result
        if errors:
            raise errors[0]
    except BrokenExecutor as error:
        text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        hint = "use weightshare.study.ProcessExecutor, which replaces them; finished results are saved"
        raise StudyError("executor", "must not lose its workers", text, hint) from error
    finally:
        for future in running:
            future.cancel()


def _wait(futures: list[Any], is_patient: bool) -> list[Any]:
    """Return the finished futures, in order. If there is none, wait for one or return an empty list."""
    if all(isinstance(future, Future) for future in futures):
        done = wait(futures, None if is_patient else 0, FIRST_COMPLETED).done
        return [future for future in futures if future in done]
    while True:
        done = [future for future in futures if future.done()]
        if done or not is_patient:
            return done
        time.sleep(PAUSE)
