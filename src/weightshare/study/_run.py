"""Run a study from its specification to its result, or continue one that was interrupted."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from .._args import check_amount
from ..errors import ArgumentError, StudyError
from ._plan import Plan, check_spec, plan_study
from .data import Examples, load_examples
from .description import Description
from .engines import LostWorkerError, ProcessExecutor, RayExecutor, run_tasks
from .jobs import Job, make_fabric, make_jobs, make_worker_fabric, run_job
from .records import REPORT, RESULTS, Folder, open_folder
from .report.page import render_page
from .result import StudyResult
from .spec import StudySpec
from .tasks import Metric, find_metric
from .trials.states import INTERVAL
from .trials.trial import Trial


@dataclass(frozen=True)
class Progress:
    """The progress of a study.

    Args:
        done, total: Number of finished trials, and of all trials.
        sharing, seed: Row and seed of the current trial.
        epoch, validation_score: Last epoch of the current trial, and its validation score.
        metric: Metric of the score.
        trial: The current trial once it is finished, otherwise None.
    """

    done: int
    total: int
    sharing: str
    seed: int
    epoch: int
    validation_score: float
    metric: Metric
    trial: Trial | None = None


def run(
    spec: StudySpec,
    progress: Callable[[Progress], None] | None = None,
    *,
    executor: Executor | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    state_seconds: float = INTERVAL,
) -> StudyResult:
    """Run a study, or continue the one in `spec.out`.

    All rows are trained on the same data, with the same seeds and in the same order. Everything is checked
    before the folder is created. Each trial is stored as soon as it is finished, so calling `run` again
    continues an interrupted study, also with more sharings, seeds or questions. A trial that was interrupted
    continues from its last stored state. A finished study is only read, except that missing or outdated files
    are written again.

    Args:
        spec: Specification of the study.
        progress: Function to call after each epoch and each trial. With an executor, it is called only after
            each trial. With several devices, only the first process calls it.
        executor: Executor that runs the trials, such as `ProcessExecutor(2)`, `RayExecutor()` or any other
            `concurrent.futures.Executor`. By default, they run in this process, one after the other. The
            results are the same.
        on_plan: Function to call with the plan before the first trial, unless all trials are finished.
        state_seconds: Number of seconds between two stored states of a trial.

    Raises:
        ArgumentError: If `state_seconds` is not a number of at least 0.
        DataError, SpecError: If the data or the trained network cannot be loaded.
        ArgumentError: If an argument has another type, or if `state_seconds` is negative or NaN.
        SharingError: If a sharing does not fit the inputs.
        StudyError: If the folder is in use or contains something other than this study, if Lightning Fabric
            rejects its arguments, if training diverges, or if trials lose their workers again and again.

    Example:
        >>> import weightshare as ws
        >>> spec = ws.study.StudySpec(sharings="full,local", seeds=1, epochs_max=1, train_images=60)
        >>> [row.parameters for row in ws.study.run(spec).summary]
        [5018, 304394]
    """
    state_seconds = check_amount("study", "state_seconds", state_seconds)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        got = type(executor).__name__
        raise ArgumentError("study", "executor must be a concurrent.futures.Executor or None", got)
    examples = load_examples(check_spec(spec))
    plan = plan_study(spec, examples)
    fabric = make_fabric(spec) if executor is None else None
    if isinstance(executor, ProcessExecutor):
        make_worker_fabric(spec)  # its processes can do what this one can
    is_first = not rank_zero_only.rank  # pyright: ignore[reportFunctionMemberAccess]
    metric = find_metric(spec.metric, examples.task)
    description = Description.from_plan(plan, metric)
    writes = spec.out is not None and is_first
    with open_folder(str(spec.out), description.digest, spec) if writes else nullcontext() as folder:
        parameters = {row.key: row.parameters for row in plan.rows}
        finished = folder.read_trials(examples.shifts, metric, parameters) if folder else []
        if fabric is not None:
            fabric.launch()
            finished = fabric.broadcast(finished)
        done = _Done(plan, metric, description, folder, finished, progress if is_first else None)
        digests = examples.digest, plan.start_digest
        jobs = make_jobs(spec, plan.rows, *digests, done.trials, state_seconds)
        if on_plan is not None and is_first and len(done.trials) < plan.trials:
            on_plan(replace(plan, finished=len(done.trials)))
        if executor is None:
            _run_here(jobs, fabric or make_fabric(spec), examples, done)
        else:
            sends = isinstance(executor, RayExecutor) or not isinstance(spec.data, str)
            _run_in(executor, jobs, examples if sends else None, done)
        out = Path(spec.out) if spec.out is not None else None
        result = StudyResult.from_trials(description, done.get_trials(), spec, out)
        if folder:
            _write_results(folder, result)
            folder.remove_states()
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
    """The finished trials, which are stored and reported as they arrive.

    Args:
        plan: Plan of the study.
        metric: Metric of its scores.
        description: What to store with each trial.
        folder: Folder for the records; None if nothing is written.
        finished: Trials that were finished before, possibly of rows and seeds that are not in the plan.
        progress: Function to call with the progress.
    """

    def __init__(
        self,
        plan: Plan,
        metric: Metric,
        description: Description,
        folder: Folder | None,
        finished: list[Trial],
        progress: Callable[[Progress], None] | None,
    ):
        self.plan, self.metric, self.description = plan, metric, description
        self.folder, self.progress = folder, progress
        planned = {row.key for row in plan.rows}
        self.trials = {
            (trial.key, trial.seed): trial
            for trial in finished
            if trial.key in planned and trial.seed < plan.spec.seeds
        }
        self.lost: list[str] = []

    def report(self, job: Job, epoch: int, score: float, trial: Trial | None = None) -> None:
        """Report an epoch, or a trial that is finished."""
        if self.progress is not None:
            numbers = len(self.trials), self.plan.trials
            self.progress(Progress(*numbers, job.row.name, job.seed, epoch, score, self.metric, trial))

    def add(self, job: Job, trial: Trial) -> None:
        """Store a finished trial."""
        if self.folder:
            self.folder.append(trial, self.description.to_record(trial.sharing))
            job.state_file.remove()
        self.trials[trial.key, trial.seed] = trial
        self.report(job, trial.epochs, trial.validation_score, trial)

    def get_trials(self) -> list[Trial]:
        """Return all trials in order, with the current names of their rows.

        Raises:
            StudyError: If trials have lost their workers.
        """
        if self.lost:
            more = f" and {len(self.lost) - 8} more" if len(self.lost) > 8 else ""
            raise StudyError(
                "study",
                "every trial must finish",
                f"trials that lost their worker again and again: {'; '.join(self.lost[:8])}{more}",
                "run the study again to retry them; all other trials are saved",
            )
        return [
            replace(self.trials[row.key, seed], sharing=row.name)
            for seed in range(self.plan.spec.seeds)
            for row in self.plan.rows
        ]


def _run_here(jobs: Iterator[Job], fabric: Fabric, examples: Examples, done: _Done) -> None:
    for job in jobs:
        done.add(job, job.run(fabric, examples, partial(done.report, job)))


def _run_in(executor: Executor, jobs: Iterator[Job], examples: Examples | None, done: _Done) -> None:
    """Run jobs in an executor."""
    for job, trial in run_tasks(executor, run_job, ((job, (job, examples)) for job in jobs)):
        if isinstance(trial, LostWorkerError):
            done.lost.append(f"{job.row.name}, seed {job.seed} ({trial})")
        else:
            done.add(job, trial)
