"""Run the trials of a sharing test that are needed: those of the controls only for promising layers."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from ..errors import StudyError
from ..study.engines import LostWorkerError, run_tasks
from .candidates import Kind
from .training import Setting, Trial, run_trial
from .verdict import Rule, is_promising


@dataclass(frozen=True)
class Progress:
    """The progress of a sharing test.

    Args:
        done, total: Number of finished trials, and of all trials that are known to be needed. Controls are
            added for promising layers only.
        layer: Layer or tie of the finished trial; empty if the model was trained as it is.
        candidate: "continue", "relax", "restrict", "untie", "blind" or "wide".
        stored: Whether the trial was finished in an earlier run.
    """

    done: int
    total: int
    layer: str
    candidate: str
    stored: bool


class Runner:
    """Runs trials that are not finished, and stores and reports each of them.

    Args:
        setting: What all trials have in common.
        done: Losses of finished trials.
        append: Function that stores a trial; None if nothing is stored.
        progress: Function to call with the progress.
        executor: Executor for the trials; None to run them here.
    """

    def __init__(
        self,
        setting: Setting,
        done: dict[Trial, list[float]],
        append: Callable[[Trial, list[float]], None] | None,
        progress: Callable[[Progress], None] | None,
        executor: Executor | None,
    ):
        self._setting, self._done, self._append = setting, done, append
        self._progress, self._executor = progress, executor
        self._finished = self._total = 0

    def run(self, trials: Sequence[Trial]) -> dict[Trial, list[float]]:
        """Return the losses of all trials."""
        self._total += len(trials)
        for trial in trials:
            if trial in self._done:
                self._report(trial, stored=True)
        for trial, losses in self._compute([trial for trial in trials if trial not in self._done]):
            if self._append is not None:
                self._append(trial, losses)
            self._done[trial] = losses
            self._report(trial, stored=False)
        return {trial: self._done[trial] for trial in trials}

    def _compute(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, list[float]]]:
        if self._executor is None:
            yield from ((trial, run_trial(self._setting, trial)) for trial in trials)
            return
        tasks = ((trial, (self._setting, trial)) for trial in trials)
        for trial, losses in run_tasks(self._executor, run_trial, tasks):
            if isinstance(losses, LostWorkerError):
                hint = "run the test again with the same out= to retry it"
                raise StudyError(
                    "sharing_test", "every trial must finish", f"{trial} ({losses})", hint
                ) from losses
            yield trial, losses

    def _report(self, trial: Trial, stored: bool) -> None:
        self._finished += 1
        if self._progress is not None:
            self._progress(Progress(self._finished, self._total, trial.layer, trial.kind, stored))


def run_trials(
    runner: Runner,
    ranks: Mapping[str, int],
    restricted: Collection[str],
    ties: Collection[str],
    folds: int,
    rule: Rule,
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Return the losses by layer or tie, candidate and fold. Controls are run for promising ones only.

    Args:
        runner: Runner for the trials.
        ranks: Rank of each layer to relax.
        restricted: Layers to restrict.
        ties: Ties to untie.
        folds: Number of folds.
        rule: Constants of the verdict.
    """

    def run(kind: Kind, names: Iterable[str]) -> dict[str, list[np.ndarray]]:
        trials = {
            name: [Trial(kind, name, fold, ranks.get(name, 0)) for fold in range(folds)] for name in names
        }
        found = runner.run([trial for ones in trials.values() for trial in ones])
        return {name: [np.array(found[trial]) for trial in ones] for name, ones in trials.items()}

    (base,) = run("continue", [""]).values()
    questions: dict[Kind, Collection[str]] = {"relax": ranks, "restrict": restricted, "untie": ties}
    losses = {
        name: {"continue": base, kind: one}
        for kind, names in questions.items()
        for name, one in run(kind, names).items()
    }
    promising = [name for name, one in losses.items() if is_promising(one, len(losses), rule)]
    for kind in rule.controls[1:]:
        names = [name for name in promising if kind != "wide" or name not in ties]
        for name, one in run(kind, names).items():
            losses[name][kind] = one
    return losses
