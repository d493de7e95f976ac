"""Progress of a study on standard error: a bar in a terminal, otherwise one line per finished trial."""

import sys
from types import TracebackType

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from ..study import Progress
from ..views.escape import escape_controls
from ..views.numbers import format_percent


class Terminal:
    """A context that shows the progress of a study. Pass its method `update` to `weightshare.study.run`."""

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

    def __enter__(self) -> "Terminal":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def update(self, state: Progress) -> None:
        """Show the progress so far."""
        accuracy = format_percent(state.validation_score)
        name = escape_controls(state.sharing)
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task("", total=state.total)
            words = f"{name}, seed {state.seed}: epoch {state.epoch}, {accuracy}% validation accuracy"
            self._bar.update(self._task, completed=state.done, total=state.total, description=words)
        elif state.trial is not None:
            print(
                f"{state.done}/{state.total} {name}, seed {state.seed}: "
                f"{format_percent(state.trial.score)}% test accuracy "
                f"after {state.trial.epochs} epochs, {state.trial.train_seconds:.1f} s",
                file=sys.stderr,
                flush=True,
            )


class _Description(bars.ProgressColumn):
    """A column with the description of the current trial, as plain text without markup."""

    def render(self, task: bars.Task) -> Text:
        return Text(task.description, overflow="ellipsis", no_wrap=True)
