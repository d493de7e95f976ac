"""A job: one trial with everything that another process or machine needs to run it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lightning_fabric import Fabric

from ..errors import StudyError
from .building import Factory
from .data import Examples, load_examples
from .rows import Row
from .spec import StudySpec
from .trials import Trial, run_trial

#: The data that this process has loaded last, by their digest.
_loaded: dict[str, Examples] = {}


@dataclass(frozen=True)
class Job:
    """A trial to run.

    Args:
        spec: Specification of the study.
        row: Row to train.
        seed: Seed of the trial.
        digest: Digest of the data.
        examples: The data; None to load them by the name in the specification.
    """

    spec: StudySpec
    row: Row
    seed: int
    digest: str
    examples: Examples | None = None

    def load(self) -> Examples:
        """Return the data, which a process loads once.

        Raises:
            StudyError: If the data are not those of the study.
        """
        if self.digest not in _loaded:
            examples = self.examples
            if examples is None:
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
        fabric: Fabric | None = None,
        on_epoch: Callable[[int, float], None] = lambda epoch, score: None,
        **state: Any,
    ) -> Trial:
        """Run the trial; the arguments are those of `run_trial`."""
        examples = self.load()
        return run_trial(
            self.row,
            self.seed,
            Factory(self.spec, examples),
            fabric or make_fabric(self.spec),
            on_epoch,
            **state,
        )


def remember(examples: Examples) -> None:
    """Keep data that this process has loaded, for its jobs."""
    _loaded.clear()
    _loaded[examples.digest] = examples


def run_job(job: Job) -> Trial:
    """Run a job in another process."""
    return job.run()


def make_jobs(
    spec: StudySpec, rows: list[Row], examples: Examples, known: dict[tuple[str, int], Trial]
) -> Iterator[Job]:
    """Yield the jobs that are not finished: every row with the first seed, then every row with the next."""
    sent = None if isinstance(spec.data, str) else examples
    plain = spec if isinstance(spec.data, str) else replace(spec, data=spec.name)
    for seed in range(spec.seeds):
        for row in rows:
            if (row.key, seed) not in known:
                yield Job(plain, row, seed, examples.digest, sent)


def make_fabric(spec: StudySpec) -> Fabric:
    """Return Lightning Fabric with the arguments of the specification."""
    devices = int(spec.devices) if str(spec.devices).isdigit() else spec.devices
    flags = {"accelerator": spec.accelerator, "strategy": spec.strategy, "precision": spec.precision}
    try:
        return Fabric(devices=devices, **flags)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # Fabric's errors are of many types; their text names the argument
        given = ", ".join(f"{name}={value}" for name, value in {**flags, "devices": spec.devices}.items())
        reason = " ".join(str(error).split()).rstrip(".")
        raise StudyError(
            "study",
            "Lightning Fabric must accept accelerator, devices, strategy and precision on this machine",
            f"{given} ({reason})",
            "omit them to use the defaults",
        ) from None
