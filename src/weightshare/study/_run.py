"""Run a study from its specification to its result, or continue one that was interrupted."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from ..errors import StudyError
from .data import DataFacts, Images, load_images
from .records import REPORT, RESULTS, Folder, open_folder
from .report.page import render_page
from .result import StudyResult
from .rows import Row, plan_rows
from .spec import StudySpec
from .summary import summarize
from .trials import Trial, run_trial


@dataclass(frozen=True)
class Progress:
    """The progress of a study.

    Args:
        done, total: Number of finished trials, and of all trials.
        sharing, seed: Row and seed of the current trial.
        epoch, validation_accuracy: Last epoch of the current trial, and its validation accuracy.
        trial: The current trial once it is finished, otherwise None.
    """

    done: int
    total: int
    sharing: str
    seed: int
    epoch: int
    validation_accuracy: float
    trial: Trial | None = None


def run(spec: StudySpec, progress: Callable[[Progress], None] | None = None) -> StudyResult:
    """Run a study, or continue the one in `spec.out`.

    All rows are trained on the same images, with the same seeds and in the same order. Everything is checked
    before the folder is created. Each trial is stored as soon as it is finished, so calling `run` again
    continues an interrupted study. A finished study is only read, except that missing or outdated files are
    written again.

    Args:
        spec: Specification of the study.
        progress: Function to call after each epoch and each trial. With several devices, only the first
            process calls it.

    Raises:
        DataError, SpecError: If the data cannot be loaded.
        SharingError: If a sharing does not fit the images.
        StudyError: If the folder is in use or contains something other than this study, if Lightning Fabric
            rejects its arguments, or if training diverges.

    Example:
        >>> import weightshare as ws
        >>> spec = ws.study.StudySpec(sharings="full,local", seeds=1, epochs_max=1, train_images=60)
        >>> [row.parameters for row in ws.study.run(spec).summary]
        [5018, 304394]
    """
    images = load_images(spec.data, spec.train_images)
    rows = plan_rows(spec, images)
    fabric = make_fabric(spec)
    writes = spec.out is not None and not rank_zero_only.rank  # pyright: ignore[reportFunctionMemberAccess]
    digest = spec.digest(images.digest)
    with open_folder(str(spec.out), digest, spec) if writes else nullcontext() as folder:
        finished = folder.read_trials(images.shifts) if folder else []
        fabric.launch()
        trials = _run_trials(spec, images, rows, fabric, folder, fabric.broadcast(finished), progress)
        target, summary = summarize(rows, trials)
        out = Path(spec.out) if spec.out is not None else None
        facts = DataFacts.from_images(images)
        result = StudyResult(spec, facts, target, tuple(summary), tuple(trials), out)
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


def _run_trials(
    spec: StudySpec,
    images: Images,
    rows: list[Row],
    fabric: Fabric,
    folder: Folder | None,
    finished: list[Trial],
    progress: Callable[[Progress], None] | None,
) -> list[Trial]:
    """Return all trials in order: every row with the first seed, then every row with the next."""
    known = {(trial.sharing, trial.seed): trial for trial in finished}
    plan = [(row, seed) for seed in range(spec.seeds) for row in rows]
    trials: list[Trial] = []
    for row, seed in plan:
        trial = known.get((row.name, seed))
        if trial is None:

            def report(
                epoch: int, accuracy: float, trial: Trial | None = None, row: Row = row, seed: int = seed
            ) -> None:
                rank = rank_zero_only.rank  # pyright: ignore[reportFunctionMemberAccess]
                if progress is not None and not rank:
                    done = len(trials) + (trial is not None)
                    progress(Progress(done, len(plan), row.name, seed, epoch, accuracy, trial))

            trial = run_trial(row, seed, images, spec, fabric, report)
            if folder:
                folder.append(trial)
            report(trial.epochs, trial.validation_accuracy, trial)
        trials.append(trial)
    return trials


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
