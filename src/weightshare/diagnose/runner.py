"""Run the trials that a sharing test needs: those of the controls only for promising layers and ties."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import StudyError
from ..sharing import Sharing
from ..study.engines import LostWorkerError, run_tasks
from .candidates import Kind
from .training import Setting, Trial, run_trial
from .verdict import Rule, is_promising

_Key = TypeVar("_Key")
#: What is tried in a layer or tie: the kind of the candidate, and the new sharing of a layer.
Question = tuple[Kind, Sharing | None]


@dataclass(frozen=True)
class Progress:
    """The progress of a sharing test.

    Args:
        done, total: Number of finished trials, and of all trials that are known to be needed. Controls are
            added for promising layers and ties only.
        layer: Layer or tie of the finished trial; empty if the model was trained as it is.
        candidate: "start", "continue", "relax", "restrict", "untie", "blind" or "wide".
        sharing: New sharing of the layer, or the one whose number of weights a control has; empty for
            "start", "continue" and ties.
        stored: Whether the trial was finished in an earlier run.
    """

    done: int
    total: int
    layer: str
    candidate: str
    sharing: str
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
            self._progress(
                Progress(self._finished, self._total, trial.layer, trial.kind, trial.sharing, stored)
            )


def run_trials(
    runner: Runner, questions: Mapping[str, Question], folds: int, rule: Rule
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Return the losses by layer or tie, candidate and fold. Controls are run for promising ones only.

    Args:
        questions: What to try in each layer or tie, by name.
        folds: Number of folds.
    """

    def run(kinds: Mapping[str, Kind]) -> dict[str, list[np.ndarray]]:
        return _run(runner, {n: (kind, n, [questions[n][1]] * folds) for n, kind in kinds.items()})

    same: list[Kind] = ["start", "continue"]
    base = _run(runner, {kind: (kind, "", [None] * folds) for kind in same})
    kinds: dict[str, Kind] = {name: kind for name, (kind, _) in questions.items()}
    losses: dict[str, dict[str, list[np.ndarray]]] = {
        name: {**base, kinds[name]: one} for name, one in run(kinds).items()
    }
    promising = [name for name, one in losses.items() if is_promising(one, len(losses), rule)]
    for kind in rule.controls[1:]:
        names = [name for name in promising if kind != "wide" or kinds[name] != "untie"]
        controls: dict[str, Kind] = dict.fromkeys(names, kind)
        for name, one in run(controls).items():
            losses[name][kind] = one
    return losses


def run_alternatives(
    runner: Runner, options: Mapping[str, Mapping[Sharing, Sequence[Sharing]]]
) -> dict[str, dict[Sharing, list[np.ndarray]]]:
    """Return the losses by layer, sharing and fold.

    Args:
        options: What to train in each fold, by layer and sharing.
    """
    requests: dict[tuple[str, Sharing], tuple[Kind, str, Sequence[Sharing]]] = {
        (n, s): ("relax", n, folds) for n, ones in options.items() for s, folds in ones.items()
    }
    found = _run(runner, requests)
    return {name: {sharing: found[name, sharing] for sharing in ones} for name, ones in options.items()}


def _run(
    runner: Runner, requests: Mapping[_Key, tuple[Kind, str, Sequence[Sharing | None]]]
) -> dict[_Key, list[np.ndarray]]:
    """Return the losses by fold for each request (candidate, layer, sharing in each fold)."""
    trials = {
        key: [Trial(kind, layer, fold, str(one or "")) for fold, one in enumerate(sharings)]
        for key, (kind, layer, sharings) in requests.items()
    }
    found = runner.run([trial for ones in trials.values() for trial in ones])
    return {key: [np.array(found[trial]) for trial in ones] for key, ones in trials.items()}
