"""An executor of workers on a Ray cluster."""

# Ray has no types for most of what is used here
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from math import ceil
from types import TracebackType
from typing import Any, TypeVar

from ..._args import check_amount
from ...errors import MissingExtraError, StudyError
from ..data import Examples
from .lost import RETRIES, LostWorkerError

T = TypeVar("T")
#: Seconds within which a cluster must answer.
TIMEOUT = 25
#: Program that connects to a cluster. Files in the current folder do not hide the modules that it imports.
_CONNECT = """
import sys
sys.path = [folder for folder in sys.path if folder]
import ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
"""


class RayExecutor(Executor):
    """Workers on a Ray cluster. A task whose worker or node is lost is started again, up to two times.

    Data that are submitted with several tasks are put into the object store once.

    Args:
        address: Address of the cluster, such as "10.0.0.1:6379", "ray://10.0.0.1:10001" or "auto". By
            default, the environment variable `RAY_ADDRESS`, or else a new cluster on this machine, which ends
            with the executor.
        workers: Number of workers of a new cluster; by default, one per processor.
        cpus_per_trial, gpus_per_trial: Processors and GPUs that each task needs. They may be fractions.

    Raises:
        MissingExtraError: If Ray is not installed.
        ArgumentError: If the number of CPUs or GPUs is not a finite number of at least 0.
        StudyError: If the cluster does not answer within 30 seconds, or if none of its nodes has the
            resources for one task.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        cpus_per_trial: float = 1,
        gpus_per_trial: float = 0,
    ):
        self._needs = {
            "CPU": check_amount("RayExecutor", "cpus_per_trial", cpus_per_trial),
            "GPU": check_amount("RayExecutor", "gpus_per_trial", gpus_per_trial),
        }
        try:
            import ray
        except ImportError:
            raise MissingExtraError.for_package("study, engine ray", "ray", extra="ray") from None
        self._ray: Any = ray
        self._is_owner = not ray.is_initialized()
        if self._is_owner:
            self._connect(address or os.environ.get("RAY_ADDRESS"), workers)
        self._remote = ray.remote(
            num_cpus=cpus_per_trial, num_gpus=gpus_per_trial, max_retries=RETRIES, retry_exceptions=False
        )(_call)
        self._stored: dict[int, tuple[Examples, Any]] = {}
        self._pending: dict[Future[Any], Any] = {}
        try:
            self._check_resources()
        except StudyError:
            self.shutdown()
            raise

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Schedule a call. Functions and arguments are pickled by Ray, which can pickle lambdas, too."""
        stored = {i: self._store(value) for i, value in enumerate(args) if isinstance(value, Examples)}
        plain = [None if i in stored else value for i, value in enumerate(args)]
        task = self._ray.cloudpickle.dumps((fn, plain, kwargs))
        reference = self._remote.remote(task, sys.path, list(stored), *stored.values())
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._pending[future] = reference
        reference.future().add_done_callback(lambda done: self._finish(future, done))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the tasks, or cancel them, and disconnect from the cluster."""
        pending = dict(self._pending)
        if cancel_futures:
            for reference in pending.values():
                self._ray.cancel(reference, force=True)
        elif wait:
            futures.wait(pending)
        if self._is_owner:
            self._ray.shutdown()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect from the cluster; after an error, cancel the tasks."""
        self.shutdown(cancel_futures=error is not None)

    def _connect(self, address: str | None, workers: int | None) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            processors = None if workers is None else ceil(workers * self._needs["CPU"])
            try:
                self._ray.init("local", num_cpus=processors, include_dashboard=False, **options)
            except Exception as error:  # Ray raises plain exceptions
                hint = "try again when the machine is less busy, or use workers without Ray"
                raise StudyError("study, Ray", "must start on this machine", str(error), hint) from error
            return
        try:  # in another process, because Ray waits for minutes and cannot be interrupted
            found = subprocess.run(
                [sys.executable, "-c", _CONNECT, address],
                capture_output=True, text=True, timeout=TIMEOUT, check=False,
            )  # fmt: skip
            problem = ""
            if found.returncode:
                last = found.stderr.strip().rpartition("\n")[2]
                problem = last or f"no answer before it ended with exit code {found.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"no answer within {TIMEOUT} seconds"
        if problem:
            hint = "start it with `ray start --head`, or omit the address to use this machine"
            raise StudyError(f"study, Ray cluster {address!r}", "must answer", problem, hint)
        self._ray.init(address, **options)

    def _check_resources(self) -> None:
        """Raise a StudyError if no node can run a task, which would wait forever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(node.get(n, 0) >= need for n, need in self._needs.items()) for node in nodes):
            cpus, gpus = (max((node.get(n, 0) for node in nodes), default=0) for n in ("CPU", "GPU"))
            raise StudyError(
                "study, Ray cluster",
                f"a node must have {self._needs['CPU']:g} CPUs and {self._needs['GPU']:g} GPUs per trial",
                f"at most {cpus:g} CPUs and {gpus:g} GPUs per node",
            )

    def _store(self, examples: Examples) -> Any:
        """Return the reference of data in the object store."""
        if id(examples) not in self._stored:
            self._stored[id(examples)] = examples, self._ray.put(examples)
        return self._stored[id(examples)][1]

    def _finish(self, future: "Future[T]", done: "Future[T]") -> None:
        """Set the result of a future, or its error as the task raised it."""
        del self._pending[future]
        error: Any = done.exception()
        if error is None:
            future.set_result(done.result())
        elif isinstance(error, self._ray.exceptions.RayTaskError):
            future.set_exception(error.cause)
        else:
            cause = next(iter(str(error).splitlines()), "")
            future.set_exception(LostWorkerError(f"{type(error).__name__}: {cause}"))


def _call(task: bytes, path: list[str], places: list[int], *stored: Any) -> Any:
    """Run a pickled call on a worker, with the stored data at their places among its arguments."""
    sys.path += [folder for folder in path if folder not in sys.path]
    fn, arguments, kwargs = pickle.loads(task)
    for place, value in zip(places, stored):
        arguments[place] = value
    return fn(*arguments, **kwargs)
