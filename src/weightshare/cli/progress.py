"""Progress of studies and sharing tests on standard error: a bar in a terminal, otherwise lines."""

import sys
import time
from types import TracebackType
from typing import TypeVar

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from ..diagnose import Progress as DiagnoseProgress
from ..study import Plan, Progress
from ..study.statistics.scale import Scale
from ..views.escape import escape_controls

#: Least number of seconds between two lines within a trial, when standard error is not a terminal.
LINE_SECONDS = 30

_Bar = TypeVar("_Bar", bound="Bar")


class Bar:
    """A context with a bar on standard error, or with lines of a log if it is not a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = bars.Progress(
            bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(),
            bars.TimeElapsedColumn(),
            _Description(),
            console=self._console,
            transient=True,
        )
        self._task: bars.TaskID | None = None
        self._last = time.monotonic()

    def __enter__(self: _Bar) -> _Bar:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def _show(self, done: int, total: int, words: str, line: str | None = None) -> None:
        """Show the progress: in a terminal as a bar, otherwise as a line.

        Args:
            done, total: Number of finished trials, and of all trials.
            words: Description of the current trial.
            line: Line for a log; None to write the description, unless there was a line recently.
        """
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task("", total=total)
            self._bar.update(self._task, completed=done, total=total, description=words)
        elif line is not None:
            self._write(line)
        elif time.monotonic() - self._last >= LINE_SECONDS:
            self._write(f"{done}/{total} {words}")

    def _write(self, text: str) -> None:
        """Print text above the bar, or as lines of a log."""
        self._last = time.monotonic()
        if self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


class Terminal(Bar):
    """A context that shows the progress of a study.

    Pass its methods `start` and `update` to `weightshare.study.run` as `on_plan` and `progress`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: TimeLeft | None = None

    def start(self, plan: Plan) -> None:
        """Print the plan of the study."""
        self._write(str(plan))
        self._left = TimeLeft(plan)

    def update(self, state: Progress) -> None:
        """Show the progress so far."""
        name = f"{escape_controls(state.sharing)}, seed {state.seed}"
        words = f"{name}: epoch {state.epoch}, {format_score(state, 'validation')}"
        if self._left is not None and self._left.update(state):
            self._write(self._left.describe())
        line = None
        if state.trial is not None:
            line = (
                f"{state.done}/{state.total} {name}: {format_score(state, 'test')} "
                f"after {format_epochs(state.trial.epochs)}, {state.trial.train_seconds:.1f} s"
            )
        self._show(state.done, state.total, words, line)


class DiagnoseTerminal(Bar):
    """A context that shows the progress of a sharing test; pass its method `update` as `progress`."""

    def update(self, state: DiagnoseProgress) -> None:
        """Show the progress so far."""
        layer = f"{escape_controls(state.layer)}, " if state.layer else ""
        sharing = f" ({state.sharing})" if state.sharing else ""
        self._show(state.done, state.total, f"{layer}{state.candidate}{sharing}")


class TimeLeft:
    """An estimate of the time that a study still takes, from its first epoch, or first trial.

    Epochs are assumed to take time in proportion to the multiply-accumulates of a network and to the number
    of its training examples.

    Args:
        plan: Plan of the study, before its first trial.
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        self._start = time.monotonic()
        self._costs = {row.name: row.macs * (row.train_size or plan.data.train) for row in plan.rows}
        self._seconds: float | None = None

    def update(self, state: Progress) -> bool:
        """Return whether an estimate has become possible."""
        if self._seconds is not None:
            return False
        share = 1 - self._plan.finished / self._plan.trials
        epochs = share * self._plan.spec.seeds * self._plan.spec.epochs_max
        work = epochs * sum(self._costs.values()) / (state.epoch * self._costs[state.sharing])
        elapsed = time.monotonic() - self._start
        self._seconds = elapsed * max(work - 1, 0)
        return True

    def describe(self) -> str:
        """Return the estimate as a sentence."""
        left, epochs = format_seconds(self._seconds or 0), self._plan.spec.epochs_max
        return f"Estimated time left: {left} if every trial takes {format_epochs(epochs)}."


def format_score(state: Progress, kind: str) -> str:
    """Return the validation score of an epoch, or the test score of a trial, with the name of the metric."""
    score = state.validation_score if kind == "validation" or state.trial is None else state.trial.score
    scale = Scale.from_metric(state.metric)
    return f"{scale.format(score)} {kind} {escape_controls(scale.label)}"


def format_epochs(number: int) -> str:
    """Return a number of epochs with its unit."""
    return f"{number:,} epoch{'s' * (number != 1)}"


def format_seconds(seconds: float) -> str:
    """Return a duration in the largest suitable unit.

    >>> format_seconds(0.4), format_seconds(90), format_seconds(9000), format_seconds(1e6)
    ('1 s', '90 s', '150 min', '278 h')
    """
    if seconds < 100:
        return f"{max(1, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 10_000 else f"{seconds / 3600:,.0f} h"


class _Description(bars.ProgressColumn):
    """A column with the description of the current trial, as plain text without markup."""

    def render(self, task: bars.Task) -> Text:
        return Text(task.description, overflow="ellipsis", no_wrap=True)
