"""An executor of processes on this machine."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from ..._args import check_integer
from ...errors import StudyError
from .lost import RETRIES, LostWorkerError

T = TypeVar("T")


class ProcessExecutor(Executor):
    """Processes that each run one task at a time, and that end with this one, however it ends.

    A process that dies is replaced, and its task is started again, up to two times. The tasks of the other
    processes go on, unlike with `concurrent.futures.ProcessPoolExecutor`. Processes are started with the
    method "spawn", so a script that uses them needs the guard `if __name__ == "__main__":`.

    Args:
        workers: Number of processes, at least 1.

    Raises:
        ArgumentError: If `workers` is not an integer of at least 1.

    Example:
        >>> with ProcessExecutor(workers=1) as executor:
        ...     executor.submit(abs, -2).result()
        2
    """

    def __init__(self, workers: int):
        self._threads = ThreadPoolExecutor(check_integer("ProcessExecutor", "workers", workers, least=1))
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._is_ended = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule a call. Its future raises a StudyError if the call cannot be pickled."""
        return self._threads.submit(self._run, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once their tasks are finished."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            self._end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; after an error, without waiting for their tasks."""
        if error is not None:
            self._end()
        self.shutdown(cancel_futures=error is not None)

    def _end(self) -> None:
        with self._lock:
            self._is_ended = True
            for worker in self._workers:
                worker.process.kill()

    def _run(self, *call: Any) -> Any:
        """Run a function with arguments and keyword arguments in the process of this thread."""
        try:
            task = pickle.dumps(call)  # not earlier: a queue of calls with data would fill the memory
        except Exception as error:  # pickle raises many types
            raise StudyError(
                "study, workers",
                "model and metric must be importable, so that a worker can import them",
                " ".join(str(error).split()),
                "define them at the top level of a module",
            ) from error
        cause = "it was ended"
        for _ in range(1 + RETRIES):
            with self._lock:
                if self._is_ended:
                    break
                worker = getattr(self._own, "worker", None)
                if worker is None:
                    worker = self._own.worker = _Worker()
                    self._workers.append(worker)
            try:
                return worker.call(task)
            except EOFError:
                cause = worker.describe_end()
                with self._lock:
                    self._workers.remove(worker)
                self._own.worker = None
        raise LostWorkerError(cause)


class _Worker:
    """A process that runs pickled calls one after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        with _safe_path():
            self.process.start()
        other.close()

    def call(self, task: bytes) -> Any:
        """Return the result of a pickled call, or raise its error; raise an EOFError if the process dies."""
        try:
            self._connection.send_bytes(task)
            result, error = pickle.loads(self._connection.recv_bytes())
        except OSError as lost:
            raise EOFError from lost
        if error is not None:
            raise error
        return result

    def describe_end(self) -> str:
        """Return how the process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"


@contextmanager
def _safe_path() -> Generator[None]:
    """Start Python so that files in the current folder do not hide the modules that it starts with."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


def _serve(connection: Connection) -> None:
    """Run the calls that arrive, until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):  # the parent has ended or closed the connection
        while True:
            task = connection.recv_bytes()
            try:
                fn, args, kwargs = pickle.loads(task)
                reply = pickle.dumps((fn(*args, **kwargs), None))
            except Exception as error:  # the parent raises it
                reply = _pickle_error(error)
            connection.send_bytes(reply)


def _pickle_error(error: Exception) -> bytes:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error that cannot be pickled
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return pickle.dumps((None, error))


def _end_with_parent() -> None:
    """Wait for the end of the parent, and end this process at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
