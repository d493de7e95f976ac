"""A study from its spec to its result: rows times seeds, continued where an earlier run stopped."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only

from ..errors import StudyError
from ..views.escape import visible
from .data import Images, load_images
from .records import REPORT, RESULTS, Folder, open_folder
from .report.page import render
from .result import DataFacts, StudyResult
from .rows import Row, plan_rows
from .spec import StudySpec
from .summary import summarise
from .trials import Trial, run_trial


@dataclass(frozen=True)
class Progress:
    """Where a study stands.

    Args:
        done, total: Trials.
        sharing, seed: The trial at work.
        epoch, validation_accuracy: Where it stands.
        trial: It, once it is finished; None before.
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

    Every row is trained on the same images, with the same seeds, in the same order. Everything is checked
    before the folder is made. A finished trial is kept at once, so the same call continues where an earlier
    one stopped, and of a finished study nothing is written again unless it is missing or outdated.

    Args:
        spec: What to compare.
        progress: Called after every epoch and every trial; with several devices by the first process only.

    Raises:
        DataError, SharingError, SpecError: data or sharings that do not fit.
        StudyError: a folder in use or holding something else, flags that Lightning Fabric refuses, or a
            training that diverged.

    Example:
        >>> import weightshare as ws
        >>> spec = ws.study.StudySpec(sharings="full,local", seeds=1, epochs_max=1, train_images=60)
        >>> [row.parameters for row in ws.study.run(spec).summary]
        [5018, 304394]
    """
    images = load_images(spec.data, spec.train_images)
    rows = plan_rows(spec, images)
    fabric = make_fabric(spec)
    writes = spec.out is not None and not rank_zero_only.rank
    digest = spec.digest(images.digest)
    with open_folder(str(spec.out), digest, spec) if writes else nullcontext() as folder:
        finished = folder.trials(images.shifts) if folder else []
        fabric.launch()
        trials = _run_trials(spec, images, rows, fabric, folder, fabric.broadcast(finished), progress)
        target, summary = summarise(rows, trials)
        out = Path(spec.out) if spec.out is not None else None
        result = StudyResult(spec, _facts(images), target, tuple(summary), tuple(trials), out)
        if folder:
            _keep(folder, result)
    return result


def _keep(folder: Folder, result: StudyResult) -> None:
    """Write results and report unless they are there; both are made before either is written."""
    results = result.to_json()
    if folder.holds(RESULTS, results) and (folder.path / REPORT).exists():
        return
    report = render(result)
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
    """All trials in order: every row with the first seed, then every row with the next."""
    known = {(trial.sharing, trial.seed): trial for trial in finished}
    plan = [(row, seed) for seed in range(spec.seeds) for row in rows]
    trials: list[Trial] = []
    for row, seed in plan:
        trial = known.get((row.name, seed))
        if trial is None:

            def tell(epoch: int, accuracy: float, trial: Trial | None = None, row=row, seed=seed) -> None:
                if progress is not None and not rank_zero_only.rank:
                    done = len(trials) + (trial is not None)
                    progress(Progress(done, len(plan), row.name, seed, epoch, accuracy, trial))

            trial = run_trial(row, seed, images, spec, fabric, tell)
            if folder:
                folder.append(trial)
            tell(trial.epochs, trial.validation_accuracy, trial)
        trials.append(trial)
    return trials


def make_fabric(spec: StudySpec) -> Fabric:
    """Lightning Fabric with the spec's flags."""
    devices = int(spec.devices) if str(spec.devices).isdigit() else spec.devices
    flags = {"accelerator": spec.accelerator, "strategy": spec.strategy, "precision": spec.precision}
    try:
        return Fabric(devices=devices, **flags)  # type: ignore[arg-type]
    except Exception as error:  # Fabric's own texts name the flag; their types are many
        given = ", ".join(f"{name}={value}" for name, value in {**flags, "devices": spec.devices}.items())
        reason = " ".join(str(error).split()).rstrip(".")
        raise StudyError(
            "study",
            "accelerator, devices, strategy and precision must be flags that Lightning Fabric takes here",
            f"{given} ({reason})",
            "leave them out to use what this machine has",
        ) from None


def _facts(images: Images) -> DataFacts:
    sizes = (len(images.train[1]), len(images.validation[1]), len(images.test[1]))
    names = tuple(map(visible, images.class_names))
    return DataFacts(visible(images.name), images.digest, images.channels, images.size, names, *sizes)
