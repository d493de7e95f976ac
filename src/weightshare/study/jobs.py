"""A job: one trial with everything that another process or machine needs to run it."""

import os
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from ..errors import StudyError, WeightshareError, describe_exception
from .data import Examples, load_examples
from .rows import Row
from .spec import StudySpec
from .trials.building import Factory
from .trials.states import INTERVAL, StateFile
from .trials.trial import Trial, run_trial

#: The data that this worker has loaded last, by their digest.
_loaded: dict[str, Examples] = {}
_running = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Args:
        spec: Specification of the study.
        row: Row to train.
        seed: Seed of the trial.
        digest: Digest of the data.
        start_digest: Digest of the weights of the trained network, if there is one.
        state_seconds: Number of seconds between two stored states of the trial.
    """

    spec: StudySpec
    row: Row
    seed: int
    digest: str
    start_digest: str | None = None
    state_seconds: float = INTERVAL

    @property
    def state_file(self) -> StateFile:
        """The file with the state of the trial."""
        folder = None if self.spec.out is None else Path(self.spec.out)
        study = self.spec.digest(self.digest, self.start_digest)
        return StateFile(folder, study, self.row.key, self.seed, self.state_seconds)

    def load(self) -> Examples:
        """Return the data by their name in the specification; a process loads them once.

        Raises:
            StudyError: If the data are not those of the study.
        """
        if self.digest not in _loaded:
            examples = load_examples(self.spec)
            if examples.digest != self.digest:
                raise StudyError(
                    "study", f"the data must have the digest {self.digest}, as when it began", examples.digest
                )
            _loaded.clear()
            _loaded[self.digest] = examples
        return _loaded[self.digest]

    def run(
        self,
        fabric: Fabric,
        examples: Examples | None = None,
        on_epoch: Callable[[int, float], None] = lambda epoch, score: None,
    ) -> Trial:
        """Run the trial, or continue it from its stored state.

        Args:
            fabric: Lightning Fabric. With several processes, no state is stored.
            examples: The data; None to load them.
            on_epoch: Called after each epoch with its number, counted from 1, and its validation score.

        Raises:
            StudyError: If training diverges, if a user-supplied network raises an exception, or if the
                weights of the trained network are not those with which the study began.
        """
        factory = Factory(self.spec, self.load() if examples is None else examples)
        if factory.start_digest != self.start_digest:
            expected = f"must have weights with the digest {self.start_digest}, as when the study began"
            hint = "return the same weights whenever the function is called"
            raise StudyError(factory.where, expected, str(factory.start_digest), hint)
        is_stored = fabric.world_size == 1
        file = self.state_file if is_stored else StateFile(None, self.digest, self.row.key, self.seed)
        is_reporting = False

        def report(epoch: int, score: float) -> None:
            nonlocal is_reporting
            is_reporting = True
            on_epoch(epoch, score)
            is_reporting = False

        try:
            return run_trial(self.row, self.seed, factory, fabric, report, file.load(), file.save)
        except WeightshareError:
            raise
        except (Exception, SystemExit) as error:
            if factory.function is None or is_reporting:
                raise
            where = f"study: {self.row.name}, seed {self.seed}"
            expected = "the network must be trained and evaluated without an exception"
            raise StudyError(where, expected, describe_exception(error)) from error


def run_job(job: Job, examples: Examples | None = None) -> Trial:
    """Run a job in a worker of an executor. In one process, only one job runs at a time."""
    with _running:  # a trial uses the random state and the number of threads of its process
        return job.run(make_worker_fabric(job.spec), examples)


def make_jobs(
    spec: StudySpec,
    rows: Sequence[Row],
    digest: str,
    start_digest: str | None,
    known: Container[tuple[str, int]],
    state_seconds: float,
) -> Iterator[Job]:
    """Yield the jobs that are not finished: every row with the first seed, then every row with the next.

    Args:
        digest: Digest of the data.
        start_digest: Digest of the weights of the trained network, if there is one.
        known: Keys and seeds of finished trials.
        state_seconds: Number of seconds between two stored states of a trial.
    """
    out = None if spec.out is None else Path(spec.out).resolve()
    plain = replace(spec, data=spec.name, out=out)
    for seed in range(spec.seeds):
        for row in rows:
            if (row.key, seed) not in known:
                yield Job(plain, row, seed, digest, start_digest, state_seconds)


def make_fabric(spec: StudySpec) -> Fabric:
    """Return Lightning Fabric with the arguments of the specification.

    Raises:
        StudyError: If Fabric rejects them, or if the strategy starts processes from a function.
    """
    if str(spec.strategy).endswith(("spawn", "fork", "notebook")):
        raise StudyError(
            "study",
            "strategy must start its processes as commands, as ddp and fsdp do",
            repr(spec.strategy),
            f"use {str(spec.strategy).partition('_')[0]!r}",
        )
    devices = int(spec.devices) if str(spec.devices).isdigit() else spec.devices
    flags = {"accelerator": spec.accelerator, "strategy": spec.strategy, "precision": spec.precision}
    try:
        fabric = Fabric(devices=devices, num_nodes=spec.num_nodes, **flags)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # Fabric's errors are of many types; their text names the argument
        given = ", ".join(
            f"{name}={value!r}"[:60] for name, value in {**flags, "devices": spec.devices}.items()
        )
        reason = " ".join(str(error).split()).rstrip(".!")[:300]
        raise StudyError(
            "study",
            "Lightning Fabric must accept accelerator, devices, strategy and precision on this machine",
            f"{given} ({reason})",
            "omit them to use the defaults",
        ) from None
    cluster = getattr(fabric.strategy, "cluster_environment", None)
    if spec.num_nodes > 1 and isinstance(cluster, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        expected = f"the {spec.num_nodes:,} machines of num_nodes must have the address of the first one"
        hint = "start the command on each machine with torchrun or a job scheduler"
        raise StudyError("study", expected, "no environment variable MASTER_ADDR", hint)
    return fabric


def make_worker_fabric(spec: StudySpec) -> Fabric:
    """Return Lightning Fabric for a worker of an executor.

    Raises:
        StudyError: If Fabric rejects its arguments, or if they name several devices.
    """
    fabric = make_fabric(spec)
    if fabric.world_size > 1:
        hint = "use devices=1 and num_nodes=1, and as many workers as there are devices"
        raise StudyError("study", "a trial in a worker must use one device", str(fabric.world_size), hint)
    return fabric
