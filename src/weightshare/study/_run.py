"""Run a study from its specification to its result, or continue one that was interrupted."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from .data import load_examples
from .description import Description
from .jobs import Job, make_fabric, make_jobs, remember, run_job
from .records import REPORT, RESULTS, Folder, open_folder
from .report.page import render_page
from .result import StudyResult
from .rows import Row, plan_rows
from .spec import StudySpec
from .trials import Trial

#: Number of jobs that wait in the queue of an executor, for each one that it may be running.
QUEUED = 64


@dataclass(frozen=True)
class Progress:
    """The progress of a study.

    Args:
        done, total: Number of finished trials, and of all trials.
        sharing, seed: Row and seed of the current trial.
        epoch, validation_score: Last epoch of the current trial, and its validation score.
        trial: The current trial once it is finished, otherwise None.
    """

    done: int
    total: int
    sharing: str
    seed: int
    epoch: int
    validation_score: float
    trial: Trial | None = None


def run(
    spec: StudySpec,
    progress: Callable[[Progress], None] | None = None,
    *,
    executor: Executor | None = None,
) -> StudyResult:
    """Run a study, or continue the one in `spec.out`.

    All rows are trained on the same data, with the same seeds and in the same order. Everything is checked
    before the folder is created. Each trial is stored as soon as it is finished, so calling `run` again
    continues an interrupted study, also with more sharings, seeds or questions. A finished study is only
    read, except that missing or outdated files are written again.

    Args:
        spec: Specification of the study.
        progress: Function to call after each epoch and each trial. With an executor, it is called only after
            each trial. With several devices, only the first process calls it.
        executor: Executor that runs the trials, such as a `concurrent.futures.ProcessPoolExecutor`. By
            default, they run in this process, one after the other. The results are the same.

    Raises:
        DataError, SpecError: If the data cannot be loaded.
        SharingError: If a sharing does not fit the inputs.
        StudyError: If the folder is in use or contains something other than this study, if Lightning Fabric
            rejects its arguments, or if training diverges.

    Example:
        >>> import weightshare as ws
        >>> spec = ws.study.StudySpec(sharings="full,local", seeds=1, epochs_max=1, train_images=60)
        >>> [row.parameters for row in ws.study.run(spec).summary]
        [5018, 304394]
    """
    examples = load_examples(spec)
    remember(examples)
    rows = plan_rows(spec, examples)
    fabric = make_fabric(spec)
    writes = spec.out is not None and not rank_zero_only.rank  # pyright: ignore[reportFunctionMemberAccess]
    description = Description.from_plan(spec, examples, rows)
    with open_folder(str(spec.out), description.digest, spec) if writes else nullcontext() as folder:
        finished = folder.read_trials(examples.shifts) if folder else []
        fabric.launch()
        known = {(trial.key, trial.seed): trial for trial in fabric.broadcast(finished)}
        jobs = make_jobs(spec, rows, examples, known)
        done = _Done(spec, rows, folder, known, progress, description)
        if executor is None:
            _run_here(jobs, fabric, done)
        else:
            _run_in(executor, jobs, done)
        out = Path(spec.out) if spec.out is not None else None
        result = StudyResult.from_trials(description, done.get_trials(), spec, out)
        if folder:
            _write_results(folder, result)
    return result


def _write_results(folder: Folder, result: StudyResult) -> None:
    """Write results and report unless they are up to date. Neither is written before both are generated."""
    results = result.to_json()
    if folder.has_text(RESULTS, results) and (folder.path / REPORT).exists():
        return
    report = render_page(result)
    folder.write(REPORT, report)
    folder.write(RESULTS, results)


class _Done:
    """The finished trials, which are stored and reported as they arrive."""

    def __init__(
        self,
        spec: StudySpec,
        rows: list[Row],
        folder: Folder | None,
        known: dict[tuple[str, int], Trial],
        progress: Callable[[Progress], None] | None,
        description: Description,
    ):
        self.description = description
        self.spec, self.rows, self.folder, self.progress = spec, rows, folder, progress
        planned = {row.key for row in rows}
        self.trials = {key: t for key, t in known.items() if key[0] in planned and key[1] < spec.seeds}

    def report(self, job: Job, epoch: int, score: float, trial: Trial | None = None) -> None:
        """Report an epoch, or a trial that is finished."""
        if self.progress is not None and not rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess]
            total = self.spec.seeds * len(self.rows)
            self.progress(Progress(len(self.trials), total, job.row.name, job.seed, epoch, score, trial))

    def add(self, job: Job, trial: Trial) -> None:
        """Store a finished trial."""
        if self.folder:
            self.folder.append(trial, self.description.to_record(trial.sharing))
        self.trials[trial.key, trial.seed] = trial
        self.report(job, trial.epochs, trial.validation_score, trial)

    def get_trials(self) -> list[Trial]:
        """Return all trials in order, with the current names of their rows."""
        return [
            replace(self.trials[row.key, seed], sharing=row.name)
            for seed in range(self.spec.seeds)
            for row in self.rows
        ]


def _run_here(jobs: Iterator[Job], fabric: Fabric, done: _Done) -> None:
    for job in jobs:
        done.add(job, job.run(fabric, lambda epoch, score, job=job: done.report(job, epoch, score)))


def _run_in(executor: Executor, jobs: Iterator[Job], done: _Done) -> None:
    """Run jobs in an executor, with a limited number of them in its queue."""
    running: dict[Future[Trial], Job] = {}
    try:
        while True:
            for job in islice(jobs, QUEUED - len(running)):
                running[executor.submit(run_job, job)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                done.add(running.pop(future), future.result())
    finally:
        for future in running:
            future.cancel()
